//! Canonical s-expressions, as libgcrypt reads and writes them.
//!
//! ```text
//! (public-key (ecc (curve Ed25519) (q #8D15..#)))                     advanced: in files, on the wire
//! (10:public-key(3:ecc(5:curve7:Ed25519)(1:q32:..)))                  canonical: one text for each value
//! ```
//!
//! An atom is a byte string; `abc`, `"abc"`, `#616263#` and `3:abc` are the same one. libgcrypt's *advanced* form
//! chooses the most readable of the first three, and breaks lines after its own rule.
//!
//! ```
//! use guix_signature::sexp::Sexp;
//!
//! let key = Sexp::parse(b"(ecc (curve Ed25519) (q #00FF#))")?;
//! assert_eq!(key.to_canonical(), b"(3:ecc(5:curve7:Ed25519)(1:q2:\x00\xff))");
//! assert_eq!(key.to_advanced(), b"(ecc \n (curve Ed25519)\n (q #00FF#)\n )\n");
//! assert_eq!(key.child("q").and_then(|q| q.value()), Some(&b"\x00\xff"[..]));
//! # Ok::<(), guix_signature::sexp::Error>(())
//! ```

mod error;
mod parse;
mod print;

pub use error::{Error, ErrorKind};

use zeroize::Zeroize;

/// Longest text that is read, in bytes. An access-control list has 200 bytes for each key, so this is five thousand
/// keys; everything else is smaller than 5 KiB.
pub const MAX_LEN: usize = 1 << 20;

/// How deep lists may be nested. The deepest that Guix writes, an access-control list, has 5 levels.
pub const MAX_DEPTH: usize = 32;

/// An s-expression: a byte string, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sexp {
    /// A byte string of any length.
    Atom(Vec<u8>),
    /// A list of any length.
    List(Vec<Sexp>),
}

impl Sexp {
    /// An atom of these bytes.
    pub fn atom(bytes: impl Into<Vec<u8>>) -> Self {
        Sexp::Atom(bytes.into())
    }

    /// A list that begins with the atom `name`.
    pub fn named<const N: usize>(name: &str, items: [Sexp; N]) -> Self {
        Sexp::List(std::iter::once(Sexp::atom(name)).chain(items).collect())
    }

    /// The atom that a list begins with.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Sexp::List(items) => items.first()?.as_atom(),
            Sexp::Atom(_) => None,
        }
    }

    /// The bytes, if this is an atom.
    #[must_use]
    pub fn as_atom(&self) -> Option<&[u8]> {
        match self {
            Sexp::Atom(bytes) => Some(bytes),
            Sexp::List(_) => None,
        }
    }

    /// What stands behind a list's name; nothing in an atom or an empty list.
    #[must_use]
    pub fn rest(&self) -> &[Sexp] {
        match self {
            Sexp::List(items) => items.get(1..).unwrap_or_default(),
            Sexp::Atom(_) => &[],
        }
    }

    /// The item that is a list of this name, if there is exactly one.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Sexp> {
        let mut named = self
            .rest()
            .iter()
            .filter(|item| item.name() == Some(name.as_bytes()));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    /// The bytes of `(name BYTES)`.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self.rest() {
            [value] => value.as_atom(),
            _ => None,
        }
    }
}

impl Zeroize for Sexp {
    fn zeroize(&mut self) {
        match self {
            Sexp::Atom(bytes) => bytes.zeroize(),
            Sexp::List(items) => items.iter_mut().for_each(Sexp::zeroize),
        }
    }
}
