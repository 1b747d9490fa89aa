//! The bytes of the format.
//!
//! An archive is a row of *words*. A word is its length as a little-endian `u64`, its bytes, and
//! zeros up to the next multiple of 8. With `"x"` for the word `x`:
//!
//! ```text
//! archive   = "nix-archive-1" node
//! node      = "(" "type" ( regular | symlink | directory ) ")"
//! regular   = "regular" [ "executable" "" ] "contents" <word: the file's bytes>
//! symlink   = "symlink" "target" <word: the target>
//! directory = "directory" { "entry" "(" "name" <word: the name> "node" node ")" }
//! ```
//!
//! Words that always follow each other are compared and written in one go, so they stand here
//! joined.

/// Joins words into their encoded form. `N` must be the exact length of the result.
const fn words<const N: usize>(words: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    let mut word = 0;
    while word < words.len() {
        let text = words[word];
        bytes[at] = text.len() as u8;
        at += LENGTH;
        let mut byte = 0;
        while byte < text.len() {
            bytes[at + byte] = text[byte];
            byte += 1;
        }
        at += text.len().next_multiple_of(8);
        word += 1;
    }
    assert!(at == N);
    bytes
}

/// Bytes of a word's length prefix.
pub(crate) const LENGTH: usize = 8;

pub(crate) const MAGIC: [u8; 24] = words(&[b"nix-archive-1"]);
pub(crate) const CLOSE: [u8; 16] = words(&[b")"]);
/// What begins every node: its kind comes next.
pub(crate) const TYPE: [u8; 32] = words(&[b"(", b"type"]);
pub(crate) const REGULAR: [u8; 16] = words(&[b"regular"]);
pub(crate) const SYMLINK: [u8; 32] = words(&[b"symlink", b"target"]);
pub(crate) const DIRECTORY: [u8; 24] = words(&[b"directory"]);
pub(crate) const CONTENTS: [u8; 16] = words(&[b"contents"]);
pub(crate) const EXECUTABLE: [u8; 48] = words(&[b"executable", b"", b"contents"]);
pub(crate) const ENTRY: [u8; 48] = words(&[b"entry", b"(", b"name"]);
pub(crate) const NODE: [u8; 16] = words(&[b"node"]);

/// A whole plain file up to its size: three quarters of all nodes in real trees.
pub(crate) const PLAIN_FILE: [u8; 64] = words(&[b"(", b"type", b"regular", b"contents"]);

/// Zeros that follow a word of `length` bytes: 0 to 7.
pub(crate) const fn padding(length: u64) -> usize {
    (length.wrapping_neg() % 8) as usize
}

/// The word of `joined` (words from this file) that holds its byte `at`: where the word begins,
/// what it says, and whether `at` lies in the zeros behind it.
pub(crate) fn word_at(joined: &'static [u8], at: usize) -> (usize, &'static str, bool) {
    let mut start = 0;
    loop {
        let length = usize::from(joined[start]);
        let text = &joined[start + LENGTH..start + LENGTH + length];
        let end = start + LENGTH + length.next_multiple_of(8);
        if at < end {
            let text = str::from_utf8(text).expect("the words of the format are ASCII");
            return (start, text, at >= start + LENGTH + length);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_length_bytes_and_zeros() {
        assert_eq!(&MAGIC, b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0");
        assert_eq!(&DIRECTORY, b"\x09\0\0\0\0\0\0\0directory\0\0\0\0\0\0\0");
        assert_eq!(
            &EXECUTABLE[..32],
            b"\x0a\0\0\0\0\0\0\0executable\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert_eq!([&TYPE[..], &REGULAR, &CONTENTS].concat(), PLAIN_FILE);
    }

    #[test]
    fn padding_fills_up_to_eight() {
        assert_eq!([0, 1, 7, 8, 9, u64::MAX].map(padding), [0, 7, 1, 0, 7, 1]);
    }

    #[test]
    fn a_byte_of_joined_words_is_traced_to_its_word() {
        assert_eq!(word_at(&ENTRY, 0), (0, "entry", false));
        assert_eq!(word_at(&ENTRY, 13), (0, "entry", true));
        assert_eq!(word_at(&ENTRY, 24), (16, "(", false));
        assert_eq!(word_at(&ENTRY, 47), (32, "name", true));
        assert_eq!(word_at(&EXECUTABLE, 24), (24, "", false));
    }
}
