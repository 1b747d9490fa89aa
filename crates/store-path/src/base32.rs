//! nix-base32: five bits a character, least significant bits first, printed back to front.
//!
//! The alphabet is the ten digits and the letters without `e`, `o`, `u` and `t`. `n` bytes become `⌈8n / 5⌉` characters;
//! the spare bits, if any, are the high bits of the *first* character and have to be zero, so that every byte string has one text.
//!
//! ```
//! use store_path::base32;
//!
//! assert_eq!(base32::encode(&[0x39]), "1r");
//! assert_eq!(base32::decode("1r"), Ok(vec![0x39]));
//! ```

use std::sync::LazyLock;

use data_encoding::{BitOrder, DecodeKind, Encoding, Specification};

/// The 32 characters in the order of their values, 0 to 31.
pub const ALPHABET: &str = "0123456789abcdfghijklmnpqrsvwxyz";

/// The alphabet read least significant bit first: nix-base32 before its characters are reversed.
static FORWARD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    specification.bit_order = BitOrder::LeastSignificantFirst;
    specification.check_trailing_bits = true;
    specification
        .encoding()
        .expect("the alphabet has 32 different ASCII characters")
});

/// Why a text is not nix-base32, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}")]
pub struct DecodeError {
    /// Bytes before the first one that is wrong; 0 for [`DecodeErrorKind::Length`].
    pub offset: usize,
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

/// What can be wrong with a nix-base32 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// No number of bytes has a text of this length.
    #[error("base32 text has an impossible length")]
    Length,
    /// A character outside of [`ALPHABET`].
    #[error("base32 text has a character outside of the alphabet")]
    Character,
    /// The spare bits of the first character are not zero.
    #[error("base32 text has spare bits that are not zero")]
    SpareBits,
}

/// The number of characters that `bytes` bytes take.
///
/// ```
/// assert_eq!(store_path::base32::encoded_len(20), 32);
/// assert_eq!(store_path::base32::encoded_len(32), 52);
/// ```
#[must_use]
pub const fn encoded_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// The text of `bytes`; [`encoded_len`] characters.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = vec![0; encoded_len(bytes.len())];
    FORWARD.encode_mut(bytes, &mut text);
    text.reverse();
    String::from_utf8(text).expect("the alphabet is ASCII")
}

/// The bytes of `text`. Upper case is refused, as are spare bits that are not zero.
///
/// # Errors
/// [`DecodeError`] if `text` is not what [`encode`] prints for some bytes.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    let forward: Vec<u8> = text.bytes().rev().collect();
    FORWARD
        .decode(&forward)
        .map_err(|error| explain(error, text.len()))
}

/// The same for a number of bytes known beforehand, without allocating if they are no more than a digest has: 64.
///
/// # Errors
/// [`DecodeError`] if `text` is not what [`encode`] prints for some `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], DecodeError> {
    // No digest in use is longer than SHA-512's.
    const MAX_LEN: usize = encoded_len(64);
    let wrong_length = DecodeError {
        offset: 0,
        kind: DecodeErrorKind::Length,
    };
    let len = text.len();
    if len != encoded_len(N) {
        return Err(wrong_length);
    }
    if len > MAX_LEN {
        return decode(text)?.try_into().map_err(|_| wrong_length);
    }
    let mut forward = [0; MAX_LEN];
    let mut bytes = [0; N];
    for (to, from) in forward.iter_mut().zip(text.bytes().rev()) {
        *to = from;
    }
    match FORWARD.decode_mut(&forward[..len], &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(partial) => Err(explain(partial.error, len)),
    }
}

/// Whether `byte` is in the [`ALPHABET`].
#[must_use]
#[inline]
pub fn is_digit(byte: u8) -> bool {
    DIGITS[byte as usize]
}

/// Which bytes are digits.
static DIGITS: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        table[ALPHABET.as_bytes()[index] as usize] = true;
        index += 1;
    }
    table
};

/// Turns an error about the reversed text into one about the text itself.
fn explain(error: data_encoding::DecodeError, len: usize) -> DecodeError {
    let kind = match error.kind {
        DecodeKind::Length => {
            return DecodeError {
                offset: 0,
                kind: DecodeErrorKind::Length,
            };
        }
        DecodeKind::Symbol | DecodeKind::Padding => DecodeErrorKind::Character,
        DecodeKind::Trailing => DecodeErrorKind::SpareBits,
    };
    DecodeError {
        offset: len - 1 - error.position,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_what_is_digit_says() {
        let digits: String = (0..=u8::MAX)
            .filter(|&byte| is_digit(byte))
            .map(char::from)
            .collect();
        assert_eq!(digits, ALPHABET);
    }

    #[test]
    fn arrays_of_any_length_come_back() {
        fn come_back<const N: usize>() {
            let bytes: [u8; N] = std::array::from_fn(|at| at as u8 ^ 0xa5);
            let text = encode(&bytes);
            assert_eq!(decode_array(&text), Ok(bytes), "{N} bytes");
            assert_eq!(
                decode_array::<N>(&text[1..]).map_err(|error| error.kind),
                Err(DecodeErrorKind::Length)
            );
        }
        come_back::<1>();
        come_back::<20>();
        come_back::<63>();
        come_back::<64>();
        come_back::<65>();
        come_back::<100>();
        come_back::<1000>();
        // The last character, of an `e`, stands first in what is decoded.
        let text = format!("{}e", &encode(&[0; 65])[1..]);
        let error = decode_array::<65>(&text).unwrap_err();
        assert_eq!(
            (error.offset, error.kind),
            (103, DecodeErrorKind::Character)
        );
    }

    #[test]
    fn errors_point_into_the_text_as_it_stands() {
        assert_eq!(
            decode("1e"),
            Err(DecodeError {
                offset: 1,
                kind: DecodeErrorKind::Character
            })
        );
        assert_eq!(
            decode("zr"),
            Err(DecodeError {
                offset: 0,
                kind: DecodeErrorKind::SpareBits
            })
        );
        assert_eq!(
            decode("1"),
            Err(DecodeError {
                offset: 0,
                kind: DecodeErrorKind::Length
            })
        );
        assert_eq!(
            decode_array::<2>("1r"),
            Err(DecodeError {
                offset: 0,
                kind: DecodeErrorKind::Length
            })
        );
    }
}
