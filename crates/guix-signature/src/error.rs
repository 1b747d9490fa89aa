//! Why a text is not a key, a signature or an access-control list.

use std::fmt;

use crate::sexp;

/// Longest part of a foreign text that an error carries, in bytes: a name of a curve or an algorithm.
const MAX_NAME_LEN: usize = 64;

/// Why a text is not a key, a signature or an access-control list. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {kind}")]
pub struct Error {
    /// What was being read.
    pub what: What,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What is read and written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// `(public-key ..)`
    #[error("public key")]
    PublicKey,
    /// `(private-key ..)`
    #[error("secret key")]
    SecretKey,
    /// `(signature ..)`
    #[error("signature")]
    Signature,
    /// `(acl ..)`
    #[error("access-control list")]
    Acl,
}

/// What can be wrong with a key, a signature or an access-control list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// It is not an s-expression.
    #[error("is no s-expression: {0}")]
    Sexp(#[from] sexp::Error),
    /// A part is missing, is there twice, or has another form.
    #[error("has no single well-formed {0}")]
    Part(Part),
    /// It would be right, but for a kind of key or signature that this crate leaves to libgcrypt.
    #[error("has {0}, which is not supported")]
    Unsupported(Unsupported),
    /// The public point is not on the curve, is not in its one encoding, or has an order below 9: with such a key
    /// everything would be signed.
    #[error("has a point that is not on the curve or of small order")]
    Point,
    /// The secret number is 0 modulo the order of the curve.
    #[error("has a secret number that is zero")]
    ZeroSecret,
    /// The secret and the public half do not belong together.
    #[error("has a public half that belongs to another")]
    OtherPublicKey,
    /// `r` or `s` is not between 1 and the order of the curve.
    #[error("has a number out of range: {0}")]
    Range(char),
    /// An entry of an access-control list, counted from 1, is not `(entry KEY (tag (guix import)))`. Guix 1.2.0 and
    /// 1.5.0 refuse the whole list then, too.
    #[error("has an entry that is not `(entry KEY (tag (guix import)))`: entry {0}")]
    Entry(usize),
}

/// The parts of keys and signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(pub(crate) &'static str);

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`({} ..)`", self.0)
    }
}

/// What is left to libgcrypt, that is, to `guix authenticate`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// An algorithm other than `ecc` (in keys) and `ecdsa` (in signatures): `rsa` in practice.
    #[error("the algorithm {0:?}")]
    Algorithm(Box<str>),
    /// A curve other than `Ed25519`.
    #[error("the curve {0:?}")]
    Curve(Box<str>),
    /// Something that changes what a key or signature means, such as `(flags eddsa)`.
    #[error("a part {0:?}")]
    Part(Box<str>),
    /// A hash other than 32 bytes of `sha256`.
    #[error("the hash {0:?}")]
    Hash(Box<str>),
    /// A public point that is not compressed to 32 bytes.
    #[error("a point of {0} bytes")]
    PointLength(usize),
}

impl Error {
    pub(crate) fn new(what: What, kind: impl Into<ErrorKind>) -> Self {
        Self {
            what,
            kind: kind.into(),
        }
    }

    /// Whether libgcrypt may understand what this crate does not: the caller can ask `guix authenticate`.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.kind, ErrorKind::Unsupported(_))
    }
}

/// A name that somebody else wrote, made fit for a message.
pub(crate) fn foreign(name: &[u8]) -> Box<str> {
    let name = &name[..name.len().min(MAX_NAME_LEN)];
    String::from_utf8_lossy(name).into()
}
