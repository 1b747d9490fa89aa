//! `(public-key (ecc (curve Ed25519) (q #..#)))`

use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use data_encoding::HEXUPPER;

use crate::error::{Error, ErrorKind, Part, Unsupported, What, foreign};
use crate::sexp::Sexp;

/// A public key: a point of the Ed25519 curve.
///
/// ```
/// use guix_signature::PublicKey;
///
/// let text = "(public-key (ecc (curve Ed25519)
///     (q #8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#)))";
/// let key = PublicKey::parse(text.as_bytes())?;
/// assert_eq!(key.to_string(), "8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394");
/// # Ok::<(), guix_signature::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    /// In the one encoding of a point of the curve that is not of small order.
    compressed: [u8; 32],
}

impl PublicKey {
    /// Reads a key file, `/etc/guix/signing-key.pub` for example.
    ///
    /// # Errors
    /// [`Error`]; see [`Error::is_unsupported`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let sexp = Sexp::parse(text).map_err(|error| Error::new(What::PublicKey, error))?;
        Self::from_sexp(&sexp)
    }

    /// Takes the key out of `(public-key ..)`.
    ///
    /// # Errors
    /// [`Error`]; see [`Error::is_unsupported`].
    pub fn from_sexp(sexp: &Sexp) -> Result<Self, Error> {
        let ecc = curve_parameters(sexp, "public-key", What::PublicKey)?;
        public_point(ecc, What::PublicKey)
    }

    /// The key with this point, compressed as in EdDSA: `y` in little-endian order, and the lowest bit of `x` on top.
    ///
    /// # Errors
    /// [`ErrorKind::Point`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        CompressedEdwardsY(bytes)
            .decompress()
            .filter(|point| point.compress().0 == bytes && !point.is_small_order())
            .map(|_| Self { compressed: bytes })
            .ok_or(Error::new(What::PublicKey, ErrorKind::Point))
    }

    /// The point, compressed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.compressed
    }

    /// The key as it stands in signatures and access-control lists. [`Sexp::to_advanced`] of it is the key file.
    #[must_use]
    pub fn to_sexp(&self) -> Sexp {
        Sexp::named("public-key", [self.to_ecc([])])
    }

    /// `(ecc (curve Ed25519) (q ..) MORE)`
    pub(crate) fn to_ecc<const N: usize>(self, more: [Sexp; N]) -> Sexp {
        let curve = Sexp::named("curve", [Sexp::atom(CURVE)]);
        let q = Sexp::named("q", [Sexp::atom(self.to_bytes())]);
        let items = [Sexp::atom("ecc"), curve, q].into_iter();
        Sexp::List(items.chain(more).collect())
    }

    /// The key with this point, which is a multiple of the base point and not the neutral element.
    pub(crate) fn from_point(point: &EdwardsPoint) -> Self {
        Self {
            compressed: point.compress().to_bytes(),
        }
    }

    pub(crate) fn to_point(self) -> EdwardsPoint {
        let point = CompressedEdwardsY(self.compressed).decompress();
        point.expect("checked when the key was made")
    }
}

/// The point in upper-case hexadecimal digits, as in key files.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXUPPER.encode(&self.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

const CURVE: &str = "Ed25519";

/// `(NAME (ecc (curve Ed25519) (q ..)))`: the list `ecc`, of which curve and parts are checked.
pub(crate) fn curve_parameters<'a>(
    sexp: &'a Sexp,
    name: &'static str,
    what: What,
) -> Result<&'a Sexp, Error> {
    let unsupported = |kind| Error::new(what, ErrorKind::Unsupported(kind));
    let missing = |part| Error::new(what, ErrorKind::Part(Part(part)));
    let (Some(_), [ecc]) = (sexp.name().filter(|n| *n == name.as_bytes()), sexp.rest()) else {
        return Err(missing(name));
    };
    match ecc.name() {
        Some(b"ecc") => {}
        Some(other) => return Err(unsupported(Unsupported::Algorithm(foreign(other)))),
        None => return Err(missing("ecc")),
    }
    let curve = ecc.child("curve").and_then(Sexp::value);
    match curve.ok_or(missing("curve"))? {
        curve if curve == CURVE.as_bytes() => {}
        other => return Err(unsupported(Unsupported::Curve(foreign(other)))),
    }
    for part in ecc.rest() {
        match part.name() {
            Some(b"curve" | b"q") => {}
            Some(b"d") if what == What::SecretKey => {}
            Some(other) => return Err(unsupported(Unsupported::Part(foreign(other)))),
            None => return Err(missing("ecc")),
        }
    }
    Ok(ecc)
}

/// `(q #..#)` out of the list `ecc`.
pub(crate) fn public_point(ecc: &Sexp, what: What) -> Result<PublicKey, Error> {
    let q = ecc.child("q").and_then(Sexp::value);
    let q = q.ok_or(Error::new(what, ErrorKind::Part(Part("q"))))?;
    let Ok(bytes) = q.try_into() else {
        let kind = ErrorKind::Unsupported(Unsupported::PointLength(q.len()));
        return Err(Error::new(what, kind));
    };
    PublicKey::from_bytes(bytes).map_err(|error| Error::new(what, error.kind))
}
