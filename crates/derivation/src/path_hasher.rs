//! A quick hash of store paths, which begin with a hash anyway.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Mixes the hash part of a path with secret numbers, so that nobody can choose paths that meet in one bucket.
#[derive(Clone, Debug)]
pub(crate) struct PathHashing {
    secrets: [u64; 2],
}

impl Default for PathHashing {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            secrets: [random.hash_one(0), random.hash_one(1)],
        }
    }
}

impl BuildHasher for PathHashing {
    type Hasher = PathHasher;

    fn build_hasher(&self) -> PathHasher {
        PathHasher {
            secrets: self.secrets,
            state: 0,
        }
    }
}

/// The hash of one path being computed.
pub(crate) struct PathHasher {
    secrets: [u64; 2],
    state: u64,
}

impl PathHasher {
    /// Both halves of the product of two words, folded.
    fn mix(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Names differ only where hash parts do, but for hostile files: then the map compares.
        let (words, _) = bytes.as_chunks::<8>();
        for pair in words.chunks(2).take(2) {
            let word = |index: usize| pair.get(index).map_or(0, |word| u64::from_le_bytes(*word));
            self.state = Self::mix(
                word(0) ^ self.secrets[0] ^ self.state,
                word(1) ^ self.secrets[1],
            );
        }
    }

    fn write_u8(&mut self, _: u8) {
        // The byte that ends a string: the same for all.
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
