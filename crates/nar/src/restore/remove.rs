use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::LeftBehind;

/// How many directories inside each other are removed. A restore makes at most as many as its
/// limit says; what is deeper was put there by someone else.
const DEPTH: usize = 256;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Removes `name` and everything in it, if it is still `root`; returns what could not be removed.
/// Follows no symbolic link and leaves other file systems alone.
///
/// What something is of which it could not be found out, for the reason in `root`, nobody knows: a
/// directory that nothing is in is removed then, and anything else left behind.
pub(super) fn remove(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    root: Result<Identity, Errno>,
) -> Vec<LeftBehind> {
    let mut removal = Removal {
        left_behind: Vec::new(),
        device: root.map_or(0, |root| root.device),
    };
    let root = match root {
        Ok(root) => root,
        Err(unknown) => {
            match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => removal.leave(path.to_owned(), Some(unknown)),
            }
            return removal.left_behind;
        }
    };
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(errno) => removal.leave(path.to_owned(), Some(errno)),
        Ok(stat) if Identity::of(&stat) != root => removal.leave(path.to_owned(), None),
        Ok(stat) => {
            removal.remove(parent, name, path, FileType::from_raw_mode(stat.st_mode), 0);
        }
    }
    removal.left_behind
}

struct Removal {
    left_behind: Vec<LeftBehind>,
    device: u64,
}

impl Removal {
    fn leave(&mut self, path: PathBuf, errno: Option<Errno>) {
        self.left_behind.push(LeftBehind {
            path,
            errno: errno.map(Errno::raw_os_error),
        });
    }

    fn remove(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        kind: FileType,
        depth: usize,
    ) {
        let before = self.left_behind.len();
        let flags = if kind == FileType::Directory {
            if let Err(errno) = self.empty(parent, name, path, depth) {
                return self.leave(path.to_owned(), Some(errno));
            }
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(parent, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            // What is left inside was named already.
            Err(Errno::NOTEMPTY) if self.left_behind.len() > before => {}
            Err(errno) => self.leave(path.to_owned(), Some(errno)),
        }
    }

    /// Removes everything in the directory.
    fn empty(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth == DEPTH {
            return Err(Errno::LOOP);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        if rustix::fs::fstat(&directory)?.st_dev != self.device {
            return Err(Errno::XDEV);
        }
        // A completed directory of a store is not writable.
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
        // Listed first and removed then: removing while listing may skip entries.
        let mut entries: Vec<(CString, FileType)> = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                entries.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        for (name, kind) in entries {
            let kind = match kind {
                FileType::Unknown => FileType::from_raw_mode(
                    rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode,
                ),
                kind => kind,
            };
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            self.remove(directory.as_fd(), &name, &path, kind, depth + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_not_known_is_removed_if_empty_and_reported_otherwise() {
        let place = tempfile::tempdir().unwrap();
        let parent = fs::File::open(place.path()).unwrap();
        let path = place.path().join("root");
        let remove = || remove(parent.as_fd(), c"root", &path, Err(Errno::IO));
        assert_eq!(remove(), []);
        fs::create_dir(&path).unwrap();
        assert_eq!(remove(), []);
        assert!(!path.exists());
        let left = LeftBehind {
            path: path.clone(),
            errno: Some(Errno::IO.raw_os_error()),
        };
        fs::write(&path, "whose?").unwrap();
        assert_eq!(remove(), [left.clone()]);
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("whose?")).unwrap();
        assert_eq!(remove(), [left]);
        assert!(path.join("whose?").is_dir());
    }
}
