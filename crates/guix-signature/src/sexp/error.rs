//! Why a text is not an s-expression.

use super::{MAX_DEPTH, MAX_LEN};

/// Why a text is not an s-expression, and where. It holds nothing of the text, which may be a secret key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}")]
pub struct Error {
    /// Bytes before what is wrong.
    pub offset: usize,
    /// What is wrong, or what was expected.
    pub kind: ErrorKind,
}

/// What can be wrong with the text of an s-expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// More than [`MAX_LEN`] bytes.
    #[error("more than {MAX_LEN} bytes")]
    TooLong,
    /// Lists are nested deeper than [`MAX_DEPTH`].
    #[error("lists nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The text does not begin with a list.
    #[error("expected the `(` of a list")]
    ListStart,
    /// The text ends inside of a list.
    #[error("expected the `)` of a list, found the end")]
    ListEnd,
    /// No list and no atom begins with this byte.
    #[error("expected a list, an atom or `)`")]
    Item,
    /// Something stands behind the s-expression.
    #[error("expected the end")]
    End,
    /// The length before a colon has a leading zero, more than seven digits, or no colon behind it.
    #[error("expected a length and `:`")]
    Length,
    /// Fewer bytes follow than the length says.
    #[error("fewer bytes than the length says")]
    Short,
    /// The text ends inside of `"..."`.
    #[error("expected the `\"` that ends a string, found the end")]
    StringEnd,
    /// A backslash stands before something that it does not escape.
    #[error("backslash does not begin an escape")]
    Escape,
    /// A byte in `#...#` is no hexadecimal digit and no white space.
    #[error("expected a hexadecimal digit or `#`")]
    HexDigit,
    /// The number of digits in `#...#` is odd.
    #[error("odd number of hexadecimal digits")]
    HexOdd,
}
