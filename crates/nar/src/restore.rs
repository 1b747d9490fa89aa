mod attributes;
mod error;
mod options;
mod remove;
mod tree;

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

pub use self::error::{LeftBehind, RestoreError, RestoreErrorKind};
pub use self::options::{Durability, RestoreOptions};
use self::tree::Tree;
use crate::names::is_file_name;
use crate::{Decoder, Step};

/// Restores an archive, which comes in pieces, into a file system.
///
/// Everything is created anew, relative to the descriptor of the directory that holds it: nothing
/// that exists is opened, overwritten or followed, so an archive cannot reach outside of the
/// place it is given, not even while another process swaps directories for links. File data
/// goes from the caller's bytes straight to the kernel. One descriptor is held for each
/// directory that is open. Only the path that leads to the root's place may go through links, as
/// any path may.
///
/// On an error, and when it is dropped before [`Restore::finish`], everything it has created is
/// removed again; [`RestoreError::left_behind`] names what could not be.
///
/// ```
/// use std::ffi::OsStr;
/// use nar::{Restore, RestoreOptions};
///
/// let directory = tempfile::tempdir()?;
/// let parent = std::fs::File::open(directory.path())?;
/// let mut input = nar::example();
/// input.extend(b"what follows");
///
/// let mut restore = Restore::new(&parent, OsStr::new("root"), RestoreOptions::default())?;
/// let written = restore.write(&input)?;
/// assert!(written.finished);
/// assert_eq!(&input[written.consumed..], b"what follows");
/// restore.finish()?;
/// assert_eq!(std::fs::read_to_string(directory.path().join("root/link"))?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Restore {
    decoder: Decoder,
    tree: Tree,
}

/// What [`Restore::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "bytes behind the archive are not consumed; `Restore::write_all` refuses them"]
#[non_exhaustive]
pub struct Written {
    /// How many bytes of the input belong to the archive and are done with. All of them, unless
    /// the archive ends before.
    pub consumed: usize,
    /// Whether the archive is complete.
    pub finished: bool,
}

impl Restore {
    /// Prepares to create `name` in the directory `parent`; nothing is created yet.
    ///
    /// # Errors
    /// `name` is no file name, or the descriptor cannot be duplicated.
    pub fn new(
        parent: impl AsFd,
        name: &OsStr,
        options: RestoreOptions,
    ) -> Result<Self, RestoreError> {
        let failed = |operation, errno| RestoreError::system(Path::new(name), operation, errno);
        let parent = rustix::io::fcntl_dupfd_cloexec(parent, 0)
            .map_err(|errno| failed("open the parent of", errno))?;
        Self::begin(parent, name, Path::new(name), options)
    }

    /// Prepares to create whatever the archive holds at `path`; nothing is created yet.
    ///
    /// # Errors
    /// `path` does not end in a file name, or its parent cannot be opened.
    pub fn to(path: impl AsRef<Path>, options: RestoreOptions) -> Result<Self, RestoreError> {
        let path = path.as_ref();
        let failed = |operation, errno| RestoreError::system(path, operation, errno);
        let name = path
            .file_name()
            .ok_or_else(|| failed("create", Errno::INVAL))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = retry_on_intr(|| rustix::fs::openat(CWD, parent, flags, Mode::empty()))
            .map_err(|errno| failed("open the parent of", errno))?;
        Self::begin(parent, name, path, options)
    }

    fn begin(
        parent: OwnedFd,
        name: &OsStr,
        path: &Path,
        options: RestoreOptions,
    ) -> Result<Self, RestoreError> {
        let is_name = is_file_name(name.as_bytes());
        let name = CString::new(name.as_bytes()).ok().filter(|_| is_name);
        let name = name.ok_or_else(|| RestoreError::system(path, "create", Errno::INVAL))?;
        Ok(Self {
            decoder: Decoder::with_limits(options.limits),
            tree: Tree::new(parent, name, path.to_owned(), options),
        })
    }

    /// Takes the next bytes of the archive and restores what they say.
    ///
    /// # Errors
    /// The bytes are not an archive, or the file system refuses. What was created is removed, and
    /// the archive cannot be gone on with: every later call fails.
    pub fn write(&mut self, input: &[u8]) -> Result<Written, RestoreError> {
        if self.tree.is_abandoned() {
            return Err(self.tree.fail(RestoreErrorKind::Abandoned));
        }
        let mut consumed = 0;
        loop {
            let step = match self.decoder.decode(&input[consumed..]) {
                Ok(step) => step,
                Err(error) => return Err(self.tree.fail(RestoreErrorKind::Archive(error))),
            };
            match step {
                Step::Event {
                    consumed: length,
                    event,
                } => {
                    consumed += length;
                    if let Err(kind) = self.tree.apply(&event) {
                        return Err(self.tree.fail(kind));
                    }
                }
                Step::NeedMore { .. } => {
                    return Ok(Written {
                        consumed: input.len(),
                        finished: false,
                    });
                }
                Step::Finished => {
                    return Ok(Written {
                        consumed,
                        finished: true,
                    });
                }
            }
        }
    }

    /// [`Restore::write`] for an input that must not go on behind the archive.
    ///
    /// # Errors
    /// As for [`Restore::write`], and if bytes follow the archive.
    pub fn write_all(&mut self, input: &[u8]) -> Result<(), RestoreError> {
        if self.write(input)?.consumed == input.len() {
            return Ok(());
        }
        Err(self
            .tree
            .fail(RestoreErrorKind::trailing(self.decoder.offset())))
    }

    /// The source of the bytes failed: removes what was created.
    pub(crate) fn fail_source(&mut self, error: std::io::Error) -> RestoreError {
        self.tree.fail(RestoreErrorKind::Source(Arc::new(error)))
    }

    /// Ends the restore and keeps what it created.
    ///
    /// # Errors
    /// The archive is not complete, or what was asked to be flushed cannot be. What was created
    /// is removed.
    pub fn finish(mut self) -> Result<(), RestoreError> {
        self.flush()?;
        self.keep();
        Ok(())
    }

    /// All of [`Restore::finish`] that can fail or take its time. What was created is still
    /// removed unless [`Restore::keep`] follows.
    pub(crate) fn flush(&mut self) -> Result<(), RestoreError> {
        if self.tree.is_abandoned() {
            return Err(self.tree.fail(RestoreErrorKind::Abandoned));
        }
        if let Some(error) = self.decoder.end_of_input() {
            return Err(self.tree.fail(RestoreErrorKind::Archive(error)));
        }
        self.tree.flush_all().map_err(|kind| self.tree.fail(kind))
    }

    /// What was created is to stay.
    pub(crate) fn keep(mut self) {
        self.tree.keep();
    }
}

/// Restores the archive that `source` holds to `path`, where nothing may be yet. Reads up to the
/// source's end, where the archive must end too, and writes neither modes nor times of a store.
///
/// # Errors
/// Those of the source, of the archive and of the file system. What was created is removed.
///
/// ```
/// let directory = tempfile::tempdir()?;
/// nar::restore(&mut nar::example().as_slice(), directory.path().join("root"))?;
/// assert_eq!(std::fs::read_to_string(directory.path().join("root/greeting"))?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn restore(source: &mut impl Read, path: impl AsRef<Path>) -> Result<(), RestoreError> {
    restore_with(source, path, RestoreOptions::default())
}

/// [`restore`] with options.
///
/// # Errors
/// As for [`restore`].
pub fn restore_with(
    source: &mut impl Read,
    path: impl AsRef<Path>,
    options: RestoreOptions,
) -> Result<(), RestoreError> {
    let mut restore = Restore::to(path, options)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return restore.finish(),
            Ok(length) => restore.write_all(&buffer[..length])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(restore.fail_source(error)),
        }
    }
}

/// Bytes that [`restore`] reads at a time; as for a dump.
const BUFFER: usize = 256 * 1024;
