use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::Error;

/// Why a tree could not be dumped. Its message completes a sentence that begins with "failed to ".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpError {
    /// What it is about, beginning with the path that was asked for.
    pub path: PathBuf,
    /// What happened.
    pub kind: DumpErrorKind,
}

/// What a [`DumpError`] is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// twice because the directory changed while it was read. The offset is where in the archive
    /// it would have stood.
    Archive(Error),
    /// The sink of the archive failed. Never from a [`Dump`](crate::Dump), which has none.
    Sink(Arc<io::Error>),
}

impl DumpError {
    /// Something happened to `path`.
    pub fn new(path: impl Into<PathBuf>, kind: DumpErrorKind) -> Self {
        let path = path.into();
        Self { path, kind }
    }

    pub(crate) fn system(path: &Path, operation: &'static str, errno: Errno) -> Self {
        Self::new(path, DumpErrorKind::system(operation, errno))
    }

    /// The archive of `path` could not be passed on.
    pub(crate) fn sink(path: &Path, error: io::Error) -> Self {
        Self::new(path, DumpErrorKind::Sink(Arc::new(error)))
    }
}

impl DumpErrorKind {
    pub(crate) fn system(operation: &'static str, errno: Errno) -> Self {
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
            // The path says where better than an offset could.
            DumpErrorKind::Archive(Error { kind, .. }) => write!(f, "archive `{path}`: {kind}"),
            DumpErrorKind::Sink(error) => write!(f, "write the archive of `{path}`: {error}"),
        }
    }
}

impl std::error::Error for DumpError {
    /// What lies behind the error that the message ends with.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            DumpErrorKind::Sink(error) => error.source(),
            _ => None,
        }
    }
}

impl From<DumpError> for io::Error {
    fn from(error: DumpError) -> Self {
        let kind = match &error.kind {
            DumpErrorKind::System { errno, .. } => Self::from_raw_os_error(*errno).kind(),
            DumpErrorKind::Special { .. } | DumpErrorKind::Archive(_) => {
                io::ErrorKind::InvalidInput
            }
            DumpErrorKind::Shrank { .. } | DumpErrorKind::Grew { .. } => io::ErrorKind::InvalidData,
            DumpErrorKind::Sink(error) => error.kind(),
        };
        Self::new(crate::error::final_kind(kind), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_try_again_what_fails_every_time() {
        let interrupted = Arc::new(io::ErrorKind::Interrupted.into());
        for kind in [
            DumpErrorKind::system("open", Errno::INTR),
            DumpErrorKind::Sink(interrupted),
        ] {
            let error = io::Error::from(DumpError::new("path", kind));
            assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
        }
        let error = DumpError::system(Path::new("path"), "open", Errno::NOENT);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }
}
