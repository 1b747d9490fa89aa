use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustix::io::Errno;

use crate::{Error, Kind};

/// Why an archive could not be restored. Its message completes a sentence that begins with "failed to ".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreError {
    /// What it is about, beginning with the path or name of the root.
    pub path: PathBuf,
    /// What happened.
    pub kind: RestoreErrorKind,
    /// What was created and could not be removed again. Empty: nothing of the archive is left.
    pub left_behind: Vec<LeftBehind>,
}

/// What a [`RestoreError`] is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RestoreErrorKind {
    /// The operating system refused.
    System {
        /// What was tried, as a verb that goes before the path.
        operation: &'static str,
        /// The number of the error, as [`io::Error::from_raw_os_error`] takes it.
        errno: i32,
    },
    /// The bytes are not an archive, or the archive breaks a limit.
    Archive(Error),
    /// Names are to be kept apart by the suffix `~nix~case~hack~`, and this one contains it.
    CaseHack,
    /// The source of the archive failed. Never from a [`Restore`](crate::Restore), which has none.
    Source(Arc<io::Error>),
    /// The restore failed before and cannot be gone on with.
    Abandoned,
}

/// Something that an abandoned restore could not remove.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// Where it is.
    pub path: PathBuf,
    /// Why it could not be removed, as [`io::Error::from_raw_os_error`] takes it; `None` if
    /// something else stands in the place of what was created.
    pub errno: Option<i32>,
}

impl RestoreError {
    /// Something happened to `path`, and nothing is left behind.
    pub fn new(path: impl Into<PathBuf>, kind: RestoreErrorKind) -> Self {
        Self {
            path: path.into(),
            kind,
            left_behind: Vec::new(),
        }
    }

    pub(crate) fn system(path: &Path, operation: &'static str, errno: Errno) -> Self {
        Self::new(path, RestoreErrorKind::system(operation, errno))
    }
}

impl LeftBehind {
    /// What is at `path` could not be removed.
    pub fn new(path: impl Into<PathBuf>, errno: Option<i32>) -> Self {
        let path = path.into();
        Self { path, errno }
    }
}

impl RestoreErrorKind {
    pub(super) fn system(operation: &'static str, errno: Errno) -> Self {
        Self::System {
            operation,
            errno: errno.raw_os_error(),
        }
    }

    pub(super) fn trailing(offset: u64) -> Self {
        Self::Archive(Error {
            offset,
            kind: Kind::Trailing,
        })
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            RestoreErrorKind::System { operation, errno } => {
                write!(
                    f,
                    "{operation} `{path}`: {}",
                    io::Error::from_raw_os_error(*errno)
                )?;
            }
            RestoreErrorKind::Archive(error) => write!(f, "restore `{path}`: {error}")?,
            RestoreErrorKind::CaseHack => {
                write!(f, "restore `{path}`: its name contains `~nix~case~hack~`")?;
            }
            RestoreErrorKind::Source(error) => {
                write!(f, "read the archive of `{path}`: {error}")?;
            }
            RestoreErrorKind::Abandoned => {
                write!(f, "go on with `{path}`: its restore failed before")?;
            }
        }
        for left in &self.left_behind {
            write!(f, "; {left}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.errno {
            Some(errno) => {
                write!(
                    f,
                    "left behind `{path}`: {}",
                    io::Error::from_raw_os_error(errno)
                )
            }
            None => write!(f, "left alone `{path}`: it was replaced meanwhile"),
        }
    }
}

impl std::error::Error for RestoreError {
    /// What lies behind the error that the message ends with.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RestoreErrorKind::Source(error) => error.source(),
            _ => None,
        }
    }
}

impl From<RestoreError> for io::Error {
    fn from(error: RestoreError) -> Self {
        let kind = match &error.kind {
            RestoreErrorKind::System { errno, .. } => Self::from_raw_os_error(*errno).kind(),
            RestoreErrorKind::Archive(Error {
                kind: Kind::Truncated,
                ..
            }) => io::ErrorKind::UnexpectedEof,
            RestoreErrorKind::Archive(_) | RestoreErrorKind::CaseHack => io::ErrorKind::InvalidData,
            RestoreErrorKind::Source(error) => error.kind(),
            RestoreErrorKind::Abandoned => io::ErrorKind::Other,
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
            RestoreErrorKind::system("open", Errno::INTR),
            RestoreErrorKind::Source(interrupted),
        ] {
            let error = io::Error::from(RestoreError::new("path", kind));
            assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
        }
        let error = RestoreError::system(Path::new("path"), "open", Errno::NOENT);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }
}
