//! Why a text is not a store path.

/// Why a text is not a store path (or not the name of one), and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}: {text:?}")]
pub struct PathError {
    /// Bytes of [`text`](Self::text) before what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub kind: PathErrorKind,
    /// The text that was read, cut after [`PathError::MAX_TEXT_LEN`] bytes.
    pub text: Box<str>,
}

impl PathError {
    /// How much of a foreign text an error carries: enough for the longest base name in the longest usual store directory.
    pub const MAX_TEXT_LEN: usize = 512;
}

/// What can be wrong with a store path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathErrorKind {
    /// The path does not begin with the store directory and a slash.
    #[error("path is not in the store")]
    NotInStore,
    /// Something follows the base name: the path names a file inside of a store object.
    #[error("path goes on below the store object")]
    BelowStoreObject,
    /// Fewer bytes than a hash part, a dash and one more.
    #[error("base name is too short")]
    TooShort,
    /// A byte of the hash part is not nix-base32.
    #[error("hash part has a character outside of base32")]
    HashCharacter,
    /// No dash after the hash part.
    #[error("dash is missing after the hash part")]
    Dash,
    /// Nothing after the dash.
    #[error("name is empty")]
    NameEmpty,
    /// The name has this many bytes, more than [`MAX_NAME_LEN`](crate::MAX_NAME_LEN).
    #[error("name of {0} bytes is longer than 211")]
    NameTooLong(usize),
    /// A byte of the name is not one of `0-9 a-z A-Z + - . _ ? =`.
    #[error("name has a character that is not allowed")]
    NameCharacter,
    /// The name is `.` or `..`, or begins with `.-` or `..-`.
    #[error("name is or begins with a dot or two before a dash")]
    NameDots,
}

/// An error before anyone asked for its text: cheap where the text is known to the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) kind: PathErrorKind,
}

impl Fault {
    /// The same fault in a text that has `before` more bytes in front.
    pub(crate) fn shift(self, before: usize) -> Self {
        Self {
            offset: self.offset + before,
            ..self
        }
    }
}

pub(crate) fn describe(fault: Fault, text: &str) -> PathError {
    let end = text.floor_char_boundary(PathError::MAX_TEXT_LEN);
    PathError {
        offset: fault.offset,
        kind: fault.kind,
        text: text[..end].into(),
    }
}
