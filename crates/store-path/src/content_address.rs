//! What a content-addressed store object's path was computed from, as databases, `.narinfo` files and the worker protocol write it.

use std::fmt;
use std::str::FromStr;

use crate::{Hash, HashError, HashErrorKind, HashFormat, PathError};

/// How the bytes that are hashed come out of a store object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentAddressMethod {
    /// A regular file's contents, which name the references (`builtins.toFile`, derivations).
    Text,
    /// A regular file's contents.
    Flat,
    /// The Nix archive of a file tree; written `r:` ("recursive").
    Recursive,
    /// The git blob or tree of a file tree; written `git:`, an experiment of Nix since 2.22.
    Git,
}

impl ContentAddressMethod {
    /// What stands before the algorithm in an output of a derivation: `text:`, nothing, `r:` or `git:`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "",
            Self::Recursive => "r:",
            Self::Git => "git:",
        }
    }

    /// Takes a [`prefix`](Self::prefix) off.
    #[must_use]
    pub fn split_prefix(text: &str) -> (Self, &str) {
        [Self::Text, Self::Recursive, Self::Git]
            .into_iter()
            .find_map(|method| Some((method, text.strip_prefix(method.prefix())?)))
            .unwrap_or((Self::Flat, text))
    }
}

/// A content address, such as `fixed:r:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s`.
///
/// ```
/// use store_path::{ContentAddress, ContentAddressMethod};
///
/// let text = "fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
/// let address: ContentAddress = text.parse()?;
/// assert_eq!(address.method, ContentAddressMethod::Recursive);
/// assert_eq!(address.to_string(), text);
/// # Ok::<(), store_path::ContentAddressError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentAddress {
    /// What was hashed.
    pub method: ContentAddressMethod,
    /// The hash of it.
    pub hash: Hash,
}

/// Why a text is not a content address, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}: {text:?}")]
pub struct ContentAddressError {
    /// Bytes of [`text`](Self::text) before what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub kind: ContentAddressErrorKind,
    /// The text that was read, cut after [`PathError::MAX_TEXT_LEN`] bytes.
    pub text: Box<str>,
}

/// What can be wrong with a content address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentAddressErrorKind {
    /// It begins with neither `text:` nor `fixed:`.
    #[error("content address is neither text nor fixed")]
    Method,
    /// The hash is not `ALGORITHM:BASE32`.
    #[error(transparent)]
    Hash(HashErrorKind),
    /// The hash is written in another base.
    #[error("hash is not in base32")]
    NotBase32,
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.method == ContentAddressMethod::Text {
            ""
        } else {
            "fixed:"
        };
        write!(
            f,
            "{kind}{}{}",
            self.method.prefix(),
            self.hash.print(HashFormat::Base32)
        )
    }
}

impl FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(text: &str) -> Result<Self, ContentAddressError> {
        parse(text).map_err(|(offset, kind)| {
            let end = text.floor_char_boundary(PathError::MAX_TEXT_LEN);
            ContentAddressError {
                offset,
                kind,
                text: text[..end].into(),
            }
        })
    }
}

fn parse(text: &str) -> Result<ContentAddress, (usize, ContentAddressErrorKind)> {
    let (method, hash) = match text.strip_prefix("fixed:") {
        // `fixed:text:…` is not a content address: no algorithm is called `text`.
        Some(rest) if rest.starts_with(ContentAddressMethod::Text.prefix()) => {
            (ContentAddressMethod::Flat, rest)
        }
        Some(rest) => ContentAddressMethod::split_prefix(rest),
        None => match text.strip_prefix(ContentAddressMethod::Text.prefix()) {
            Some(rest) => (ContentAddressMethod::Text, rest),
            None => return Err((0, ContentAddressErrorKind::Method)),
        },
    };
    let before = text.len() - hash.len();
    let parsed = Hash::parse(hash, None).map_err(|HashError { offset, kind, .. }| {
        (before + offset, ContentAddressErrorKind::Hash(kind))
    })?;
    // Only one text for each address: the database compares texts.
    if parsed.print(HashFormat::Base32) != hash {
        return Err((before, ContentAddressErrorKind::NotBase32));
    }
    Ok(ContentAddress {
        method,
        hash: parsed,
    })
}
