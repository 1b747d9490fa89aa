//! How bytes are written down.
//!
//! | what | stands for |
//! |---|---|
//! | `12`, `0x6e697863` | a word: eight bytes, little-endian |
//! | `'text'` | a text: its length as a word, its bytes (`\\n` is a newline), zeros up to a multiple of eight |
//! | `A`, `B`, `C`, `D` | the text of a store path, `D` of a derivation's |
//! | `H` | the text of a hash in base 16 |
//! | `=616263` | bytes in base 16, as they are |
//! | `-- ..` | a remark, to the end of the line |

use store_path::{Hash, HashAlgorithm, StoreDir, StorePath};
use worker_protocol::NarHash;

pub(crate) fn path(letter: char) -> StorePath {
    StorePath::from_base_name(base_name(letter)).expect("a good name")
}

fn base_name(letter: char) -> &'static str {
    match letter {
        'A' => "00000000000000000000000000000000-a",
        'B' => "11111111111111111111111111111111-b-1.0",
        'C' => "22222222222222222222222222222222-c",
        'D' => "33333333333333333333333333333333-d.drv",
        _ => panic!("no path is called {letter}"),
    }
}

const HASH: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub(crate) fn hash() -> Hash {
    let bytes: Vec<u8> = (0..32).collect();
    Hash::new(HashAlgorithm::Sha256, &bytes).expect("as long as its algorithm says")
}

/// The same, of an archive.
pub(crate) fn nar_hash() -> NarHash {
    NarHash::from_hash(hash()).expect("it is a SHA-256")
}

/// The bytes of a notation.
pub(crate) fn bytes(notation: &str, store_dir: &StoreDir) -> Vec<u8> {
    let mut out = Vec::new();
    for line in notation.lines() {
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with("--") {
            rest = token(rest, store_dir, &mut out).trim_start();
        }
    }
    out
}

/// Appends what the first token of `line` stands for, and returns what is behind it.
fn token<'a>(line: &'a str, store_dir: &StoreDir, out: &mut Vec<u8>) -> &'a str {
    if let Some(quoted) = line.strip_prefix('\'') {
        let (inside, behind) = quoted.split_once('\'').expect("a text ends");
        text(inside.replace("\\n", "\n").as_bytes(), out);
        return behind;
    }
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (token, behind) = line.split_at(end);
    if let Some(digits) = token.strip_prefix('=') {
        let pairs = digits.as_bytes().chunks(2);
        out.extend(pairs.map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("two digits")
        }));
    } else if token == "H" {
        text(HASH.as_bytes(), out);
    } else if token.starts_with(|first: char| first.is_ascii_uppercase()) {
        let letter = token.chars().next().expect("it has a letter");
        let printed = format!("{}/{}", store_dir.as_str(), base_name(letter));
        text(printed.as_bytes(), out);
    } else {
        let number = match token.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => token.parse(),
        };
        let number = number.unwrap_or_else(|_| panic!("{token:?} is no number"));
        out.extend((0..8).map(|byte| (number >> (8 * byte)) as u8));
    }
    behind
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((0..8).map(|byte| (bytes.len() >> (8 * byte)) as u8));
    out.extend(bytes);
    let padding = (8 - bytes.len() % 8) % 8;
    out.extend(&[0; 8][..padding]);
}

#[test]
fn the_notation_itself() {
    let bytes = bytes("258 'ab' =ff00ff00ff00ff00 -- a remark", &StoreDir::NIX);
    let expected = [
        [2, 1, 0, 0, 0, 0, 0, 0],
        [2, 0, 0, 0, 0, 0, 0, 0],
        [b'a', b'b', 0, 0, 0, 0, 0, 0],
        [255, 0, 255, 0, 255, 0, 255, 0],
    ];
    assert_eq!(bytes, expected.concat());
}
