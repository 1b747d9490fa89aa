//! Files that processes lock, and nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a lock file for this user alone, as stock does: whoever can read a file can lock it, and so keep
/// all builds from the machines.
///
/// # Errors
/// As [`File::open`], without the path.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_can_read_it_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mode = open(&path)
            .unwrap()
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "7").unwrap();
        open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"7");
    }
}
