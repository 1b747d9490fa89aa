//! The hash functions.

use std::fmt;
use std::str::FromStr;

use sha2::Digest;

use super::{Hash, HashError, HashErrorKind};

/// A hash function that Nix or Guix knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Hashes bytes in hand.
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
/// use store_path::{HashAlgorithm, Hasher};
///
/// let mut hasher = Hasher::new(HashAlgorithm::Sha1);
/// hasher.update(b"a");
/// hasher.update(b"b");
/// assert_eq!(hasher.finish(), HashAlgorithm::Sha1.hash(b"ab"));
/// ```
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Sha3_256(sha3::Sha3_256),
    Sha3_512(sha3::Sha3_512),
    Blake2s256(blake2::Blake2s256),
    // By far the largest: a tree of hashes.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Starts a hash.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(match algorithm {
            HashAlgorithm::Md5 => State::Md5(md5::Md5::new()),
            HashAlgorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            HashAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            HashAlgorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            HashAlgorithm::Sha3_256 => State::Sha3_256(sha3::Sha3_256::new()),
            HashAlgorithm::Sha3_512 => State::Sha3_512(sha3::Sha3_512::new()),
            HashAlgorithm::Blake2s256 => State::Blake2s256(blake2::Blake2s256::new()),
            HashAlgorithm::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Sha3_256(state) => state.update(bytes),
            State::Sha3_512(state) => state.update(bytes),
            State::Blake2s256(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    /// The hash of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Hash {
        match self.0 {
            State::Md5(state) => Hash::new(HashAlgorithm::Md5, &state.finalize()),
            State::Sha1(state) => Hash::new(HashAlgorithm::Sha1, &state.finalize()),
            State::Sha256(state) => Hash::new(HashAlgorithm::Sha256, &state.finalize()),
            State::Sha512(state) => Hash::new(HashAlgorithm::Sha512, &state.finalize()),
            State::Sha3_256(state) => Hash::new(HashAlgorithm::Sha3_256, &state.finalize()),
            State::Sha3_512(state) => Hash::new(HashAlgorithm::Sha3_512, &state.finalize()),
            State::Blake2s256(state) => Hash::new(HashAlgorithm::Blake2s256, &state.finalize()),
            State::Blake3(state) => Hash::new(HashAlgorithm::Blake3, state.finalize().as_bytes()),
        }
        .expect("a digest has the length of its algorithm")
    }
}
