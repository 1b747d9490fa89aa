//! Hashes as text: `sha256:HEX`, `sha256:NIXBASE32`, `sha256:BASE64`, `sha256-BASE64`, or the digits alone.

use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};

use super::{Hash, HashAlgorithm};
use crate::{PathError, base32};

/// How the digits of a hash are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashFormat {
    /// `sha256:` and lower-case hexadecimal digits.
    Base16,
    /// `sha256:` and [nix-base32](crate::base32).
    Base32,
    /// `sha256:` and base64 with padding.
    Base64,
    /// `sha256-` and base64 with padding, as in Subresource Integrity.
    Sri,
}

/// Why a text is not a hash, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}: {text:?}")]
pub struct HashError {
    /// Bytes of [`text`](Self::text) before what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub kind: HashErrorKind,
    /// The text that was read, cut after [`PathError::MAX_TEXT_LEN`] bytes.
    pub text: Box<str>,
}

/// What can be wrong with the text of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashErrorKind {
    /// Neither `ALGORITHM:` nor `ALGORITHM-` stands in front.
    #[error("hash has no algorithm")]
    NoAlgorithm,
    /// The algorithm is none of [`HashAlgorithm::ALL`].
    #[error("hash algorithm is not known")]
    Algorithm,
    /// Another algorithm than this one was asked for.
    #[error("hash is not a {0} hash")]
    OtherAlgorithm(HashAlgorithm),
    /// The digits are as many as none of the forms of this algorithm has.
    #[error("{0} hash has the wrong length")]
    Length(HashAlgorithm),
    /// A character that is no digit of the form, or spare bits that are not zero.
    #[error("hash has a wrong digit")]
    Digit,
}

impl HashError {
    pub(super) fn new(offset: usize, kind: HashErrorKind, text: &str) -> Self {
        let end = text.floor_char_boundary(PathError::MAX_TEXT_LEN);
        Self {
            offset,
            kind,
            text: text[..end].into(),
        }
    }
}

impl Hash {
    /// The algorithm and the digits: `sha256:1b8m…`, or `sha256-47DE…` for [`HashFormat::Sri`].
    #[must_use]
    pub fn print(&self, format: HashFormat) -> String {
        let separator = if format == HashFormat::Sri { '-' } else { ':' };
        format!("{}{separator}{}", self.algorithm, self.digits(format))
    }

    /// The digits alone.
    #[must_use]
    pub fn digits(&self, format: HashFormat) -> String {
        match format {
            HashFormat::Base16 => HEXLOWER.encode(self.digest()),
            HashFormat::Base32 => base32::encode(self.digest()),
            HashFormat::Base64 | HashFormat::Sri => BASE64.encode(self.digest()),
        }
    }

    /// Reads `ALGORITHM:DIGITS` or `ALGORITHM-BASE64`; if `algorithm` is given, also the digits alone.
    /// The number of digits tells base16, base32 and base64 apart.
    ///
    /// # Errors
    /// [`HashError`] if the text is none of these, or of another algorithm than the one given.
    ///
    /// ```
    /// use store_path::{Hash, HashAlgorithm};
    ///
    /// let md5 = Hash::parse("d41d8cd98f00b204e9800998ecf8427e", Some(HashAlgorithm::Md5))?;
    /// assert_eq!(Hash::parse("md5-1B2M2Y8AsgTpgAmY7PhCfg==", None)?, md5);
    /// # Ok::<(), store_path::HashError>(())
    /// ```
    pub fn parse(text: &str, algorithm: Option<HashAlgorithm>) -> Result<Self, HashError> {
        let fail = |offset, kind| Err(HashError::new(offset, kind, text));
        let (named, digits, sri) = match (text.split_once(':'), text.rsplit_once('-')) {
            (Some((name, digits)), _) => (name, digits, false),
            (None, Some((name, digits))) => (name, digits, true),
            (None, None) => match algorithm {
                Some(algorithm) => return Self::from_digits(algorithm, text),
                None => return fail(0, HashErrorKind::NoAlgorithm),
            },
        };
        let Some(found) = HashAlgorithm::from_name(named) else {
            return fail(0, HashErrorKind::Algorithm);
        };
        if let Some(wanted) = algorithm.filter(|&wanted| wanted != found) {
            return fail(0, HashErrorKind::OtherAlgorithm(wanted));
        }
        let decoded = if sri {
            from_base64(found, digits)
        } else {
            decode(found, digits)
        };
        decoded.or_else(|(offset, kind)| fail(named.len() + 1 + offset, kind))
    }

    /// Reads the digits alone, in base16, base32 or base64.
    ///
    /// # Errors
    /// [`HashError`] if the length fits no form, or a character is no digit of it. Hexadecimal digits are lower case.
    pub fn from_digits(algorithm: HashAlgorithm, digits: &str) -> Result<Self, HashError> {
        decode(algorithm, digits).map_err(|(offset, kind)| HashError::new(offset, kind, digits))
    }
}

/// Reads `ALGORITHM:DIGITS` or `ALGORITHM-BASE64`.
impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::parse(text, None)
    }
}

type Fault = (usize, HashErrorKind);

/// Base16, base32 or base64, whichever has this many digits: the three never agree for any algorithm.
fn decode(algorithm: HashAlgorithm, digits: &str) -> Result<Hash, Fault> {
    let bytes = algorithm.len();
    if digits.len() == HEXLOWER.encode_len(bytes) {
        let digest = HEXLOWER
            .decode(digits.as_bytes())
            .map_err(|error| (error.position, HashErrorKind::Digit))?;
        from_digest(algorithm, &digest)
    } else if digits.len() == base32::encoded_len(bytes) {
        let digest =
            base32::decode(digits).map_err(|error| (error.offset, HashErrorKind::Digit))?;
        from_digest(algorithm, &digest)
    } else {
        from_base64(algorithm, digits)
    }
}

fn from_base64(algorithm: HashAlgorithm, digits: &str) -> Result<Hash, Fault> {
    if digits.len() != BASE64.encode_len(algorithm.len()) {
        return Err((0, HashErrorKind::Length(algorithm)));
    }
    // The decoder takes several padded texts, one behind the other, for one.
    if let Some(padding) = digits.trim_end_matches('=').find('=') {
        return Err((padding, HashErrorKind::Digit));
    }
    let digest = BASE64
        .decode(digits.as_bytes())
        .map_err(|error| (error.position, HashErrorKind::Digit))?;
    from_digest(algorithm, &digest)
}

fn from_digest(algorithm: HashAlgorithm, digest: &[u8]) -> Result<Hash, Fault> {
    Hash::new(algorithm, digest).ok_or((0, HashErrorKind::Length(algorithm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_stands_at_the_end_only() {
        let text = "md5-gTpgCfg=Phghf7mPghf7Tpg=";
        assert_eq!(
            Hash::parse(text, None),
            Err(HashError::new(11, HashErrorKind::Digit, text))
        );
    }

    #[test]
    fn the_forms_of_an_algorithm_differ_in_length() {
        for &algorithm in HashAlgorithm::ALL {
            let bytes = algorithm.len();
            let lengths = [
                HEXLOWER.encode_len(bytes),
                base32::encoded_len(bytes),
                BASE64.encode_len(bytes),
            ];
            assert!(
                lengths[0] > lengths[1] && lengths[1] > lengths[2],
                "{algorithm}"
            );
        }
    }
}
