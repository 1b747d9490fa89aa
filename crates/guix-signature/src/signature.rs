//! `(signature (data ..) (sig-val ..) (public-key ..))`

use crate::ecdsa::{self, Numbers, scalar_in_range, scalar_to_atom};
use crate::error::{Error, ErrorKind, Part, Unsupported, What, foreign};
use crate::public_key::PublicKey;
use crate::sexp::Sexp;

/// A signature of a SHA-256, with the key that made it. That it could be read says nothing about whether it is
/// [valid](Self::is_valid), and that it is valid nothing about whether its key is [trusted](crate::Acl::verify).
///
/// ```text
/// (signature
///  (data (flags rfc6979) (hash sha256 #..#))
///  (sig-val (ecdsa (r #..#) (s #..#)))
///  (public-key (ecc (curve Ed25519) (q #..#))))
/// ```
/// Its text is the one that `guix authenticate sign` prints, byte for byte:
///
/// ```
/// use guix_signature::{SecretKey, Signature};
///
/// let signature = SecretKey::from_bytes(&[7; 32])?.sign(&[1; 32]);
/// let text = signature.to_text();
/// assert!(text.starts_with(b"(signature \n (data \n  (flags rfc6979)\n  (hash sha256 #0101"));
/// assert_eq!(Signature::parse(&text)?, signature);
/// # Ok::<(), guix_signature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    hash: [u8; 32],
    numbers: Numbers,
    key: PublicKey,
}

impl Signature {
    pub(crate) fn new(hash: [u8; 32], numbers: Numbers, key: PublicKey) -> Self {
        Self { hash, numbers, key }
    }

    /// Reads a signature.
    ///
    /// # Errors
    /// [`Error`]; see [`Error::is_unsupported`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let sexp = Sexp::parse(text).map_err(fail)?;
        let part = |name| {
            let found = sexp
                .child(name)
                .filter(|_| sexp.name() == Some(b"signature"));
            found.ok_or(missing(name))
        };
        // The key comes first: with another kind of key the rest has another form, too.
        let key = PublicKey::from_sexp(part("public-key")?);
        let key = key.map_err(|error| fail(error.kind))?;
        Ok(Self {
            key,
            hash: read_data(part("data")?)?,
            numbers: read_numbers(part("sig-val")?)?,
        })
    }

    /// The SHA-256 that is signed.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The key that signed it, if the signature is valid.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether [`key`](Self::key) has signed [`hash`](Self::hash).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        ecdsa::verify(&self.key.to_point(), &self.hash, &self.numbers)
    }

    /// The text that stands in the export stream, with a line's end behind it.
    ///
    /// One in a few thousand is not UTF-8: libgcrypt writes numbers as strings if all of their bytes can be printed,
    /// and those above 0xa0 are for it, too.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        self.to_sexp().to_advanced()
    }

    /// The signature as an s-expression.
    #[must_use]
    pub fn to_sexp(&self) -> Sexp {
        let Numbers { r, s } = &self.numbers;
        let r = Sexp::named("r", [scalar_to_atom(r)]);
        let s = Sexp::named("s", [scalar_to_atom(s)]);
        let flags = Sexp::named("flags", [Sexp::atom("rfc6979")]);
        let hash = Sexp::named("hash", [Sexp::atom("sha256"), Sexp::atom(self.hash)]);
        let data = Sexp::named("data", [flags, hash]);
        let value = Sexp::named("sig-val", [Sexp::named("ecdsa", [r, s])]);
        Sexp::named("signature", [data, value, self.key.to_sexp()])
    }
}

fn fail(kind: impl Into<ErrorKind>) -> Error {
    Error::new(What::Signature, kind)
}

fn missing(name: &'static str) -> Error {
    fail(ErrorKind::Part(Part(name)))
}

fn unsupported(kind: Unsupported) -> Error {
    fail(ErrorKind::Unsupported(kind))
}

/// `(data (flags rfc6979) (hash sha256 #..#))`
fn read_data(data: &Sexp) -> Result<[u8; 32], Error> {
    for part in data.rest() {
        match part.name() {
            Some(b"hash") => {}
            Some(b"flags") if part.value() == Some(b"rfc6979") => {}
            Some(other) => return Err(unsupported(Unsupported::Part(foreign(other)))),
            None => return Err(missing("data")),
        }
    }
    let hash = data.child("hash").ok_or(missing("hash"))?;
    let [Sexp::Atom(algorithm), Sexp::Atom(bytes)] = hash.rest() else {
        return Err(missing("hash"));
    };
    if algorithm != b"sha256" {
        return Err(unsupported(Unsupported::Hash(foreign(algorithm))));
    }
    bytes.as_slice().try_into().map_err(|_| missing("hash"))
}

/// `(sig-val (ecdsa (r #..#) (s #..#)))`
fn read_numbers(value: &Sexp) -> Result<Numbers, Error> {
    let [ecdsa] = value.rest() else {
        return Err(missing("sig-val"));
    };
    match ecdsa.name() {
        Some(b"ecdsa") => {}
        Some(other) => return Err(unsupported(Unsupported::Algorithm(foreign(other)))),
        None => return Err(missing("ecdsa")),
    }
    let number = |name: &'static str, letter| {
        let bytes = ecdsa.child(name).and_then(Sexp::value);
        let bytes = bytes.ok_or(missing(name))?;
        scalar_in_range(bytes).ok_or(fail(ErrorKind::Range(letter)))
    };
    Ok(Numbers {
        r: number("r", 'r')?,
        s: number("s", 's')?,
    })
}
