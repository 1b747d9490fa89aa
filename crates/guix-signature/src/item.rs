//! What of a store item is signed.

use sha2::{Digest, Sha256};

/// The SHA-256 of an item of the export stream, computed while the item passes: over its archive and over what stands
/// behind it, from the mark `0x4558494e` to the deriver. Neither the word 1 before the archive nor the word before the
/// signature are part of it.
///
/// One pass gives the hash of the archive alone, too, which is the one in the store's database.
///
/// ```
/// use guix_signature::ItemHasher;
/// # use store_path::{HashAlgorithm, StoreDir};
/// # use worker_protocol::{Context, Version, export::Trailer};
/// # let context = Context::new(StoreDir::GUIX, Version::GUIX_NEWEST);
/// # let path = StoreDir::GUIX.parse("/gnu/store/6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-hello")?;
/// # let trailer = Trailer { path, references: vec![], deriver: None, signature: None };
///
/// let mut hasher = ItemHasher::new();
/// hasher.update(b"<first part of the archive>");
/// hasher.update(b"<the rest of it>");
/// let nar_hash = hasher.nar_hash();
/// let signed_hash = hasher.finish(&trailer.signed_bytes(&context));
///
/// let nar = b"<first part of the archive><the rest of it>";
/// assert_eq!(nar_hash, HashAlgorithm::Sha256.hash(nar).digest());
/// let signed = [nar, &trailer.signed_bytes(&context)[..]].concat();
/// assert_eq!(signed_hash, HashAlgorithm::Sha256.hash(&signed).digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ItemHasher(Sha256);

impl ItemHasher {
    /// A hasher at the beginning of an archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the archive.
    pub fn update(&mut self, nar: &[u8]) {
        self.0.update(nar);
    }

    /// The hash of the archive so far, which goes on.
    #[must_use]
    pub fn nar_hash(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// The hash that is signed. `trailer` is what follows the archive, up to the deriver:
    /// `worker_protocol::export::Trailer::signed_bytes`.
    #[must_use]
    pub fn finish(mut self, trailer: &[u8]) -> [u8; 32] {
        self.0.update(trailer);
        self.0.finalize().into()
    }
}
