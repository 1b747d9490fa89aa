use std::{fmt, io};

/// Why bytes are not an archive, or why an archive may not be continued in this way.
///
/// ```
/// let error = nar::Decoder::new().decode(b"\x0d\0\0\0\0\0\0\0tar-").unwrap_err();
/// assert_eq!(error.to_string(), "expected the word `nix-archive-1` at offset 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where: bytes from the archive's first. The first byte of the word at fault, or of the
    /// padding byte that is not zero.
    pub offset: u64,
    /// What.
    pub kind: Kind,
}

/// The kind of an I/O error around one that every later call returns again. It is never
/// [`io::ErrorKind::Interrupted`]: whoever reads or writes tries that again, and would for ever.
#[cfg(target_os = "linux")]
pub(crate) fn final_kind(kind: io::ErrorKind) -> io::ErrorKind {
    match kind {
        io::ErrorKind::Interrupted => io::ErrorKind::Other,
        kind => kind,
    }
}

/// What an [`Error`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Another word of the format should stand here.
    Word {
        /// The word that should, as the format spells it. Where one of several should, all of them
        /// with "`, `" and "` or `" between them, so that the quotes of the message fit: "entry`
        /// or `)".
        expected: &'static str,
    },
    /// A byte of padding is not zero.
    Padding,
    /// A name is longer than [`Limits::name`](crate::Limits).
    NameLength {
        /// Its length in bytes, as claimed.
        length: u64,
        /// The limit it exceeds.
        limit: usize,
    },
    /// A name is empty, `.` or `..`, or contains `/` or NUL.
    Name,
    /// A name is equal to the name before it in its directory.
    NameTwice,
    /// A name is not greater, byte by byte, than the name before it in its directory.
    NameOrder,
    /// A symbolic link's target is longer than [`Limits::target`](crate::Limits).
    TargetLength {
        /// Its length in bytes, as claimed.
        length: u64,
        /// The limit it exceeds.
        limit: usize,
    },
    /// A symbolic link's target is empty or contains NUL: no file system can hold it.
    Target,
    /// An entry lies deeper than [`Limits::depth`](crate::Limits). The offset is its name's.
    Depth {
        /// The limit.
        limit: usize,
    },
    /// The archive ends before it is complete.
    Truncated,
    /// Bytes follow where nothing but the archive should be.
    Trailing,
    /// An encoder was handed an event that cannot come here.
    Event {
        /// What can.
        expected: &'static str,
    },
    /// An encoder was handed more data than the file's size left room for.
    Data {
        /// Bytes of the file still to come.
        remaining: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.kind, self.offset)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { expected } => write!(f, "expected the word `{expected}`"),
            Self::Padding => f.write_str("padding that is not zero"),
            Self::NameLength { length, limit } => {
                write!(f, "name of {length} bytes, more than {limit}")
            }
            Self::Name => f.write_str("name that is empty, `.`, `..` or contains `/` or NUL"),
            Self::NameTwice => f.write_str("name that stands twice in its directory"),
            Self::NameOrder => f.write_str("name that should stand before its predecessor"),
            Self::TargetLength { length, limit } => {
                write!(f, "symlink target of {length} bytes, more than {limit}")
            }
            Self::Target => f.write_str("symlink target that is empty or contains NUL"),
            Self::Depth { limit } => write!(f, "more than {limit} nodes inside each other"),
            Self::Truncated => f.write_str("end of input inside the archive"),
            Self::Trailing => f.write_str("bytes after the archive"),
            Self::Event { expected } => write!(f, "event out of place, expected {expected}"),
            Self::Data { remaining } => {
                write!(f, "more data than the {remaining} bytes left of the file")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            Kind::Truncated => io::ErrorKind::UnexpectedEof,
            Kind::Event { .. } | Kind::Data { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
