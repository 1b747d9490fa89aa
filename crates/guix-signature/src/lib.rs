//! Guix's signatures of store items: canonical s-expressions, keys, access-control lists, and deterministic ECDSA over
//! the Ed25519 curve exactly as libgcrypt does it. No I/O, no clock, no randomness.
//!
//! What is exported from a store is signed with the machine's own key, `/etc/guix/signing-key.sec`, and what is imported
//! has to be signed by a key in `/etc/guix/acl`. guix-daemon has `guix authenticate` do both, which takes 60 ms to start
//! and 2 ms for each item; here it is [`SecretKey::sign`] and [`Acl::verify`].
//!
//! ```
//! use guix_signature::{Acl, ItemHasher, SecretKey, VerifyError};
//!
//! // The sender: hashes an item while it goes out, then signs the hash.
//! let key = SecretKey::from_bytes(&[7; 32])?; // SecretKey::parse(/etc/guix/signing-key.sec)
//! let mut hasher = ItemHasher::new();
//! hasher.update(b"<the archive>");
//! let signature = key.sign(&hasher.finish(b"<mark, path, references, deriver>")).to_text();
//!
//! // The receiver: hashes it while it comes in, then looks at the signature.
//! let acl = Acl::new([*key.public_key()]); // Acl::parse(/etc/guix/acl)
//! let mut hasher = ItemHasher::new();
//! hasher.update(b"<the archive>");
//! let hash = hasher.finish(b"<mark, path, references, deriver>");
//! assert_eq!(acl.verify(&signature, &hash), Ok(*key.public_key()));
//!
//! // Whoever is not in the list is told by name.
//! let error = Acl::default().verify(&signature, &hash);
//! assert_eq!(error, Err(VerifyError::UnauthorizedKey(*key.public_key())));
//! # Ok::<(), guix_signature::Error>(())
//! ```
//!
//! Keys of other kinds (RSA, other curves, EdDSA) are not done here: [`Error::is_unsupported`] tells them from broken
//! ones, so that the caller can ask `guix authenticate` about them.
//!
//! One feature, off by default, only adds: `testing`, strategies and oracles for tests.

mod acl;
mod affine;
mod ecdsa;
mod error;
mod item;
mod public_key;
mod secret_key;
pub mod sexp;
mod signature;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use acl::{Acl, AclKey, VerifyError};
pub use error::{Error, ErrorKind, Part, Unsupported, What};
pub use item::ItemHasher;
pub use public_key::PublicKey;
pub use secret_key::SecretKey;
pub use signature::Signature;

/// The README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
