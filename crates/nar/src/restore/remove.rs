//! Removing what a restore has created. Nothing here is recursive: how deep a tree is was for its
//! archive to say.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::LeftBehind;

/// How many directories inside each other are removed, unless the restore's own limit is higher.
/// What is deeper was put there by someone else.
const DEPTH: usize = 256;

/// How often a directory is listed while that helps: a file system may pass over entries when
/// others are removed meanwhile.
const PASSES: u32 = 8;

/// Bytes asked of the kernel at a time when a directory is read: a few hundred entries. One such
/// listing is held for each open directory.
const LISTING: usize = 8 * 1024;

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
/// Follows no symbolic link and leaves other file systems alone. Opens no more descriptors than the
/// restore of the same tree, which had at most `depth` directories open.
///
/// What something is of which it could not be found out, for the reason in `root`, nobody knows: a
/// directory that nothing is in is removed then, and anything else left behind.
pub(super) fn remove(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    root: Result<Identity, Errno>,
    depth: usize,
) -> Vec<LeftBehind> {
    let root = match root {
        Ok(root) => root,
        Err(unknown) => {
            return match unlink(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Vec::new(),
                Err(_) => vec![LeftBehind::new(path, Some(unknown.raw_os_error()))],
            };
        }
    };
    let mut removal = Removal::new(parent, path, root, depth);
    match look_at(parent, name) {
        Err(Errno::NOENT) => {}
        Err(errno) => removal.leave(Some(errno)),
        Ok(stat) if Identity::of(&stat) != root => removal.leave(None),
        Ok(stat) => removal.run(name.to_owned(), FileType::from_raw_mode(stat.st_mode)),
    }
    removal.left_behind
}

struct Removal<'a> {
    parent: BorrowedFd<'a>,
    root: Identity,
    depth: usize,
    /// The path of what is at hand.
    path: PathBuf,
    /// The directories that are being emptied, inside each other.
    open: Vec<Directory>,
    listing: Vec<MaybeUninit<u8>>,
    left_behind: Vec<LeftBehind>,
}

struct Directory {
    name: CString,
    descriptor: OwnedFd,
    /// Listed and not removed yet.
    entries: vec::IntoIter<(CString, FileType)>,
    /// How often it was listed to its end before.
    passes: u32,
    /// Whether anything in it was removed since it was listed from its beginning.
    has_shrunk: bool,
    /// How much was left behind before that.
    left_before: usize,
}

impl<'a> Removal<'a> {
    fn new(parent: BorrowedFd<'a>, path: &Path, root: Identity, depth: usize) -> Self {
        Self {
            parent,
            root,
            depth: depth.max(DEPTH),
            path: path.to_owned(),
            open: Vec::new(),
            listing: vec![MaybeUninit::uninit(); LISTING],
            left_behind: Vec::new(),
        }
    }

    /// Removes the root, which has this name and is of this kind.
    fn run(&mut self, name: CString, kind: FileType) {
        self.begin(name, kind);
        while let Some(directory) = self.open.last_mut() {
            if let Some((name, kind)) = directory.entries.next() {
                self.path.push(OsStr::from_bytes(name.to_bytes()));
                self.begin(name, kind);
                continue;
            }
            match list(&directory.descriptor, &mut self.listing) {
                Ok(entries) if !entries.is_empty() => directory.entries = entries.into_iter(),
                listed => self.close(listed.err()),
            }
        }
    }

    /// The directory that holds what is at hand.
    fn holder(&self) -> BorrowedFd<'_> {
        self.open
            .last()
            .map_or(self.parent, |directory| directory.descriptor.as_fd())
    }

    /// Removes something, or opens it if it is a directory.
    fn begin(&mut self, name: CString, kind: FileType) {
        let removed = match self.is_directory(&name, kind) {
            Ok(false) => unlink(self.holder(), &name, AtFlags::empty()),
            Ok(true) => match self.enter(&name) {
                Ok(Some(descriptor)) => {
                    self.open.push(Directory {
                        name,
                        descriptor,
                        entries: Vec::new().into_iter(),
                        passes: 0,
                        has_shrunk: false,
                        left_before: self.left_behind.len(),
                    });
                    return;
                }
                Ok(None) => return self.leave(None),
                // An empty one need not be opened.
                Err(errno) => unlink(self.holder(), &name, AtFlags::REMOVEDIR).map_err(|_| errno),
            },
            Err(errno) => Err(errno),
        };
        self.end(removed);
    }

    /// Not every file system says in the directory what an entry is.
    fn is_directory(&self, name: &CStr, kind: FileType) -> Result<bool, Errno> {
        if kind != FileType::Unknown {
            return Ok(kind == FileType::Directory);
        }
        let stat = look_at(self.holder(), name)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Opens a directory and makes it writable, or returns `None` if it should be the root and is
    /// not: only what is open cannot be swapped any more for something else.
    fn enter(&self, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
        if self.open.len() >= self.depth {
            return Err(Errno::LOOP);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(self.holder(), name, flags, Mode::empty());
        let directory = retry_on_intr(open)?;
        let identity = Identity::of(&retry_on_intr(|| rustix::fs::fstat(&directory))?);
        if self.open.is_empty() && identity != self.root {
            return Ok(None);
        }
        if identity.device != self.root.device {
            return Err(Errno::XDEV);
        }
        // A completed directory of a store is not writable.
        retry_on_intr(|| rustix::fs::fchmod(&directory, Mode::RWXU))?;
        Ok(Some(directory))
    }

    /// Removes the innermost directory, which was gone through, as far as it could be listed.
    fn close(&mut self, failed: Option<Errno>) {
        let Some(mut directory) = self.open.pop() else {
            return;
        };
        let removed = unlink(self.holder(), &directory.name, AtFlags::REMOVEDIR);
        let is_left = removed == Err(Errno::NOTEMPTY);
        let may_help = failed.is_none() && directory.has_shrunk && directory.passes < PASSES;
        if is_left && may_help && directory.rewind().is_ok() {
            self.left_behind.truncate(directory.left_before);
            self.open.push(directory);
            return;
        }
        let is_explained = self.left_behind.len() > directory.left_before;
        match failed {
            Some(errno) => self.end(removed.map_err(|_| errno)),
            // What is left inside was named already.
            None if is_left && is_explained => drop(self.path.pop()),
            None => self.end(removed),
        }
    }

    /// What was at hand was removed, or was not.
    fn end(&mut self, removed: Result<(), Errno>) {
        match removed {
            Err(errno) if errno != Errno::NOENT => self.leave(Some(errno)),
            _ => {
                if let Some(holder) = self.open.last_mut() {
                    holder.has_shrunk = true;
                }
                self.path.pop();
            }
        }
    }

    /// What was at hand stays.
    fn leave(&mut self, errno: Option<Errno>) {
        let left = LeftBehind::new(&self.path, errno.map(Errno::raw_os_error));
        self.left_behind.push(left);
        self.path.pop();
    }
}

impl Directory {
    /// Goes back to its beginning.
    fn rewind(&mut self) -> Result<(), Errno> {
        rustix::fs::seek(&self.descriptor, SeekFrom::Start(0))?;
        self.passes += 1;
        self.has_shrunk = false;
        Ok(())
    }
}

fn unlink(holder: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::unlinkat(holder, name, flags))
}

fn look_at(holder: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    retry_on_intr(|| rustix::fs::statat(holder, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// The next entries of a directory: none behind the last.
fn list(
    directory: &OwnedFd,
    buffer: &mut [MaybeUninit<u8>],
) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut entries = Vec::new();
    let mut listing = RawDir::new(directory, buffer);
    while let Some(entry) = listing.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
        if listing.is_buffer_empty() && !entries.is_empty() {
            break;
        }
    }
    Ok(entries)
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
        let remove = || remove(parent.as_fd(), c"root", &path, Err(Errno::IO), 64);
        assert_eq!(remove(), []);
        fs::create_dir(&path).unwrap();
        assert_eq!(remove(), []);
        assert!(!path.exists());
        let left = LeftBehind::new(&path, Some(Errno::IO.raw_os_error()));
        fs::write(&path, "whose?").unwrap();
        assert_eq!(remove(), std::slice::from_ref(&left));
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

        let mut removal = Removal::new(parent.as_fd(), &path, root, 64);
        removal.run(c"root".to_owned(), FileType::Directory);
        assert_eq!(removal.left_behind, [LeftBehind::new(&path, None)]);
        assert!(path.join("theirs").exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), 0o040_750);
    }
}
