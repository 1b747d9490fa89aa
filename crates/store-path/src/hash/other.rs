//! The hash functions that store paths are not made with.

use sha2::Digest;

use super::{Hash, HashAlgorithm};

/// A hash of another algorithm than SHA-256, being computed.
#[derive(Clone, Debug)]
pub(super) enum Other {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha512(sha2::Sha512),
    Sha3_256(sha3::Sha3_256),
    Sha3_512(sha3::Sha3_512),
    Blake2s256(blake2::Blake2s256),
    // By far the largest: a tree of hashes.
    Blake3(Box<blake3::Hasher>),
}

impl Other {
    /// Starts a hash; nothing for SHA-256.
    pub(super) fn new(algorithm: HashAlgorithm) -> Option<Self> {
        Some(match algorithm {
            HashAlgorithm::Sha256 => return None,
            HashAlgorithm::Md5 => Self::Md5(md5::Md5::new()),
            HashAlgorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            HashAlgorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            HashAlgorithm::Sha3_256 => Self::Sha3_256(sha3::Sha3_256::new()),
            HashAlgorithm::Sha3_512 => Self::Sha3_512(sha3::Sha3_512::new()),
            HashAlgorithm::Blake2s256 => Self::Blake2s256(blake2::Blake2s256::new()),
            HashAlgorithm::Blake3 => Self::Blake3(Box::default()),
        })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
            Self::Sha3_256(state) => state.update(bytes),
            Self::Sha3_512(state) => state.update(bytes),
            Self::Blake2s256(state) => state.update(bytes),
            Self::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    pub(super) fn finish(self) -> Hash {
        match self {
            Self::Md5(state) => Hash::new(HashAlgorithm::Md5, &state.finalize()),
            Self::Sha1(state) => Hash::new(HashAlgorithm::Sha1, &state.finalize()),
            Self::Sha512(state) => Hash::new(HashAlgorithm::Sha512, &state.finalize()),
            Self::Sha3_256(state) => Hash::new(HashAlgorithm::Sha3_256, &state.finalize()),
            Self::Sha3_512(state) => Hash::new(HashAlgorithm::Sha3_512, &state.finalize()),
            Self::Blake2s256(state) => Hash::new(HashAlgorithm::Blake2s256, &state.finalize()),
            Self::Blake3(state) => Hash::new(HashAlgorithm::Blake3, state.finalize().as_bytes()),
        }
        .expect("a digest has the length of its algorithm")
    }
}
