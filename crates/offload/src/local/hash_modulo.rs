//! The hash of content that refers to itself: its path follows from its hash, so that the hash is
//! taken with every reference to the path blanked out.

use store_path::{Hash, HashAlgorithm, Hasher};

/// Length of a store path's digest as it is written, in bytes.
const DIGEST: usize = 32;

/// Hashes bytes with every occurrence of one digest replaced by NULs, and then the places where they
/// were (`|80|272`), so that what has NULs there already hashes differently. As Nix does since 2.4.
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

    pub(super) fn finish(mut self) -> Hash {
        self.hasher.update(&self.rest);
        for place in self.places {
            self.hasher.update(format!("|{place}").as_bytes());
        }
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; DIGEST] = *b"0c1yxvq3nmf7z1lsbcjf0d6jh3zv2p5w";

    fn hash(pieces: &[&[u8]]) -> Hash {
        let mut modulo = HashModulo::new(HashAlgorithm::Sha256, OWN);
        pieces.iter().for_each(|piece| modulo.update(piece));
        modulo.finish()
    }

    #[test]
    fn occurrences_are_blanked_wherever_they_are_cut() {
        let text = [b"a", &OWN[..], &OWN[..], b"bc", &OWN[..16]].concat();
        let blank = [b"a", &[0; 64][..], b"bc", &OWN[..16], b"|1|33"].concat();
        let expected = HashAlgorithm::Sha256.hash(&blank);
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
        assert_eq!(hash(&[]), HashAlgorithm::Sha256.hash(b""));
        assert_eq!(hash(&[b"abc"]), HashAlgorithm::Sha256.hash(b"abc"));
    }
}
