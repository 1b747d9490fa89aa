//! Removing what an earlier attempt left.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a tree, if there is one, whose directories may be read-only as they are in a store.
/// Never follows a symlink, not even one that takes a directory's place meanwhile.
///
/// # Errors
/// When something in it cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !metadata.is_dir() {
        return std::fs::remove_file(path);
    }
    match std::fs::remove_dir_all(path) {
        // Read-only directories are no obstacle to root, so that whoever gets here changes nobody
        // else's modes, whatever takes a directory's place meanwhile.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn make_writable(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_directories_go_and_what_links_lead_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "").unwrap();
        std::fs::write(tree.join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        for directory in ["a/b", "a"] {
            std::fs::set_permissions(tree.join(directory), Permissions::from_mode(0o555)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(tree.symlink_metadata().is_err());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }
}
