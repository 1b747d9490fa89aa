mod ahead;
mod directories;
mod error;
mod file;
mod options;

use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

pub use self::ahead::dump_ahead;
use self::directories::{Directories, Listed};
pub use self::error::{DumpError, DumpErrorKind};
use self::file::{File, OPEN};
pub use self::options::DumpOptions;
use crate::names::is_file_name;
use crate::{Encoder, Event};

/// Bytes that [`dump`] reads at a time: large enough that system calls vanish beside the copy, and
/// small enough that what is done with them then, a hash for example, finds them in a core's own
/// caches. Of 32 to 512 KiB the fastest with SHA-256 behind it.
const BUFFER: usize = 64 * 1024;

/// The archive of a file-system tree, to be read in pieces of any size.
///
/// File data goes from the kernel straight into the caller's buffer; besides it, memory is held
/// only for the names of the directories that are open at one time (the crate's
/// [promises](crate#what-it-promises) say how much). Every step from the root on goes through the
/// descriptor of the directory before it, and no symbolic link is followed, the last part of
/// `path` included: a link is archived as a link, with slashes behind its name, too. What leads to
/// that last part is followed. The archive depends on nothing but names, contents, link targets and
/// the owner's executable bit.
///
/// [`Dump::fill`] hands out a [`DumpError`], and [`Read`] an [`io::Error`] around it.
///
/// ```
/// use std::io::Read;
///
/// let directory = tempfile::tempdir()?;
/// std::fs::write(directory.path().join("greeting"), "hello")?;
/// std::os::unix::fs::symlink("greeting", directory.path().join("link"))?;
///
/// let mut archive = Vec::new();
/// nar::Dump::new(directory.path())?.read_to_end(&mut archive)?;
/// assert_eq!(archive, nar::example());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dump {
    root: PathBuf,
    encoder: Encoder,
    /// Bytes of the archive that are due before anything else, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    directories: Directories,
    file: Option<File>,
    failed: Option<DumpError>,
}

impl Dump {
    /// The archive of whatever stands at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is neither a file nor a directory nor a symbolic link.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, DumpError> {
        Self::with(path, DumpOptions::default())
    }

    /// [`Dump::new`] with options.
    ///
    /// # Errors
    /// As for [`Dump::new`].
    pub fn with(path: impl AsRef<Path>, options: DumpOptions) -> Result<Self, DumpError> {
        let path = path.as_ref();
        let name = CString::new(without_slashes_behind(path.as_os_str().as_bytes()))
            .map_err(|_| DumpError::system(path, "open", Errno::INVAL))?;
        Self::begin(CWD, &name, path, options)
    }

    /// The archive of the entry `name` in an open directory. Messages name it by `name` alone.
    ///
    /// # Errors
    /// As for [`Dump::new`], and if `name` is no file name.
    pub fn at(directory: impl AsFd, name: &CStr, options: DumpOptions) -> Result<Self, DumpError> {
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if !is_file_name(name.to_bytes()) {
            return Err(DumpError::system(path, "open", Errno::INVAL));
        }
        Self::begin(directory.as_fd(), name, path, options)
    }

    fn begin(
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        options: DumpOptions,
    ) -> Result<Self, DumpError> {
        let mut dump = Self {
            root: path.to_owned(),
            encoder: Encoder::with_limits(options.limits),
            pending: Vec::new(),
            sent: 0,
            directories: Directories::new(options),
            file: None,
            failed: None,
        };
        open_node(
            parent,
            name,
            FileType::Unknown,
            &mut dump.encoder,
            &mut dump.pending,
        )
        .and_then(|node| dump.enter(node))
        .map_err(|kind| DumpError::new(path, kind))?;
        Ok(dump)
    }

    /// Writes the next bytes of the archive to `buffer` and returns how many: as many as there is
    /// room for, fewer at the archive's end and before an error, none behind the end. What lies in
    /// `buffer` behind them may have been overwritten.
    ///
    /// # Errors
    /// The tree cannot be read, holds something that has no place in an archive, or changed while
    /// it was read. The same error comes back from every later call.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DumpError> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.sent < self.pending.len() {
                let pending = &self.pending[self.sent..];
                let here = pending.len().min(buffer.len() - filled);
                buffer[filled..filled + here].copy_from_slice(&pending[..here]);
                self.sent += here;
                filled += here;
                continue;
            }
            self.pending.clear();
            self.sent = 0;
            match self.proceed(&mut buffer[filled..]) {
                Ok(Some(length)) => filled += length,
                Ok(None) => break,
                // What was written stands before the error; the next call returns it.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads file data into `room`, or makes bytes pending, or returns `None` at the end.
    fn proceed(&mut self, room: &mut [u8]) -> Result<Option<usize>, DumpError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = if self.file.is_some() {
            self.read_file(room).map(Some)
        } else if self.encoder.is_finished() {
            Ok(None)
        } else {
            self.next_entry().map(|()| Some(0))
        };
        result.map_err(|kind| {
            let error = DumpError::new(self.directories.path(&self.root), kind);
            self.failed = Some(error.clone());
            // What was to come before the entry that failed must not come behind the error.
            self.pending.clear();
            self.sent = 0;
            error
        })
    }

    fn read_file(&mut self, room: &mut [u8]) -> Result<usize, DumpErrorKind> {
        let remaining = self.encoder.remaining();
        let Some(file) = &mut self.file else {
            return Ok(0);
        };
        let mut length = 0;
        if remaining > 0 {
            length = file.read(room, remaining)?;
            let passed = self.encoder.pass_data(length as u64);
            passed.map_err(DumpErrorKind::Archive)?;
        }
        if length as u64 == remaining {
            file.expect_end()?;
            self.file = None;
            self.encode(Event::FileEnd)?;
        }
        Ok(length)
    }

    /// Goes on in the innermost directory, where the last node ended.
    fn next_entry(&mut self) -> Result<(), DumpErrorKind> {
        let Some(entry) = self.directories.next() else {
            self.directories.close();
            return self.encode(Event::DirectoryEnd);
        };
        self.encoder
            .encode(Event::Entry(entry.archive_name), &mut self.pending)
            .map_err(DumpErrorKind::Archive)?;
        let Listed {
            directory,
            name,
            kind,
            ..
        } = entry;
        let node = open_node(directory, name, kind, &mut self.encoder, &mut self.pending)?;
        self.enter(node)
    }

    fn encode(&mut self, event: Event<'_>) -> Result<(), DumpErrorKind> {
        self.encoder
            .encode(event, &mut self.pending)
            .map_err(DumpErrorKind::Archive)
    }

    fn enter(&mut self, node: Node) -> Result<(), DumpErrorKind> {
        match node {
            Node::File(file) => self.file = Some(file),
            Node::Directory(descriptor) => self.directories.open(descriptor)?,
            Node::Symlink => {}
        }
        Ok(())
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.fill(buffer)?)
    }
}

/// Writes the archive of whatever stands at `path` to `sink`, and returns its size in bytes.
///
/// # Errors
/// As for [`Dump::fill`], and [`DumpErrorKind::Sink`].
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// let size = nar::dump(directory.path(), &mut std::io::sink())?;
/// assert_eq!(size, 96);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dump(path: impl AsRef<Path>, sink: &mut impl Write) -> Result<u64, DumpError> {
    dump_with(path, sink, DumpOptions::default())
}

/// [`dump`] with options.
///
/// # Errors
/// As for [`dump`].
pub fn dump_with(
    path: impl AsRef<Path>,
    sink: &mut impl Write,
    options: DumpOptions,
) -> Result<u64, DumpError> {
    let path = path.as_ref();
    let mut dump = Dump::with(path, options)?;
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let length = dump.fill(&mut buffer)?;
        if length == 0 {
            return Ok(size);
        }
        sink.write_all(&buffer[..length])
            .map_err(|error| DumpError::sink(path, error))?;
        size += length as u64;
    }
}

/// `path` without the slashes that would have the system follow a link at its end; `/` itself stays.
fn without_slashes_behind(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte != b'/') {
        Some(last) => &path[..=last],
        None => &path[..path.len().min(1)],
    }
}

/// A node whose first bytes were written.
enum Node {
    File(File),
    Directory(OwnedFd),
    Symlink,
}

/// Opens what stands at `name` and writes its first bytes.
fn open_node(
    parent: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    encoder: &mut Encoder,
    pending: &mut Vec<u8>,
) -> Result<Node, DumpErrorKind> {
    let kind = match kind {
        // Not every file system says in the directory what an entry is.
        FileType::Unknown => {
            let stat =
                retry_on_intr(|| rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
                    .map_err(|errno| DumpErrorKind::system("examine", errno))?;
            FileType::from_raw_mode(stat.st_mode)
        }
        kind => kind,
    };
    let mut encode = |event| {
        let encoded = encoder.encode(event, pending);
        encoded.map_err(DumpErrorKind::Archive)
    };
    match kind {
        FileType::RegularFile => {
            let (file, executable) = File::open(parent, name)?;
            let size = file.size();
            encode(Event::File { executable, size })?;
            Ok(Node::File(file))
        }
        FileType::Directory => {
            let flags = OPEN | OFlags::DIRECTORY;
            let descriptor =
                retry_on_intr(|| rustix::fs::openat(parent, name, flags, Mode::empty()))
                    .map_err(|errno| DumpErrorKind::system("open", errno))?;
            encode(Event::Directory)?;
            Ok(Node::Directory(descriptor))
        }
        FileType::Symlink => {
            let target = retry_on_intr(|| rustix::fs::readlinkat(parent, name, Vec::new()))
                .map_err(|errno| DumpErrorKind::system("read the link", errno))?;
            encode(Event::Symlink(target.to_bytes()))?;
            Ok(Node::Symlink)
        }
        kind => Err(DumpErrorKind::special(kind)),
    }
}
