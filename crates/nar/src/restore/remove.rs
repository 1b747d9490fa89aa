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
    let root = match root {
        Ok(root) => root,
        Err(unknown) => {
            return match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Vec::new(),
                Err(_) => vec![LeftBehind::new(path.to_owned(), Some(unknown))],
            };
        }
    };
    let mut removal = Removal {
        left_behind: Vec::new(),
        root,
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
    root: Identity,
}

impl Removal {
    fn leave(&mut self, path: PathBuf, errno: Option<Errno>) {
        self.left_behind.push(LeftBehind::new(path, errno));
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
            match self.empty(parent, name, path, depth) {
                Ok(true) => {}
                Ok(false) => return self.leave(path.to_owned(), None),
                Err(errno) => return self.leave(path.to_owned(), Some(errno)),
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

    /// Removes everything in the directory. Does nothing and returns false if it should be the root
    /// and is not: only what is open cannot be swapped any more for something else.
    fn empty(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> Result<bool, Errno> {
        if depth == DEPTH {
            return Err(Errno::LOOP);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let identity = Identity::of(&rustix::fs::fstat(&directory)?);
        if depth == 0 && identity != self.root {
            return Ok(false);
        }
        if identity.device != self.root.device {
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
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
        let left = LeftBehind::new(path.clone(), Some(Errno::IO));
        fs::write(&path, "whose?").unwrap();
        assert_eq!(remove(), [left.clone()]);
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("whose?")).unwrap();
        assert_eq!(remove(), [left]);
        assert!(path.join("whose?").is_dir());
    }

    #[test]
    fn what_takes_the_roots_place_right_after_it_was_looked_at_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let parent = fs::File::open(place.path()).unwrap();
        let path = place.path().join("root");
        fs::create_dir(&path).unwrap();
        let root = Identity::of(&rustix::fs::stat(&path).unwrap());
        fs::rename(&path, place.path().join("moved")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("theirs"), "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();

        let mut removal = Removal {
            left_behind: Vec::new(),
            root,
        };
        removal.remove(parent.as_fd(), c"root", &path, FileType::Directory, 0);
        assert_eq!(removal.left_behind, [LeftBehind::new(path.clone(), None)]);
        assert!(path.join("theirs").exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), 0o040_750);
    }
}
