//! The hash of content that refers to itself: its path follows from its hash, so that the hash is
//! taken with every reference to the path blanked out.
//!
//! Nix 2.8.0 hashes the places of the references behind the content, too; 2.26.3 and 2.34.8 do not.
//! A path says nothing of who made it, so that either will do.

use store_path::{Hash, HashAlgorithm, Hasher};

/// Length of a store path's digest as it is written, in bytes.
const DIGEST: usize = 32;

/// Hashes bytes with every occurrence of one digest replaced by NULs, with and without the places
/// where they were (`|80|272`).
///
/// Memory: the last 31 bytes.
#[derive(Debug)]
pub(super) struct HashModulo {
    hasher: Hasher,
    digest: [u8; DIGEST],
    /// The end of what came, which may be the beginning of an occurrence.
    rest: Vec<u8>,
    /// Where `rest` begins.
    position: u64,
    places: Vec<u64>,
}

impl HashModulo {
    /// `digest` is the digest of the path that the content refers to, as it is written.
    pub(super) fn new(algorithm: HashAlgorithm, digest: [u8; DIGEST]) -> Self {
        HashModulo {
            hasher: Hasher::new(algorithm),
            digest,
            rest: Vec::new(),
            position: 0,
            places: Vec::new(),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&text[from..], &self.digest) {
            let start = from + found;
            text[start..start + DIGEST].fill(0);
            self.places.push(self.position + start as u64);
            from = start + DIGEST;
        }
        let keep = text.len().saturating_sub(from).min(DIGEST - 1);
        let done = text.len() - keep;
        self.hasher.update(&text[..done]);
        self.position += done as u64;
        self.rest = text.split_off(done);
    }

    /// The hashes that a path may have been made of: without the places, and with them.
    pub(super) fn finish(mut self) -> [Hash; 2] {
        self.hasher.update(&self.rest);
        let without = self.hasher.clone().finish();
        for place in self.places {
            self.hasher.update(format!("|{place}").as_bytes());
        }
        [without, self.hasher.finish()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; DIGEST] = *b"0c1yxvq3nmf7z1lsbcjf0d6jh3zv2p5w";

    fn hash(pieces: &[&[u8]]) -> [Hash; 2] {
        let mut modulo = HashModulo::new(HashAlgorithm::Sha256, OWN);
        pieces.iter().for_each(|piece| modulo.update(piece));
        modulo.finish()
    }

    #[test]
    fn occurrences_are_blanked_wherever_they_are_cut() {
        let text = [b"a", &OWN[..], &OWN[..], b"bc", &OWN[..16]].concat();
        let blank = [b"a", &[0; 64][..], b"bc", &OWN[..16]].concat();
        let places = [&blank[..], b"|1|33"].concat();
        let expected = [&blank, &places].map(|text| HashAlgorithm::Sha256.hash(text));
        assert_eq!(hash(&[&text]), expected);
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(hash(&[a, b]), expected, "cut at {cut}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(hash(&bytes), expected);
    }

    #[test]
    fn without_occurrences_it_is_the_plain_hash() {
        for text in [&b""[..], b"abc"] {
            assert_eq!(hash(&[text]), [HashAlgorithm::Sha256.hash(text); 2]);
        }
    }
}
