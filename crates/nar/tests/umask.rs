//! The umask is the whole process's, so this test has one of its own.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nar::testing::Tree;
use nar::{RestoreOptions, restore_with};
use rustix::fs::Mode;

#[test]
fn a_stores_modes_do_not_depend_on_the_umask() {
    let file = |executable| Tree::File {
        executable,
        contents: b"x".to_vec(),
    };
    let names = ["a", "b", "c", "d"];
    let entries = names.map(|name| (name.into(), file(name > "b")));
    let archive = Tree::Directory(entries.into()).encode().unwrap();
    for umask in [0, 0o022, 0o027, 0o077, 0o777] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root");
        let before = rustix::process::umask(Mode::from_raw_mode(umask));
        let options = RestoreOptions::default().canonical(true);
        let result = restore_with(&mut &*archive, &path, options);
        rustix::process::umask(before);
        // A directory that its owner may not enter cannot be restored to, unless by root.
        if umask == 0o777 && !rustix::process::geteuid().is_root() {
            assert!(result.is_err());
            continue;
        }
        result.unwrap();
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(mode(""), 0o555, "umask {umask:o}");
        assert_eq!(
            names.map(mode),
            [0o444, 0o444, 0o555, 0o555],
            "umask {umask:o}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
