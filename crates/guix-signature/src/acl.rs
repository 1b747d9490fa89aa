//! `(acl (entry KEY (tag (guix import))) ..)`

use data_encoding::HEXLOWER;

use crate::error::{Error, ErrorKind, Part, What};
use crate::public_key::PublicKey;
use crate::sexp::Sexp;
use crate::signature::Signature;

/// The keys whose signatures a machine accepts: `/etc/guix/acl`.
///
/// ```
/// use guix_signature::{Acl, SecretKey, VerifyError};
///
/// let builder = SecretKey::from_bytes(&[7; 32])?;
/// let text = format!("(acl (entry (public-key (ecc (curve Ed25519) (q #{}#))) (tag (guix import))))", builder.public_key());
/// let acl = Acl::parse(text.as_bytes())?;
///
/// let hash = [1; 32];
/// let signature = builder.sign(&hash).to_text();
/// assert_eq!(acl.verify(&signature, &hash).as_ref(), Ok(builder.public_key()));
/// assert_eq!(acl.verify(&signature, &[2; 32]), Err(VerifyError::OtherHash { signed: hash, actual: [2; 32] }));
/// # Ok::<(), guix_signature::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Acl {
    keys: Vec<AclKey>,
}

/// A key of an access-control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclKey {
    /// One that signatures can be verified with here.
    Ecdsa(PublicKey),
    /// Anything else, an RSA key for example, as it stands in the list. No signature that is read here is by it.
    Other(Sexp),
}

/// Why a signature does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no signature, or of a kind that is left to libgcrypt; see [`Error::is_unsupported`].
    #[error(transparent)]
    Signature(#[from] Error),
    /// It is a signature of something else.
    #[error("signature is of something else: signed {}, actual {}", HEXLOWER.encode(signed), HEXLOWER.encode(actual))]
    OtherHash {
        /// The SHA-256 that is signed.
        signed: [u8; 32],
        /// The SHA-256 that should be.
        actual: [u8; 32],
    },
    /// It was made with a key that nobody has authorized.
    #[error("signature is by a key that is not authorized: {0}")]
    UnauthorizedKey(PublicKey),
    /// The key that it names did not make it.
    #[error("signature is not valid for its key: {0}")]
    Invalid(PublicKey),
}

impl VerifyError {
    /// Whether `guix authenticate` may know what this crate does not.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, VerifyError::Signature(error) if error.is_unsupported())
    }
}

impl Acl {
    /// A list of these keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().map(AclKey::Ecdsa).collect();
        Self { keys }
    }

    /// Reads an access-control list. As in Guix, one entry of another form than `(entry KEY (tag (guix import)))`
    /// spoils the list, while `KEY` may be anything.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let sexp = Sexp::parse(text).map_err(|error| Error::new(What::Acl, error))?;
        if sexp.name() != Some(b"acl") {
            return Err(Error::new(What::Acl, ErrorKind::Part(Part("acl"))));
        }
        let tag = import_tag();
        let entries = sexp.rest().iter().enumerate();
        let keys = entries.map(|(index, entry)| match entry.rest() {
            [key, its_tag] if entry.name() == Some(b"entry") && *its_tag == tag => {
                let other = |_| AclKey::Other(key.clone());
                Ok(PublicKey::from_sexp(key).map_or_else(other, AclKey::Ecdsa))
            }
            _ => Err(Error::new(What::Acl, ErrorKind::Entry(index + 1))),
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The keys, in the order of the list.
    #[must_use]
    pub fn keys(&self) -> &[AclKey] {
        &self.keys
    }

    /// Whether the key is in the list.
    #[must_use]
    pub fn authorizes(&self, key: &PublicKey) -> bool {
        self.keys.contains(&AclKey::Ecdsa(*key))
    }

    /// Checks that `signature`, the text out of an export stream, signs `hash`, is by an authorized key, and valid.
    /// The key comes back.
    ///
    /// # Errors
    /// [`VerifyError`]. Where [`VerifyError::is_unsupported`] says so, `guix authenticate verify` can still decide,
    /// which prints the hash that is signed: it is then the caller's to compare.
    pub fn verify(&self, signature: &[u8], hash: &[u8; 32]) -> Result<PublicKey, VerifyError> {
        let signature = Signature::parse(signature)?;
        let key = *signature.key();
        if signature.hash() != hash {
            return Err(VerifyError::OtherHash {
                signed: *signature.hash(),
                actual: *hash,
            });
        }
        if !self.authorizes(&key) {
            return Err(VerifyError::UnauthorizedKey(key));
        }
        match signature.is_valid() {
            true => Ok(key),
            false => Err(VerifyError::Invalid(key)),
        }
    }

    /// The list as an s-expression; [`Sexp::to_advanced`] of it is the file.
    #[must_use]
    pub fn to_sexp(&self) -> Sexp {
        let entries = self.keys.iter().map(|key| {
            let key = match key {
                AclKey::Ecdsa(key) => key.to_sexp(),
                AclKey::Other(key) => key.clone(),
            };
            Sexp::named("entry", [key, import_tag()])
        });
        Sexp::List(std::iter::once(Sexp::atom("acl")).chain(entries).collect())
    }
}

fn import_tag() -> Sexp {
    let import = Sexp::named("guix", [Sexp::atom("import")]);
    Sexp::named("tag", [import])
}
