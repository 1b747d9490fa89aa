//! Trees, links and what became of them.

use std::os::unix::fs::symlink;

use super::*;

/// A store with one path, `tree`, of two equal files, one with the executable bit, an empty one, and two equal links.
fn store() -> tempfile::TempDir {
    let store = tempfile::tempdir().unwrap();
    let tree = store.path().join("tree");
    std::fs::create_dir_all(tree.join("deep")).unwrap();
    for (name, mode) in [("a", 0o444), ("deep/b", 0o444), ("program", 0o555)] {
        write(&tree.join(name), b"equal", mode);
    }
    write(&tree.join("empty"), b"", 0o444);
    for name in ["link", "deep/link"] {
        symlink("target", tree.join(name)).unwrap();
    }
    for directory in ["deep", "."] {
        make_canonical(&tree.join(directory)).unwrap();
    }
    store
}

fn write(path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Shares `name`; what was told, without the store's name.
fn share(store: &Path, name: &str) -> String {
    let mut told = String::new();
    let mut tell = |level: Level, message: String| {
        let message = message.replace(&store.display().to_string(), "STORE");
        told += &format!("{level:?}: {message}\n");
    };
    let mut links = Links::open(store).unwrap();
    links.share(&store.join(name), &mut tell).unwrap();
    told
}

fn inode(store: &Path, name: &str) -> u64 {
    metadata(&store.join(name)).unwrap().ino()
}

#[test]
fn equal_files_and_links_become_one_and_directories_stay_canonical() {
    let folder = store();
    let store = folder.path();
    assert_eq!(share(store, "tree"), "");
    assert_eq!(inode(store, "tree/a"), inode(store, "tree/deep/b"));
    assert_eq!(inode(store, "tree/link"), inode(store, "tree/deep/link"));
    assert_ne!(inode(store, "tree/a"), inode(store, "tree/program"));
    let links = store.join(".links").read_dir().unwrap();
    assert_eq!(links.count(), 4, "a file, a program, nothing, a link");
    // Of the archive of a file with nothing in it, as nix 2.8.0 names it.
    let empty = ".links/0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p";
    assert_eq!(inode(store, empty), inode(store, "tree/empty"));
    for directory in ["tree", "tree/deep"] {
        let found = metadata(&store.join(directory)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.mtime()), (0o555, 1));
    }
    let left = store.read_dir().unwrap().count();
    assert_eq!(left, 2, "the tree, the links, and nothing temporary");
}

#[test]
fn a_file_at_the_top_is_shared_and_the_store_left_alone() {
    let folder = store();
    let store = folder.path();
    share(store, "tree");
    write(&store.join("file"), b"equal", 0o444);
    let before = metadata(store).unwrap().mode();
    assert_eq!(share(store, "file"), "");
    assert_eq!(inode(store, "file"), inode(store, "tree/a"));
    assert_eq!(metadata(store).unwrap().mode(), before);
    // Again, there is nothing to be done.
    assert_eq!(share(store, "file"), "");
}

/// More links than ext4 gives a file, which are 65,000.
const MANY: u32 = 66_000;

/// Makes links to `file` until the file system takes no more.
fn exhaust(file: &Path, folder: &Path) -> Result<(), String> {
    std::fs::create_dir(folder).unwrap();
    let full = (0..MANY).find_map(|n| {
        let made = std::fs::hard_link(file, folder.join(n.to_string()));
        made.err().map(|error| error.kind())
    });
    match full {
        Some(kind) => {
            assert_eq!(kind, ErrorKind::TooManyLinks);
            Ok(())
        }
        None => Err(format!("the file system gives a file {MANY} links")),
    }
}

#[test]
fn a_file_with_as_many_links_as_there_can_be_stays_as_it_is() {
    let folder = store();
    let store = folder.path();
    share(store, "tree");
    testbed::require!(known exhaust(&store.join("tree/a"), &store.join("links")));
    std::fs::create_dir(store.join("other")).unwrap();
    write(&store.join("other/file"), b"equal", 0o444);
    make_canonical(&store.join("other")).unwrap();
    let told = share(store, "other");
    assert!(
        told.starts_with("Info: 'STORE/.links/") && told.ends_with("has maximum number of links\n"),
        "{told}"
    );
    assert_ne!(inode(store, "other/file"), inode(store, "tree/a"));
    let left = store.read_dir().unwrap().count();
    assert_eq!(
        left, 4,
        "two paths, both folders of links, and nothing temporary"
    );
}

#[test]
fn what_the_file_system_refuses_is_named() {
    let folder = store();
    let missing = folder.path().join("missing");
    let errors = [
        Links::open(&missing).map(drop).unwrap_err(),
        Links::open(folder.path())
            .and_then(|mut links| links.share(&missing, &mut |_, _| {}))
            .unwrap_err(),
    ];
    let folder = folder.path().display().to_string();
    let errors = errors.map(|error| error.to_string().replace(&folder, "STORE"));
    insta::assert_snapshot!(errors.join("\n"), @"
    failed to make STORE/missing/.links: No such file or directory (os error 2)
    failed to look at STORE/missing: No such file or directory (os error 2)
    ");
}

#[test]
fn what_looks_wrong_is_told_and_not_shared() {
    let folder = store();
    let store = folder.path();
    share(store, "tree");
    let entry = store
        .join(".links")
        .join("0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p");
    std::fs::remove_file(&entry).unwrap();
    write(&entry, b"no longer empty", 0o444);
    write(&store.join("empty"), b"", 0o444);
    write(&store.join("writable"), b"equal", 0o644);
    insta::assert_snapshot!(share(store, "empty") + &share(store, "writable"), @"
    Warning: removing corrupted link 'STORE/.links/0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p'; there may be more corrupted paths: `nix-store --verify --check-contents --repair` fixes them
    Warning: skipping suspicious writable file 'STORE/writable'
    ");
    assert_eq!(metadata(&entry).unwrap().ino(), inode(store, "empty"));
    assert_ne!(inode(store, "writable"), inode(store, "tree/a"));
}
