//! The part of a store path that people read.

use crate::path_error::{Fault, PathErrorKind};
use crate::{PathError, path_error};

/// The longest name, in bytes. A file name may have 255; the hash part, its dash and room for `.lock`, `.chroot` and the like are taken off.
pub const MAX_NAME_LEN: usize = 211;

/// Checks the name of a store object: 1 to [`MAX_NAME_LEN`] of `0-9 a-z A-Z + - . _ ? =`, and neither `.` nor `..` before its first dash.
///
/// The rule about dots is that of Nix 2.21 and later. Nix 2.4 to 2.18 accept any leading dot, Nix 2.3 and Guix none.
///
/// # Errors
/// [`PathError`] with the offset of what is wrong in `name`.
///
/// ```
/// assert!(store_path::check_name("bash-5.1-p8").is_ok());
/// assert!(store_path::check_name(".gitignore").is_ok());
/// assert!(store_path::check_name("..-x").is_err());
/// ```
pub fn check_name(name: &str) -> Result<(), PathError> {
    check(name.as_bytes()).map_err(|fault| path_error::describe(fault, name))
}

/// [`check_name`] for bytes that may not even be text.
pub(crate) fn check(name: &[u8]) -> Result<(), Fault> {
    let offset = name_prefix_len(name);
    if offset < name.len().min(MAX_NAME_LEN) {
        return Err(Fault {
            offset,
            kind: PathErrorKind::NameCharacter,
        });
    }
    check_shape(name)
}

/// The rules about length and dots, for bytes that are known to be allowed.
pub(crate) fn check_shape(name: &[u8]) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault {
            offset: 0,
            kind: PathErrorKind::NameEmpty,
        });
    }
    if name.len() > MAX_NAME_LEN {
        return Err(Fault {
            offset: MAX_NAME_LEN,
            kind: PathErrorKind::NameTooLong(name.len()),
        });
    }
    if name[0] == b'.'
        && matches!(
            name,
            b"." | b".." | [b'.', b'-', ..] | [b'.', b'.', b'-', ..]
        )
    {
        return Err(Fault {
            offset: 0,
            kind: PathErrorKind::NameDots,
        });
    }
    Ok(())
}

/// How many of the first bytes may stand in a name.
///
/// ```
/// assert_eq!(store_path::name_prefix_len(b"bash-5.1-p8/bin/bash"), 11);
/// ```
#[inline]
#[must_use]
pub fn name_prefix_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !ALLOWED[usize::from(byte)])
        .unwrap_or(bytes.len())
}

/// Which bytes may stand in a name.
static ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_the_documented_alphabet() {
        let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=";
        for byte in 0..=u8::MAX {
            assert_eq!(
                ALLOWED[usize::from(byte)],
                alphabet.as_bytes().contains(&byte),
                "{byte}"
            );
        }
    }

    #[test]
    fn a_name_ends_wherever_something_else_stands() {
        for len in 0..50 {
            for at in 0..len {
                let mut bytes = vec![b'a'; len];
                bytes[at] = b'"';
                assert_eq!(name_prefix_len(&bytes), at);
            }
            assert_eq!(name_prefix_len(&vec![b'a'; len]), len);
        }
    }
}
