//! The hashes that stores know, in all the forms they are written in.

mod algorithm;
#[cfg(feature = "hashes")]
mod other;
mod text;

pub use algorithm::{HashAlgorithm, Hasher};
pub use text::{HashError, HashErrorKind, HashFormat};

use std::fmt;

/// The digest of a [`HashAlgorithm`], with the algorithm.
///
/// ```
/// use store_path::{Hash, HashFormat};
///
/// let hash = Hash::sha256_of(b"");
/// assert_eq!(hash.print(HashFormat::Sri), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
/// assert_eq!(hash.print(HashFormat::Base32), "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
/// assert_eq!("sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73".parse(), Ok(hash));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash {
    algorithm: HashAlgorithm,
    /// The digest, and zeros after it.
    bytes: [u8; HashAlgorithm::MAX_LEN],
}

impl Hash {
    /// A digest that was computed or received as bytes. `None` if `digest` has not [`HashAlgorithm::len`] bytes.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm, digest: &[u8]) -> Option<Self> {
        if digest.len() != algorithm.len() {
            return None;
        }
        let mut bytes = [0; HashAlgorithm::MAX_LEN];
        bytes[..digest.len()].copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    /// The SHA-256 of bytes in hand. See [`Hasher`] for bytes that come in pieces, and for other algorithms.
    #[must_use]
    pub fn sha256_of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A SHA-256 digest.
    #[must_use]
    pub fn sha256(digest: [u8; 32]) -> Self {
        Self::new(HashAlgorithm::Sha256, &digest).expect("a SHA-256 digest has 32 bytes")
    }

    /// What computed it.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest: [`HashAlgorithm::len`] bytes.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.print(HashFormat::Base16))
    }
}

/// Folds `digest` into `N` bytes: byte `i` is combined by exclusive or into byte `i` modulo `N`.
///
/// Store paths carry a SHA-256 digest folded to 20 bytes.
///
/// ```
/// assert_eq!(store_path::compress_hash::<2>(&[1, 2, 4]), [5, 2]);
/// ```
#[must_use]
pub fn compress_hash<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut folded = [0; N];
    for chunk in digest.chunks(N.max(1)) {
        for (to, from) in folded.iter_mut().zip(chunk) {
            *to ^= from;
        }
    }
    folded
}
