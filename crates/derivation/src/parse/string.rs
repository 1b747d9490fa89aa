//! Strings: `"…"`, in which `"`, `\`, newline, return and tab are escaped by a backslash, and nothing else is.

use std::borrow::Cow;

use super::{Parsed, fail, token};
use crate::Bytes;
use crate::error::{ErrorKind, Expected};

/// The first byte that does not stand for itself in a string.
#[inline]
pub(crate) fn find_special(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let at = start + find_suspect(&bytes[start..])?;
        if is_special(bytes[at]) {
            return Some(at);
        }
        start = at + 1;
    }
}

/// The first byte that is a quotation mark, a backslash or any control character. Eight bytes at a time in one integer: as fast as vector
/// instructions on strings as short as these, and the same on every machine.
#[inline]
fn find_suspect(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGHS: u64 = ONES << 7;
    // Sets the high bit of the first byte that is less than `limit`, and perhaps of bytes behind it; `limit` is at most 128.
    const fn less(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
    }
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quotation_mark = less(word ^ (ONES * b'"' as u64), 1);
        let backslash = less(word ^ (ONES * b'\\' as u64), 1);
        let found = less(word, b' ') | quotation_mark | backslash;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest
        .iter()
        .position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
    in_rest.map(|position| bytes.len() - rest.len() + position)
}

/// Whether a byte is escaped where it is meant.
#[inline]
pub(crate) const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte == b'\n') | (byte == b'\r') | (byte == b'\t')
}

/// `"any \"bytes\""`
#[inline]
pub(super) fn string(input: &[u8]) -> Parsed<'_, Bytes<'_>> {
    let (bytes, ()) = token(b'"', Expected::StringStart)(input)?;
    match find_special(bytes) {
        Some(end) if bytes[end] == b'"' => Ok((&bytes[end + 1..], Cow::Borrowed(&bytes[..end]))),
        _ => escaped(bytes),
    }
}

/// The rest of a string, from behind its first quotation mark, in which something is escaped (or wrong).
fn escaped(input: &[u8]) -> Parsed<'_, Bytes<'_>> {
    // A line or two: most escaped strings are longer.
    let mut bytes = Vec::with_capacity(128);
    let mut rest = input;
    loop {
        let Some(offset) = find_special(rest) else {
            return fail(&[], ErrorKind::Expected(Expected::StringEnd));
        };
        bytes.extend_from_slice(&rest[..offset]);
        let special = &rest[offset..];
        let unescaped = match special {
            [b'"', rest @ ..] => return Ok((rest, Cow::Owned(bytes))),
            [b'\\', b'n', ..] => b'\n',
            [b'\\', b'r', ..] => b'\r',
            [b'\\', b't', ..] => b'\t',
            [b'\\', byte @ (b'"' | b'\\'), ..] => *byte,
            [b'\\', ..] => return fail(special, ErrorKind::Escape),
            _ => return fail(special, ErrorKind::Unescaped),
        };
        bytes.push(unescaped);
        rest = &special[2..];
    }
}

/// `"x86_64-linux"`: a string that is UTF-8.
pub(super) fn text(input: &[u8]) -> Parsed<'_, Cow<'_, str>> {
    let (rest, bytes) = string(input)?;
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    match text {
        Some(text) => Ok((rest, text)),
        None => fail(input, ErrorKind::NotUtf8),
    }
}

/// `"out"`: the name of an output, which is part of a store path's name.
pub(super) fn name(input: &[u8]) -> Parsed<'_, Cow<'_, str>> {
    let (rest, text) = text(input)?;
    match store_path::check_name(&text) {
        Ok(()) => Ok((rest, text)),
        Err(error) => fail(input, ErrorKind::OutputName(error.kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for special in *b"\"\\\n\r\t" {
            for len in 0..50 {
                for at in 0..len {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = special;
                    assert_eq!(find_special(&bytes), Some(at));
                    bytes[len - 1] = b'"';
                    assert_eq!(find_special(&bytes), Some(at));
                }
                assert_eq!(find_special(&vec![b'a'; len]), None);
            }
        }
    }
}
