//! The hash functions.

use std::fmt;
use std::str::FromStr;

use sha2::Digest;

#[cfg(feature = "hashes")]
use super::other::Other;
use super::{Hash, HashError, HashErrorKind};

/// A hash function that Nix or Guix knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// 16 bytes; broken, still seen in old fixed-output derivations.
    Md5,
    /// 20 bytes; broken, still seen in old fixed-output derivations and in git trees.
    Sha1,
    /// 32 bytes; what everything else uses.
    Sha256,
    /// 64 bytes.
    Sha512,
    /// 32 bytes; Guix only.
    Sha3_256,
    /// 64 bytes; Guix only.
    Sha3_512,
    /// 32 bytes; Guix only.
    Blake2s256,
    /// 32 bytes; an experiment of Nix since 2.31.
    Blake3,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_512,
        Self::Blake2s256,
        Self::Blake3,
    ];

    /// Bytes of the longest digest.
    pub const MAX_LEN: usize = 64;

    /// Bytes of a digest.
    #[expect(clippy::len_without_is_empty, reason = "no digest is empty")]
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 | Self::Blake2s256 | Self::Blake3 => 32,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// `md5`, `sha1`, `sha256`, `sha512`, `sha3-256`, `sha3-512`, `blake2s-256` or `blake3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_512 => "sha3-512",
            Self::Blake2s256 => "blake2s-256",
            Self::Blake3 => "blake3",
        }
    }

    /// The one with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|algorithm| algorithm.name() == name)
    }

    /// Hashes bytes in hand. Feature `hashes`; [`Hash::sha256_of`] needs none.
    #[cfg(feature = "hashes")]
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Hash {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = HashError;

    fn from_str(name: &str) -> Result<Self, HashError> {
        Self::from_name(name).ok_or_else(|| HashError::new(0, HashErrorKind::Algorithm, name))
    }
}

/// A hash being computed over bytes that arrive piece by piece.
///
/// ```
/// use store_path::{Hash, Hasher};
///
/// let mut hasher = Hasher::sha256();
/// hasher.update(b"a");
/// hasher.update(b"b");
/// assert_eq!(hasher.finish(), Hash::sha256_of(b"ab"));
/// ```
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    #[cfg(feature = "hashes")]
    Other(Other),
}

impl Hasher {
    /// Starts a SHA-256.
    #[must_use]
    pub fn sha256() -> Self {
        Self(State::Sha256(sha2::Sha256::new()))
    }

    /// Starts a hash of any algorithm. Feature `hashes`.
    #[cfg(feature = "hashes")]
    #[must_use]
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Other::new(algorithm).map_or_else(Self::sha256, |other| Self(State::Other(other)))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            #[cfg(feature = "hashes")]
            State::Other(state) => state.update(bytes),
        }
    }

    /// The hash of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Hash {
        match self.0 {
            State::Sha256(state) => Hash::sha256(state.finalize().into()),
            #[cfg(feature = "hashes")]
            State::Other(state) => state.finish(),
        }
    }
}
