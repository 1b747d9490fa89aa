use std::fmt;

/// Why a [`Decoder`](super::Decoder) gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The bytes are right so far, and at least this many more (one or more) are needed.
    Incomplete {
        /// A true lower bound of the number of missing bytes.
        at_least: usize,
    },
    /// No further bytes can make this right.
    Malformed(Error),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Incomplete { at_least } => {
                write!(
                    f,
                    "decode: the input ends at least {at_least} bytes too early"
                )
            }
            Stop::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Stop {}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Malformed(error)
    }
}

/// Bytes that are not what the protocol says, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Offset of the word or value at fault, from the first byte of the stream (or of the decoder's bytes).
    pub offset: u64,
    /// What is wrong.
    pub kind: Kind,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for Error {}

/// What can be wrong with bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// Padding that is not zero.
    #[error("decode padding that is not zero")]
    Padding,
    /// A length above its maximum.
    #[error("decode a length of {length} where at most {maximum} is allowed")]
    TooLong {
        /// The length that was announced.
        length: u64,
        /// The most that is accepted there.
        maximum: u64,
    },
    /// A message that would need more bytes than one may have.
    #[error("decode a message of more than {maximum} bytes")]
    TooLarge {
        /// The most that one may have: see `max_message` of a session's options.
        maximum: u64,
    },
    /// A boolean or optional's tag that is neither 0 nor 1.
    #[error("decode a boolean from {0}")]
    Boolean(u64),
    /// A number outside its range.
    #[error("decode {what} from {value}")]
    Number {
        /// What was to be read.
        what: &'static str,
        /// The number that was there.
        value: u64,
    },
    /// A text that does not parse.
    #[error("decode {what} from {text:?}")]
    Text {
        /// What was to be read.
        what: &'static str,
        /// The text that was there, cut after 256 bytes.
        text: super::Text,
    },
    /// The same key twice in a map, or keys out of order where the layout demands an order.
    #[error("decode a map with a repeated key")]
    RepeatedKey,
    /// A message that has no place there, such as a daemon's wish for data where it gets none.
    #[error("decode a message out of its place")]
    OutOfPlace,
    /// The input has ended before what was begun.
    #[error("decode an input that ends too early")]
    Truncated,
    /// Bytes behind the value.
    #[error("decode a value with {0} bytes behind it")]
    Trailing(usize),
}
