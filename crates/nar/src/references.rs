use std::collections::BTreeSet;

use crate::Observe;

/// Length of the hash part of a store path's name: 160 bits in nix-base32.
const LENGTH: usize = 32;

/// Whether a byte is a digit of nix-base32: no `e`, `o`, `t`, `u`.
const IS_DIGIT: [bool; 256] = {
    let digits = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut table = [false; 256];
    let mut at = 0;
    while at < digits.len() {
        table[digits[at] as usize] = true;
        at += 1;
    }
    table
};

/// Finds which of a set of store path hash parts occur in the bytes that pass, wherever these
/// are cut.
///
/// ```
/// use nar::{Observe, References};
///
/// let hash = *b"0c0wnr6xvqhyhrwbq1jsc4k9sc6hv5rd";
/// let mut references = References::new([hash, [b'1'; 32]]);
/// references.observe(b"/nix/store/0c0wnr6xvqhyhrwbq");
/// references.observe(b"1jsc4k9sc6hv5rd-hello/bin/hello");
/// assert_eq!(references.found().collect::<Vec<_>>(), [&hash]);
/// ```
#[derive(Clone, Debug)]
pub struct References {
    /// Not found yet.
    wanted: BTreeSet<[u8; LENGTH]>,
    found: BTreeSet<[u8; LENGTH]>,
    /// The last bytes seen, fewer than a hash part has.
    tail: Vec<u8>,
}

impl References {
    /// Looks for these: each 32 digits of nix-base32. Anything else is never found.
    pub fn new(candidates: impl IntoIterator<Item = [u8; LENGTH]>) -> Self {
        let wanted = candidates.into_iter().collect();
        Self {
            wanted,
            found: BTreeSet::new(),
            tail: Vec::with_capacity(2 * LENGTH),
        }
    }

    /// Those that occurred so far, in byte order.
    pub fn found(&self) -> impl Iterator<Item = &[u8; LENGTH]> {
        self.found.iter()
    }

    /// Looks at every window of the length of a hash part, from left to right. A window with a
    /// byte that is no digit is left behind up to that byte, so most bytes are never looked at.
    fn search(&mut self, bytes: &[u8]) {
        let mut start = 0;
        while let Some(window) = bytes[start..].first_chunk::<LENGTH>() {
            if let Some(stranger) = window
                .iter()
                .rposition(|&byte| !IS_DIGIT[usize::from(byte)])
            {
                start += stranger + 1;
                continue;
            }
            if let Some(hash) = self.wanted.take(window) {
                self.found.insert(hash);
            }
            start += 1;
        }
    }
}

impl Observe for References {
    fn observe(&mut self, bytes: &[u8]) {
        if self.wanted.is_empty() {
            return;
        }
        // Windows that begin in the tail, then those inside of `bytes`.
        let mut tail = std::mem::take(&mut self.tail);
        let head = &bytes[..bytes.len().min(LENGTH - 1)];
        tail.extend_from_slice(head);
        self.search(&tail);
        self.search(bytes);
        if bytes.len() >= LENGTH - 1 {
            tail.clear();
            tail.extend_from_slice(&bytes[bytes.len() - (LENGTH - 1)..]);
        } else {
            tail.drain(..tail.len().saturating_sub(LENGTH - 1));
        }
        self.tail = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_wherever_the_bytes_are_cut() {
        let hash = *b"0c0wnr6xvqhyhrwbq1jsc4k9sc6hv5rd";
        let text = [&b"zz/"[..], b"00", &hash, b"0/"].concat();
        for piece in 1..text.len() {
            let mut references = References::new([hash]);
            text.chunks(piece)
                .for_each(|bytes| references.observe(bytes));
            assert_eq!(
                references.found().collect::<Vec<_>>(),
                [&hash],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn not_found_when_a_byte_differs_or_is_missing() {
        let hash = *b"0c0wnr6xvqhyhrwbq1jsc4k9sc6hv5rd";
        for text in [
            &b"0c0wnr6xvqhyhrwbq1jsc4k9sc6hv5r"[..],
            b"0c0wnr6xvqhyhrwb-1jsc4k9sc6hv5rd",
        ] {
            let mut references = References::new([hash]);
            references.observe(text);
            assert_eq!(references.found().count(), 0);
        }
    }
}
