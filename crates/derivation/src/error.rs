//! Why bytes are not a derivation.

use std::fmt;

use store_path::{HashAlgorithm, PathErrorKind};

/// Why bytes are not a derivation, where, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Bytes before the one that is wrong.
    pub offset: usize,
    /// What is wrong, or what was expected.
    pub kind: ErrorKind,
    /// What stands at the offset: at most [`Error::MAX_FOUND_LEN`] bytes; empty at the end of the file.
    pub found: Box<[u8]>,
}

/// What can be wrong with a derivation's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Something else should stand here.
    #[error("expected {0}")]
    Expected(Expected),
    /// After `DrvWithVersion(` stands another version than `xp-dyn-drv`, the only one there is.
    #[error("version of the format is not known")]
    Version,
    /// The version says that some input is dynamic, and none is.
    #[error("version is for dynamic inputs but there is none")]
    NotDynamic,
    /// Dynamic inputs are nested deeper than [`MAX_DYNAMIC_DEPTH`](crate::MAX_DYNAMIC_DEPTH).
    #[error("dynamic inputs are nested deeper than 64")]
    TooDeep,
    /// A backslash stands before something else than `"`, `\`, `n`, `r` or `t`.
    #[error("backslash does not begin an escape")]
    Escape,
    /// A newline, return or tab stands for itself; in a derivation it is always escaped.
    #[error("control character is not escaped")]
    Unescaped,
    /// A string that has to be text is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A store path is none, or is in another store.
    #[error(transparent)]
    StorePath(PathErrorKind),
    /// An output has an impossible name.
    #[error("output {0}")]
    OutputName(PathErrorKind),
    /// The fields of an output do not fit together.
    #[error(transparent)]
    Output(OutputErrorKind),
    /// An entry is less than the one before it.
    #[error("{0} are not sorted")]
    Unsorted(Entries),
    /// An entry equals the one before it.
    #[error("{0} are not unique")]
    Duplicate(Entries),
}

/// What can be wrong with the fields of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputErrorKind {
    /// The algorithm is not known, or its prefix is not.
    #[error("hash algorithm of an output is not known")]
    Algorithm,
    /// The hash is not as many lower-case hexadecimal digits as the algorithm has.
    #[error("hash of an output is not a base16 {0} hash")]
    Hash(HashAlgorithm),
    /// The method is text and the algorithm another than SHA-256.
    #[error("text output has a hash that is not sha256")]
    TextNotSha256,
    /// There is a hash and no algorithm.
    #[error("output has a hash without an algorithm")]
    HashWithoutAlgorithm,
    /// There is a hash and no path.
    #[error("fixed output has no path")]
    FixedWithoutPath,
    /// There is a path, an algorithm and no hash.
    #[error("floating output has a path")]
    FloatingWithPath,
}

/// What the parser was looking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    /// The first bytes of the file.
    #[error("`Derive(` or `DrvWithVersion(`")]
    Header,
    /// What begins a list.
    #[error("the `[` of a list")]
    ListStart,
    /// What stands behind an item of a list.
    #[error("`,` or the `]` of a list")]
    ListRest,
    /// What begins an entry of several parts.
    #[error("the `(` of an entry")]
    EntryStart,
    /// What ends an entry.
    #[error("the `)` of an entry")]
    EntryEnd,
    /// What stands between two parts.
    #[error("`,`")]
    Comma,
    /// What begins a string.
    #[error("the `\"` of a string")]
    StringStart,
    /// What ends a string.
    #[error("the `\"` that ends a string")]
    StringEnd,
    /// The outputs wanted of an input: a list, or a pair if some are dynamic.
    #[error("the `[` or `(` of the outputs of an input")]
    Wanted,
    /// The last parenthesis.
    #[error("the `)` that ends the derivation")]
    DerivationEnd,
    /// Nothing more.
    #[error("the end of the file")]
    EndOfFile,
}

/// The parts of a derivation that are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Entries {
    /// The derivation's own outputs.
    #[error("outputs")]
    Outputs,
    /// The derivations among its inputs.
    #[error("input derivations")]
    InputDerivations,
    /// The outputs wanted of one input.
    #[error("outputs of an input")]
    WantedOutputs,
    /// The other inputs.
    #[error("input sources")]
    InputSources,
    /// The environment's variables.
    #[error("environment variables")]
    Environment,
}

impl Error {
    /// How much of the input an error carries: a line's worth.
    pub const MAX_FOUND_LEN: usize = 40;

    pub(crate) fn new(offset: usize, kind: ErrorKind, rest: &[u8]) -> Self {
        let found = &rest[..rest.len().min(Self::MAX_FOUND_LEN)];
        Self {
            offset,
            kind,
            found: found.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, found ", self.kind, self.offset)?;
        if self.found.is_empty() {
            f.write_str("the end of the file")
        } else {
            write!(f, "{:?}", String::from_utf8_lossy(&self.found))
        }
    }
}

impl std::error::Error for Error {}
