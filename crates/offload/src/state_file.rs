//! Files and directories in a daemon's state directory.
//!
//! A daemon may run as a user of its own, and its list's machines are tested by root: what root makes there must
//! not be in the daemon's way. So whatever is made belongs to whom the directory around it belongs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Makes the directory at `path`, and those around it, where they are missing.
///
/// # Errors
/// What the file system says, without the path.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = around(path);
    create_directory(parent)?;
    match std::fs::create_dir(path) {
        Ok(()) => {}
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    let options = options.read(true);
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let made = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    hand_over(&made, parent)
}

/// Opens a lock file for this user alone, as stock does: whoever can read a file can lock it, and so keep
/// all builds from the machines.
///
/// # Errors
/// What the file system says, without the path.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    hand_over(&file, around(path))?;
    Ok(file)
}

fn around(path: &Path) -> &Path {
    let parent = path.parent().unwrap_or(path);
    match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    }
}

/// Gives what root has made to the owner of the directory that it is in. Whatever else root owns has another name,
/// or is another directory's: it cannot have come here by anyone but root.
pub(crate) fn hand_over(made: &File, directory: &Path) -> io::Result<()> {
    let (made_by, around) = (made.metadata()?, directory.metadata()?);
    let is_ours = made_by.uid() == 0 && (made_by.is_dir() || made_by.nlink() == 1);
    match is_ours && around.uid() != 0 {
        true => fchown(made, Some(around.uid()), Some(around.gid())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn nobody_else_can_read_a_lock_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mode = open_lock(&path).unwrap().metadata().unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        std::fs::write(&path, "7").unwrap();
        open_lock(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"7");
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        open_lock(&folder.path().join("link")).unwrap_err();
    }

    #[test]
    fn what_root_makes_is_the_daemons() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        // Only root can try it.
        if chown(&state, Some(900), Some(901)).is_err() {
            return;
        }
        let owner = |path: &Path| {
            let metadata = path.metadata().unwrap();
            (metadata.uid(), metadata.gid())
        };
        let directory = state.join("a/b");
        create_directory(&directory).unwrap();
        create_directory(&directory).unwrap();
        let lock = directory.join("lock");
        open_lock(&lock).unwrap();
        for path in [&state.join("a"), &directory, &lock] {
            assert_eq!(owner(path), (900, 901), "{}", path.display());
        }
        // A second name may be another directory's.
        let other = state.join("other");
        std::fs::write(&other, "").unwrap();
        std::fs::hard_link(&other, state.join("link")).unwrap();
        open_lock(&other).unwrap();
        assert_eq!(owner(&other), (0, 0));
    }
}
