use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};

use super::remove::{self, Identity};
use super::{Durability, RestoreError, RestoreErrorKind, RestoreOptions, attributes};
use crate::{Event, case_hack};

/// Files are created, never opened.
const CREATE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Directories are opened right after they are created; a link in their place is an error.
const ENTER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The time of everything in a store.
const STORE_TIME: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    },
    last_modification: Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    },
};

/// The part of a file-system tree that was created so far.
#[derive(Debug)]
pub(super) struct Tree {
    parent: OwnedFd,
    name: CString,
    /// The root's path or name, for messages.
    path: PathBuf,
    options: RestoreOptions,
    state: State,
    /// The directories that are open inside each other.
    directories: Vec<Directory>,
    /// The path of the node at hand from the root, each name behind a `/`, and a NUL; empty for
    /// the root itself.
    relative: Vec<u8>,
    file: Option<File>,
    /// Whether files come out with the mode asked for, plain and executable ones, where that is
    /// known. They do not if the umask takes something away.
    has_exact_mode: [Option<bool>; 2],
}

#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    /// The length of its own path in `relative`.
    path: usize,
    /// What was created in it, if names that differ in case only are to be kept apart.
    names: case_hack::Names,
}

#[derive(Debug)]
struct File {
    descriptor: OwnedFd,
    executable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was created yet.
    Empty,
    /// The root was created and is this; or why it is not known what it is.
    Begun(Result<Identity, Errno>),
    /// All is there and is to stay.
    Completed,
    /// Whatever was there was removed.
    Abandoned,
}

impl Tree {
    pub(super) fn new(
        parent: OwnedFd,
        name: CString,
        path: PathBuf,
        options: RestoreOptions,
    ) -> Self {
        Self {
            parent,
            name,
            path,
            options,
            state: State::Empty,
            directories: Vec::new(),
            relative: Vec::new(),
            file: None,
            has_exact_mode: [None; 2],
        }
    }

    /// Whether it failed before.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state == State::Abandoned
    }

    /// Creates what the event says, or goes on with it.
    #[inline]
    pub(super) fn apply(&mut self, event: &Event<'_>) -> Result<(), RestoreErrorKind> {
        match *event {
            Event::Entry(name) => self.enter_name(name),
            Event::File { executable, .. } => self.create_file(executable),
            Event::Data(data) => self.write(data),
            Event::FileEnd => self.end_file(),
            Event::Symlink(target) => self.create_symlink(target),
            Event::Directory => self.create_directory(),
            Event::DirectoryEnd => self.end_directory(),
        }
    }

    fn enter_name(&mut self, name: &[u8]) -> Result<(), RestoreErrorKind> {
        let Some(directory) = self.directories.last_mut() else {
            return Err(RestoreErrorKind::Abandoned);
        };
        self.relative.truncate(directory.path);
        self.relative.push(b'/');
        self.relative.extend_from_slice(name);
        if self.options.case_hack {
            let suffix = directory
                .names
                .suffix(name)
                .ok_or(RestoreErrorKind::CaseHack)?;
            self.relative.extend_from_slice(&suffix);
        }
        self.relative.push(0);
        Ok(())
    }

    /// The directory and the name in it where the next node is to be created.
    fn place(&self) -> (BorrowedFd<'_>, &CStr) {
        let Some(directory) = self.directories.last() else {
            return (self.parent.as_fd(), &self.name);
        };
        let name = CStr::from_bytes_with_nul(&self.relative[directory.path + 1..])
            .expect("names have no NUL, and one was put behind them");
        (directory.descriptor.as_fd(), name)
    }

    fn create_file(&mut self, executable: bool) -> Result<(), RestoreErrorKind> {
        let mode = match (self.options.canonical, executable) {
            (true, false) => 0o444,
            (true, true) => 0o555,
            (false, false) => 0o666,
            (false, true) => 0o777,
        };
        let (parent, name) = self.place();
        let mode = Mode::from_raw_mode(mode);
        let descriptor = retry_on_intr(|| rustix::fs::openat(parent, name, CREATE, mode))
            .map_err(|errno| RestoreErrorKind::system("create", errno))?;
        if self.is_empty() {
            self.begin(retry_on_intr(|| rustix::fs::fstat(&descriptor)))?;
            self.begin_bare(&descriptor)?;
        }
        self.file = Some(File {
            descriptor,
            executable,
        });
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), RestoreErrorKind> {
        let Some(file) = &self.file else {
            return Err(RestoreErrorKind::Abandoned);
        };
        while !data.is_empty() {
            match rustix::io::write(&file.descriptor, data) {
                Ok(0) => return Err(RestoreErrorKind::system("write", Errno::NOSPC)),
                Ok(length) => data = &data[length..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(RestoreErrorKind::system("write", errno)),
            }
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), RestoreErrorKind> {
        let Some(file) = self.file.take() else {
            return Err(RestoreErrorKind::Abandoned);
        };
        if self.options.canonical {
            self.settle_mode(&file)
                .map_err(|errno| RestoreErrorKind::system("set the mode of", errno))?;
            set_time(&file.descriptor)?;
        }
        self.flush(&file.descriptor)?;
        close(file.descriptor).map_err(|errno| RestoreErrorKind::system("close", errno))
    }

    /// Gives a file exactly the mode of a store, which creating it did unless something takes
    /// bits away; whether something does is looked up once for the whole tree.
    fn settle_mode(&mut self, file: &File) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(if file.executable { 0o555 } else { 0o444 });
        let known = &mut self.has_exact_mode[usize::from(file.executable)];
        let is_exact = match *known {
            Some(is_exact) => is_exact,
            None => {
                let stat = retry_on_intr(|| rustix::fs::fstat(&file.descriptor))?;
                Mode::from_raw_mode(stat.st_mode) == mode
            }
        };
        *known = Some(is_exact);
        if is_exact {
            Ok(())
        } else {
            retry_on_intr(|| rustix::fs::fchmod(&file.descriptor, mode))
        }
    }

    fn create_symlink(&mut self, target: &[u8]) -> Result<(), RestoreErrorKind> {
        let (parent, name) = self.place();
        retry_on_intr(|| rustix::fs::symlinkat(target, parent, name))
            .map_err(|errno| RestoreErrorKind::system("create", errno))?;
        if self.is_empty() {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            self.begin(retry_on_intr(|| rustix::fs::statat(parent, name, flags)))?;
        }
        if self.options.canonical {
            let (parent, name) = self.place();
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            retry_on_intr(|| rustix::fs::utimensat(parent, name, &STORE_TIME, flags))
                .map_err(|errno| RestoreErrorKind::system("set the time of", errno))?;
        }
        Ok(())
    }

    fn create_directory(&mut self) -> Result<(), RestoreErrorKind> {
        // A store's directory is nobody else's before it is complete.
        let mode = Mode::from_raw_mode(if self.options.canonical { 0o700 } else { 0o777 });
        let (parent, name) = self.place();
        retry_on_intr(|| rustix::fs::mkdirat(parent, name, mode))
            .map_err(|errno| RestoreErrorKind::system("create", errno))?;
        let opened = retry_on_intr(|| rustix::fs::openat(parent, name, ENTER, Mode::empty()));
        let is_root = self.is_empty();
        if let (true, Err(errno)) = (is_root, &opened) {
            self.state = State::Begun(Err(*errno));
        }
        let descriptor = opened.map_err(|errno| RestoreErrorKind::system("open", errno))?;
        if is_root {
            self.begin(retry_on_intr(|| rustix::fs::fstat(&descriptor)))?;
            self.begin_bare(&descriptor)?;
        }
        let path = self.relative.len().saturating_sub(1);
        self.directories.push(Directory {
            descriptor,
            path,
            names: case_hack::Names::default(),
        });
        Ok(())
    }

    fn end_directory(&mut self) -> Result<(), RestoreErrorKind> {
        let Some(directory) = self.directories.pop() else {
            return Err(RestoreErrorKind::Abandoned);
        };
        self.relative.truncate(directory.path);
        if self.options.canonical {
            let mode = Mode::from_raw_mode(0o555);
            retry_on_intr(|| rustix::fs::fchmod(&directory.descriptor, mode))
                .map_err(|errno| RestoreErrorKind::system("set the mode of", errno))?;
            set_time(&directory.descriptor)?;
        }
        self.flush(&directory.descriptor)
    }

    /// Whether nothing was created yet.
    fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Remembers that the root was created, and what it is if that could be found out.
    fn begin(&mut self, root: Result<Stat, Errno>) -> Result<(), RestoreErrorKind> {
        let root = root.map(|root| Identity::of(&root));
        self.state = State::Begun(root);
        root.map(drop)
            .map_err(|errno| RestoreErrorKind::system("examine", errno))
    }

    /// Takes off the root of a store's tree what it inherited: all else then inherits nothing.
    fn begin_bare(&self, root: &OwnedFd) -> Result<(), RestoreErrorKind> {
        if !self.options.canonical {
            return Ok(());
        }
        attributes::remove_inherited(root.as_fd())
            .map_err(|errno| RestoreErrorKind::system("remove the attributes of", errno))
    }

    fn flush(&self, descriptor: &OwnedFd) -> Result<(), RestoreErrorKind> {
        if self.options.durability != Durability::Power {
            return Ok(());
        }
        retry_on_intr(|| rustix::fs::fsync(descriptor))
            .map_err(|errno| RestoreErrorKind::system("flush", errno))
    }

    /// Everything was created: flushes what is flushed at the end.
    pub(super) fn flush_all(&self) -> Result<(), RestoreErrorKind> {
        match self.options.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.flush(&self.parent),
            Durability::PowerAtEnd => retry_on_intr(|| rustix::fs::syncfs(&self.parent))
                .map_err(|errno| RestoreErrorKind::system("flush the file system of", errno)),
        }
    }

    /// What was created is to stay.
    pub(super) fn keep(&mut self) {
        self.state = State::Completed;
    }

    /// Removes what was created and makes the error that says so.
    pub(super) fn fail(&mut self, kind: RestoreErrorKind) -> RestoreError {
        let relative = self.relative.strip_suffix(b"\0").unwrap_or(&self.relative);
        let mut path = self.path.clone().into_os_string();
        path.push(OsStr::from_bytes(relative));
        RestoreError {
            path: path.into(),
            kind,
            left_behind: self.abandon(),
        }
    }

    fn abandon(&mut self) -> Vec<super::LeftBehind> {
        self.file = None;
        self.directories.clear();
        match std::mem::replace(&mut self.state, State::Abandoned) {
            State::Begun(root) => {
                let depth = self.options.limits.depth;
                remove::remove(self.parent.as_fd(), &self.name, &self.path, root, depth)
            }
            State::Empty | State::Completed | State::Abandoned => Vec::new(),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.state != State::Completed {
            // Nobody is left to be told what could not be removed.
            self.abandon();
        }
    }
}

fn set_time(descriptor: &OwnedFd) -> Result<(), RestoreErrorKind> {
    retry_on_intr(|| rustix::fs::futimens(descriptor, &STORE_TIME))
        .map_err(|errno| RestoreErrorKind::system("set the time of", errno))
}

/// Closes a file and says what that came to: network file systems, quotas and FUSE may say only
/// now that data is lost. When a signal interrupts it, Linux has closed the file all the same.
fn close(descriptor: OwnedFd) -> Result<(), Errno> {
    match nix::unistd::close(descriptor) {
        Ok(()) | Err(nix::Error::EINTR) => Ok(()),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}
