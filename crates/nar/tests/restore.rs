//! What a restore makes, what it never touches, and what it leaves behind: nothing.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nar::testing::Tree;
use nar::{
    Durability, Encoder, Event, Kind, Limits, Restore, RestoreError, RestoreErrorKind,
    RestoreOptions, restore, restore_with,
};
use tempfile::{TempDir, tempdir};

fn file(executable: bool, contents: &str) -> Tree {
    Tree::File {
        executable,
        contents: contents.into(),
    }
}

fn directory<const N: usize>(entries: [(&str, Tree); N]) -> Tree {
    Tree::Directory(entries.map(|(name, tree)| (name.into(), tree)).into())
}

fn sample() -> Vec<u8> {
    let tree = directory([
        (
            "directory",
            directory([("deep", directory([("file", file(false, "deep"))]))]),
        ),
        ("empty", file(false, "")),
        ("link", Tree::Symlink(b"directory/deep".to_vec())),
        ("run", file(true, "#!/bin/sh")),
    ]);
    tree.encode().unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let place = tempdir().unwrap();
    let path = place.path().join("root");
    (place, path)
}

fn is_empty(place: &TempDir) -> bool {
    fs::read_dir(place.path()).unwrap().next().is_none()
}

#[test]
fn canonical_trees_have_the_modes_and_times_of_a_store() {
    for durability in [
        Durability::Process,
        Durability::Power,
        Durability::PowerAtEnd,
    ] {
        let (_place, path) = place();
        let options = RestoreOptions::default()
            .canonical(true)
            .durability(durability);
        restore_with(&mut &*sample(), &path, options).unwrap();
        let expected = [
            ("", 0o040_555),
            ("directory", 0o040_555),
            ("directory/deep", 0o040_555),
            ("directory/deep/file", 0o100_444),
            ("empty", 0o100_444),
            ("link", 0o120_777),
            ("run", 0o100_555),
        ];
        for (name, mode) in expected {
            let metadata = fs::symlink_metadata(path.join(name)).unwrap();
            assert_eq!(metadata.mode(), mode, "{name}");
            assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1, 0), "{name}");
        }
        make_removable(&path);
    }
}

/// `user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::rwx`, as the kernel keeps it: the version,
/// then for each entry a tag, permissions and whose they are.
fn access_list() -> Vec<u8> {
    let nobody = u32::MAX;
    let entries = [
        (1_u16, nobody),
        (2, 1000),
        (4, nobody),
        (16, nobody),
        (32, nobody),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, whose) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(7_u16.to_le_bytes());
        list.extend(whose.to_le_bytes());
    }
    list
}

fn attributes(path: &Path) -> Vec<u8> {
    let mut names = vec![0; 1000];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    names.truncate(length);
    names
}

#[test]
fn canonical_trees_inherit_no_access_list() {
    let (place, path) = place();
    let default = "system.posix_acl_default";
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(errno) = rustix::fs::setxattr(place.path(), default, &access_list(), flags) {
        let reason = Err(format!(
            "no access lists on {}: {errno}",
            place.path().display()
        ));
        testbed::runs_here("restores below a directory with an access list", reason);
        return;
    }
    restore(&mut &*sample(), &path).unwrap();
    let inherited = attributes(&path.join("directory/deep/file"));
    assert_eq!(
        inherited.escape_ascii().to_string(),
        r"system.posix_acl_access\x00"
    );
    fs::remove_dir_all(&path).unwrap();

    let options = RestoreOptions::default().canonical(true);
    restore_with(&mut &*sample(), &path, options.clone()).unwrap();
    for name in [
        "",
        "directory",
        "directory/deep",
        "directory/deep/file",
        "link",
        "run",
    ] {
        assert_eq!(attributes(&path.join(name)), b"", "{name}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&path.join("directory/deep/file")), 0o444);
    assert_eq!(mode(&path.join("run")), 0o555);
    make_removable(&path);
    fs::remove_dir_all(&path).unwrap();

    restore_with(&mut &*file(true, "x").encode().unwrap(), &path, options).unwrap();
    assert_eq!((attributes(&path), mode(&path)), (vec![], 0o555));
}

/// A temporary directory cannot be removed by everyone while those in it are not writable.
fn make_removable(path: &Path) {
    for directory in ["", "directory", "directory/deep"] {
        fs::set_permissions(path.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn what_stands_there_is_not_touched() {
    let (place, path) = place();
    fs::write(&path, "mine").unwrap();
    for tree in [
        file(false, "theirs"),
        directory([]),
        Tree::Symlink(b"x".to_vec()),
    ] {
        let error = restore(&mut &*tree.encode().unwrap(), &path).unwrap_err();
        assert!(
            matches!(
                error.kind,
                RestoreErrorKind::System {
                    operation: "create",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.path, path);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
    drop(place);
}

#[test]
fn a_link_in_the_roots_place_is_not_followed() {
    let (place, path) = place();
    let outside = tempdir().unwrap();
    for target in [outside.path().to_owned(), outside.path().join("new")] {
        symlink(&target, &path).unwrap();
        restore(&mut &*sample(), &path).unwrap_err();
        restore(&mut &*file(false, "x").encode().unwrap(), &path).unwrap_err();
        assert!(is_empty(&outside));
        assert_eq!(fs::read_link(&path).unwrap(), target);
        fs::remove_file(&path).unwrap();
    }
    drop(place);
}

/// Restores [`sample`] byte by byte, and before the byte `at` swaps `directory` for a link to
/// somewhere else. Nothing may appear there.
fn swap_at(at: usize, archive: &[u8]) -> bool {
    let (place, path) = place();
    let outside = tempdir().unwrap();
    fs::create_dir(outside.path().join("deep")).unwrap();
    let parent = File::open(place.path()).unwrap();
    let mut restore = Restore::new(&parent, OsStr::new("root"), RestoreOptions::default()).unwrap();
    let mut result = Ok(());
    let mut swapped = false;
    for (offset, byte) in archive.iter().enumerate() {
        let victim = path.join("directory");
        if offset == at && fs::symlink_metadata(&victim).is_ok() {
            fs::rename(&victim, path.join("moved")).unwrap();
            symlink(outside.path(), &victim).unwrap();
            swapped = true;
        }
        if let Err(error) = restore.write(&[*byte]) {
            result = Err(error);
            break;
        }
    }
    assert_eq!(
        fs::read_dir(outside.path().join("deep")).unwrap().count(),
        0,
        "swapped at {at}"
    );
    assert_eq!(
        fs::read_dir(outside.path()).unwrap().count(),
        1,
        "swapped at {at}"
    );
    if result.is_ok() && swapped {
        assert_eq!(
            fs::read_to_string(path.join("moved/deep/file")).unwrap(),
            "deep"
        );
    }
    // Removing follows the link no more than creating did.
    drop(restore);
    assert!(is_empty(&place), "swapped at {at}");
    assert!(outside.path().join("deep").is_dir(), "swapped at {at}");
    swapped
}

#[test]
fn a_directory_swapped_for_a_link_is_not_followed() {
    let archive = sample();
    let swaps = (0..archive.len())
        .step_by(8)
        .filter(|&at| swap_at(at, &archive))
        .count();
    assert!(swaps > 50, "only {swaps} times in the middle");
}

#[test]
fn whatever_was_begun_is_removed() {
    let archive = sample();
    for canonical in [false, true] {
        for end in (0..archive.len()).step_by(7) {
            let (place, path) = place();
            let options = RestoreOptions::default().canonical(canonical);
            let error = restore_with(&mut &archive[..end], &path, options.clone()).unwrap_err();
            let RestoreErrorKind::Archive(inner) = &error.kind else {
                panic!("{error}")
            };
            assert_eq!((inner.offset, &inner.kind), (end as u64, &Kind::Truncated));
            assert_eq!(error.left_behind, []);
            assert!(is_empty(&place), "ended at {end}");

            let mut dropped = Restore::to(&path, options).unwrap();
            dropped.write_all(&archive[..end]).unwrap();
            drop(dropped);
            assert!(is_empty(&place), "dropped at {end}");
        }
    }
}

#[test]
fn an_abandoned_restore_stays_abandoned() {
    let (place, path) = place();
    let mut restore = Restore::to(&path, RestoreOptions::default()).unwrap();
    let archive = sample();
    restore.write_all(&archive[..300]).unwrap();
    restore.write(&[0xff; 64]).unwrap_err();
    for input in [&archive[..], b""] {
        let error = restore.write(input).unwrap_err();
        assert!(matches!(error.kind, RestoreErrorKind::Abandoned), "{error}");
    }
    let error = restore.finish().unwrap_err();
    assert!(matches!(error.kind, RestoreErrorKind::Abandoned), "{error}");
    assert!(is_empty(&place));
}

#[test]
fn what_replaced_the_root_is_left_alone_and_reported() {
    let (_place, path) = place();
    let mut restore = Restore::to(&path, RestoreOptions::default()).unwrap();
    restore.write_all(&sample()[..300]).unwrap();
    fs::rename(&path, path.with_extension("stolen")).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("mine"), "mine").unwrap();
    let error = restore.finish().unwrap_err();
    let RestoreError { left_behind, .. } = error;
    assert_eq!(left_behind.len(), 1);
    assert_eq!((&left_behind[0].path, left_behind[0].errno), (&path, None));
    assert_eq!(fs::read(path.join("mine")).unwrap(), b"mine");
}

#[test]
fn what_cannot_be_removed_is_reported_and_all_else_is() {
    let (_place, path) = place();
    let mut restore = Restore::to(&path, RestoreOptions::default()).unwrap();
    restore.write_all(&sample()[..900]).unwrap();
    // Someone else puts more directories inside each other than a removal goes into.
    let deep = path.join("d/".repeat(300));
    fs::create_dir_all(&deep).unwrap();
    fs::write(path.join("beside"), "").unwrap();
    let error = restore.finish().unwrap_err();
    let [left] = &error.left_behind[..] else {
        panic!("{error}")
    };
    assert_eq!(left.path, path.join("d/".repeat(256)));
    assert_eq!(left.errno, Some(rustix::io::Errno::LOOP.raw_os_error()));
    assert!(deep.is_dir());
    assert_eq!(
        fs::read_dir(&path).unwrap().count(),
        1,
        "only the way there"
    );
}

/// Directories inside each other, as deep as nothing but a restore's own limit allows. The archive
/// ends in the innermost.
fn descent(depth: usize) -> (Vec<u8>, RestoreOptions) {
    let limits = Limits::NIX.with_depth(depth);
    let options = RestoreOptions::default().limits(limits);
    let mut encoder = Encoder::with_limits(limits);
    let mut archive = Vec::new();
    for level in 0..depth {
        if level > 0 {
            encoder.encode(Event::Entry(b"d"), &mut archive).unwrap();
        }
        encoder.encode(Event::Directory, &mut archive).unwrap();
    }
    (archive, options)
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    let (place, path) = place();
    let (archive, options) = descent(700);
    let error = restore_with(&mut &*archive, &path, options).unwrap_err();
    assert!(
        matches!(&error.kind, RestoreErrorKind::Archive(error) if error.kind == Kind::Truncated),
        "{error}"
    );
    assert_eq!(error.left_behind, []);
    assert!(is_empty(&place));
}

#[test]
fn a_directory_of_many_entries_is_removed() {
    let (place, path) = place();
    let entries = (0..5000).map(|name| (name.to_string().into_bytes(), file(false, "")));
    let archive = Tree::Directory(entries.collect()).encode().unwrap();
    let error = restore(&mut &archive[..archive.len() - 8], &path).unwrap_err();
    assert_eq!(error.left_behind, []);
    assert!(is_empty(&place));
}

#[test]
fn bytes_behind_the_archive_are_left_or_refused() {
    let (place, path) = place();
    let mut archive = sample();
    let length = archive.len();
    archive.extend(b"more");
    let mut open = Restore::to(&path, RestoreOptions::default()).unwrap();
    let written = open.write(&archive).unwrap();
    assert_eq!((written.consumed, written.finished), (length, true));
    assert_eq!(open.write(b"and more").unwrap().consumed, 0);
    open.finish().unwrap();
    fs::remove_dir_all(&path).unwrap();

    let error = restore(&mut &*archive, &path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "restore `{}`: bytes after the archive at offset {length}",
            path.display()
        )
    );
    assert!(is_empty(&place));
}

#[test]
fn case_hack_keeps_names_apart() {
    let (_place, path) = place();
    let tree = directory([
        ("A", file(false, "1")),
        ("a", directory([])),
        ("b", file(false, "2")),
    ]);
    let archive = tree.encode().unwrap();
    let options = RestoreOptions::default().case_hack(true);
    restore_with(&mut &*archive, &path, options).unwrap();
    assert!(path.join("a~nix~case~hack~1").is_dir());
    let mut dumped = Vec::new();
    let options = nar::DumpOptions::default().case_hack(true);
    nar::dump_with(&path, &mut dumped, options).unwrap();
    assert!(dumped == archive);

    let (place, path) = self::place();
    let tree = directory([("a~nix~case~hack~1", file(false, ""))]);
    let options = RestoreOptions::default().case_hack(true);
    let error = restore_with(&mut &*tree.encode().unwrap(), &path, options).unwrap_err();
    assert!(matches!(error.kind, RestoreErrorKind::CaseHack), "{error}");
    assert!(is_empty(&place));
}

#[test]
fn names_that_are_none_are_refused() {
    let place = tempdir().unwrap();
    let parent = File::open(place.path()).unwrap();
    for name in ["", ".", "..", "a/b", "/"] {
        let error = Restore::new(&parent, OsStr::new(name), RestoreOptions::default());
        assert!(
            matches!(error.unwrap_err().kind, RestoreErrorKind::System { .. }),
            "{name}"
        );
    }
}
