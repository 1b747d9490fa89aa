//! `(private-key (ecc (curve Ed25519) (q #..#) (d #..#)))`

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

use crate::ecdsa::{self, Secret};
use crate::error::{Error, ErrorKind, Part, What};
use crate::public_key::{PublicKey, curve_parameters, public_point};
use crate::sexp::Sexp;
use crate::signature::Signature;

/// A secret key with its public half. It is wiped from memory when it is dropped, and never printed.
///
/// ```
/// use guix_signature::SecretKey;
///
/// let key = SecretKey::from_bytes(&[7; 32])?;
/// assert_eq!(SecretKey::parse(&key.to_text())?.public_key(), key.public_key());
///
/// let signature = key.sign(&[1; 32]);
/// assert!(signature.is_valid());
/// assert_eq!(signature, key.sign(&[1; 32]), "no randomness is involved");
/// # Ok::<(), guix_signature::Error>(())
/// ```
pub struct SecretKey {
    secret: Secret,
    public: PublicKey,
}

impl SecretKey {
    /// Reads a key file, `/etc/guix/signing-key.sec` for example. libgcrypt's own form of a pair,
    /// `(key-data (public-key ..) (private-key ..))`, will do, too.
    ///
    /// What this function makes of the text is wiped from memory; the text itself is the caller's to wipe.
    ///
    /// # Errors
    /// [`Error`]; see [`Error::is_unsupported`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let fail = |kind| Error::new(What::SecretKey, kind);
        let sexp = Sexp::parse(text).map_err(|error| fail(error.into()))?;
        let sexp = Zeroizing::new(sexp);
        let part = |name| fail(ErrorKind::Part(Part(name)));
        let (private, public) = match sexp.name() {
            Some(b"key-data") => {
                let private = sexp.child("private-key").ok_or(part("private-key"))?;
                (private, sexp.child("public-key"))
            }
            _ => (&*sexp, None),
        };
        let ecc = curve_parameters(private, "private-key", What::SecretKey)?;
        let d = ecc.child("d").and_then(Sexp::value).ok_or(part("d"))?;
        let mut secret = Zeroizing::new([0; 32]);
        let start = secret.len().checked_sub(d.len()).ok_or(part("d"))?;
        secret[start..].copy_from_slice(d);
        let key = Self::from_bytes(&secret)?;
        let others = match public {
            Some(public) => vec![
                public_point(ecc, What::SecretKey)?,
                PublicKey::from_sexp(public)?,
            ],
            None => vec![public_point(ecc, What::SecretKey)?],
        };
        match others.iter().all(|other| *other == key.public) {
            true => Ok(key),
            false => Err(fail(ErrorKind::OtherPublicKey)),
        }
    }

    /// The key with the secret number `d`, in big-endian order. Any `d` will do that is not a multiple of the order
    /// of the curve; libgcrypt's have bit 254 set and the lowest three clear.
    ///
    /// # Errors
    /// [`ErrorKind::ZeroSecret`].
    pub fn from_bytes(d: &[u8; 32]) -> Result<Self, Error> {
        let secret = Secret::new(d);
        let scalar = secret.scalar();
        if *scalar == Scalar::ZERO {
            return Err(Error::new(What::SecretKey, ErrorKind::ZeroSecret));
        }
        let mut point = EdwardsPoint::mul_base(&scalar);
        let public = PublicKey::from_point(&point);
        point.zeroize();
        Ok(Self { secret, public })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a SHA-256, of a store item in the export stream for example ([`ItemHasher`](crate::ItemHasher)).
    ///
    /// Deterministic: every implementation of RFC 6979, libgcrypt among them, signs with the same bytes.
    #[must_use]
    pub fn sign(&self, hash: &[u8; 32]) -> Signature {
        let numbers = ecdsa::sign(&self.secret, hash);
        Signature::new(*hash, numbers, self.public)
    }

    /// The key file as `guix archive --generate-key` writes it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let d = Sexp::named("d", [self.secret.to_atom()]);
        let sexp = Sexp::named("private-key", [self.public.to_ecc([d])]);
        let sexp = Zeroizing::new(sexp);
        // Large enough, so that it never grows and leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        sexp.write_advanced(&mut text);
        text
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
