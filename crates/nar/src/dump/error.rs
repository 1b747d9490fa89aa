use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::{Error, Kind};

/// Why a tree could not be dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpError {
    /// What it is about, beginning with the path that was asked for.
    pub path: PathBuf,
    /// What happened.
    pub kind: DumpErrorKind,
}

/// What a [`DumpError`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpErrorKind {
    /// The operating system refused.
    System {
        /// What was tried, as a verb that goes before the path.
        operation: &'static str,
        /// The number of the error, as [`io::Error::from_raw_os_error`] takes it.
        errno: i32,
    },
    /// It is neither a file nor a directory nor a symbolic link.
    Special {
        /// What it is.
        file_type: &'static str,
    },
    /// The file became shorter while it was read.
    Shrank {
        /// Its size when it was opened, in bytes.
        size: u64,
        /// How many could be read.
        read: u64,
    },
    /// The file became longer while it was read.
    Grew {
        /// Its size when it was opened, in bytes.
        size: u64,
    },
    /// A name, a link's target or the depth breaks a limit of archives, or a name was listed
    /// twice because the directory changed while it was read.
    Archive(Kind),
}

impl DumpError {
    pub(super) fn system(path: &Path, operation: &'static str, errno: Errno) -> Self {
        Self {
            path: path.to_owned(),
            kind: DumpErrorKind::system(operation, errno),
        }
    }
}

impl DumpErrorKind {
    pub(super) fn system(operation: &'static str, errno: Errno) -> Self {
        Self::System {
            operation,
            errno: errno.raw_os_error(),
        }
    }

    pub(super) fn special(file_type: FileType) -> Self {
        let file_type = match file_type {
            FileType::Fifo => "FIFO",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            FileType::Directory => "directory that was a file before",
            FileType::Symlink => "symlink that was a file before",
            FileType::RegularFile | FileType::Unknown => "file of unknown type",
        };
        Self::Special { file_type }
    }
}

impl From<Error> for DumpErrorKind {
    fn from(error: Error) -> Self {
        Self::Archive(error.kind)
    }
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            DumpErrorKind::System { operation, errno } => {
                write!(
                    f,
                    "{operation} `{path}`: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
            DumpErrorKind::Special { file_type } => {
                write!(f, "archive `{path}`: it is a {file_type}")
            }
            DumpErrorKind::Shrank { size, read } => {
                write!(
                    f,
                    "read `{path}`: it shrank from {size} bytes to {read} meanwhile"
                )
            }
            DumpErrorKind::Grew { size } => {
                write!(f, "read `{path}`: it grew beyond {size} bytes meanwhile")
            }
            DumpErrorKind::Archive(kind) => write!(f, "archive `{path}`: {kind}"),
        }
    }
}

impl std::error::Error for DumpError {}

impl From<DumpError> for io::Error {
    fn from(error: DumpError) -> Self {
        let kind = match error.kind {
            DumpErrorKind::System { errno, .. } => Self::from_raw_os_error(errno).kind(),
            DumpErrorKind::Special { .. } | DumpErrorKind::Archive(_) => {
                io::ErrorKind::InvalidInput
            }
            DumpErrorKind::Shrank { .. } | DumpErrorKind::Grew { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
