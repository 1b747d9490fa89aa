//! The hash of content that refers to itself: its path follows from its hash, so that the hash is
//! taken with every reference to the path blanked out.
//!
//! Nix 2.8.0 hashes the places of the references behind the content, too; 2.26.3 and 2.34.8 do not.
//! A path says nothing of who made it, so that either will do.

use store_path::{Hash, HashAlgorithm, Hasher};

/// How many places are kept, 8 MiB of them. What refers to itself does so some ten thousand times at most;
/// only a machine that means harm sends an archive full of its own path.
const MAX_PLACES: usize = 1 << 20;
/// Length of a store path's digest as it is written, in bytes.
const DIGEST: usize = 32;

/// Hashes bytes with every occurrence of one digest replaced by NULs, with and without the places
/// where they were (`|80|272`).
///
/// Memory: the last 31 bytes, and the places.
#[derive(Debug)]
pub(super) struct HashModulo {
    hasher: Hasher,
    digest: [u8; DIGEST],
    /// The end of what came, which may be the beginning of an occurrence.
    rest: Vec<u8>,
    /// Where `rest` begins.
    position: u64,
    /// `None` once there were more than [`MAX_PLACES`].
    places: Option<Vec<u64>>,
}

impl HashModulo {
    /// `digest` is the digest of the path that the content refers to, as it is written.
    pub(super) fn new(algorithm: HashAlgorithm, digest: [u8; DIGEST]) -> Self {
        HashModulo {
            hasher: Hasher::new(algorithm),
            digest,
            rest: Vec::new(),
            position: 0,
            places: Some(Vec::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&text[from..], &self.digest) {
            let start = from + found;
            text[start..start + DIGEST].fill(0);
            self.add(start);
            from = start + DIGEST;
        }
        let keep = text.len().saturating_sub(from).min(DIGEST - 1);
        let done = text.len() - keep;
        self.hasher.update(&text[..done]);
        self.position += done as u64;
        self.rest = text.split_off(done);
    }

    fn add(&mut self, start: usize) {
        self.places = self
            .places
            .take()
            .filter(|places| places.len() < MAX_PLACES);
        if let Some(places) = &mut self.places {
            places.push(self.position + start as u64);
        }
    }

    /// The hashes that a path may have been made of: without the places, and with them, unless there are
    /// too many.
    pub(super) fn finish(mut self) -> (Hash, Option<Hash>) {
        self.hasher.update(&self.rest);
        let without = self.hasher.clone().finish();
        let with = self.places.map(|places| {
            for place in places {
                self.hasher.update(format!("|{place}").as_bytes());
            }
            self.hasher.finish()
        });
        (without, with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; DIGEST] = *b"0c1yxvq3nmf7z1lsbcjf0d6jh3zv2p5w";

    fn hash(pieces: &[&[u8]]) -> (Hash, Option<Hash>) {
        let mut modulo = HashModulo::new(HashAlgorithm::Sha256, OWN);
        pieces.iter().for_each(|piece| modulo.update(piece));
        modulo.finish()
    }

    #[test]
    fn occurrences_are_blanked_wherever_they_are_cut() {
        let text = [b"a", &OWN[..], &OWN[..], b"bc", &OWN[..16]].concat();
        let blank = [b"a", &[0; 64][..], b"bc", &OWN[..16]].concat();
        let places = [&blank[..], b"|1|33"].concat();
        let [without, with] = [&blank, &places].map(|text| HashAlgorithm::Sha256.hash(text));
        let expected = (without, Some(with));
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
            let plain = HashAlgorithm::Sha256.hash(text);
            assert_eq!(hash(&[text]), (plain, Some(plain)));
        }
    }

    #[test]
    fn of_more_places_than_anybody_has_none_is_kept() {
        let few = OWN.repeat(1 << 10);
        let count = MAX_PLACES >> 10;
        let mut modulo = HashModulo::new(HashAlgorithm::Sha256, OWN);
        (0..count).for_each(|_| modulo.update(&few));
        assert_eq!(modulo.places.as_ref().map(Vec::len), Some(MAX_PLACES));
        modulo.update(&OWN);
        assert_eq!(modulo.places, None);
        modulo.update(&OWN);
        let (without, with) = modulo.finish();
        let blank = vec![0; (MAX_PLACES + 2) * DIGEST];
        assert_eq!(without, HashAlgorithm::Sha256.hash(&blank));
        assert_eq!(with, None);
    }
}
