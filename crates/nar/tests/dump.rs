//! What a dump does with the trees that file systems really hold.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nar::testing::Tree;
use nar::{Dump, DumpError, DumpErrorKind, DumpOptions, Error, Kind};
use tempfile::tempdir;

fn dumped(path: &Path) -> Tree {
    let mut archive = Vec::new();
    nar::dump(path, &mut archive).unwrap();
    Tree::decode(&archive).unwrap()
}

fn names(tree: &Tree) -> Vec<&[u8]> {
    let Tree::Directory(entries) = tree else {
        panic!("no directory: {tree:?}")
    };
    entries.keys().map(|name| &name[..]).collect()
}

#[test]
fn only_the_owners_bit_makes_a_file_executable() {
    let place = tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "").unwrap();
    for mode in 0..0o1000_u32 {
        if mode & 0o400 == 0 {
            continue;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let expected = Tree::File {
            executable: mode & 0o100 != 0,
            contents: Vec::new(),
        };
        assert_eq!(dumped(&path), expected, "mode {mode:o}");
    }
}

#[test]
fn a_link_at_the_root_is_dumped_as_a_link() {
    let place = tempdir().unwrap();
    let path = place.path().join("link");
    symlink("/etc/passwd", &path).unwrap();
    assert_eq!(dumped(&path), Tree::Symlink(b"/etc/passwd".to_vec()));
}

#[test]
fn slashes_behind_a_link_at_the_root_do_not_have_it_followed() {
    let place = tempdir().unwrap();
    let path = place.path().join("link");
    symlink("/etc", &path).unwrap();
    for slashes in ["/", "//"] {
        let path = path.to_str().unwrap().to_owned() + slashes;
        let tree = dumped(Path::new(&path));
        assert_eq!(tree, Tree::Symlink(b"/etc".to_vec()), "{path}");
    }
    // What leads to the last part is followed, and a directory may be called as one.
    fs::create_dir(place.path().join("directory")).unwrap();
    symlink(place.path(), place.path().join("here")).unwrap();
    let tree = dumped(&place.path().join("here/directory/"));
    assert_eq!(tree, Tree::Directory([].into()));
    for root in ["/", "//"] {
        Dump::new(root).unwrap();
    }
    assert_eq!(Dump::new("").unwrap_err().path, Path::new(""));
}

#[test]
fn names_that_are_none_are_refused() {
    let place = tempdir().unwrap();
    fs::create_dir_all(place.path().join("a/b")).unwrap();
    let parent = File::open(place.path()).unwrap();
    for name in [c"", c".", c"..", c"a/b", c"a/", c"/"] {
        let error = Dump::at(&parent, name, DumpOptions::default()).unwrap_err();
        let DumpErrorKind::System { operation, errno } = error.kind else {
            panic!("{name:?}: {error}")
        };
        assert_eq!((operation, errno), ("open", 22), "{name:?}");
    }
    Dump::at(&parent, c"a", DumpOptions::default()).unwrap();
}

#[test]
fn order_is_by_bytes_whatever_the_file_system_says() {
    let place = tempdir().unwrap();
    // The first eight bytes are compared apart from the rest.
    let all = [
        "B",
        "a",
        "a.b",
        "a0",
        "aaaaaaaa",
        "aaaaaaaaA",
        "aaaaaaaab",
        "b",
        "ä",
    ];
    for name in all.iter().rev() {
        fs::write(place.path().join(name), "").unwrap();
    }
    assert_eq!(names(&dumped(place.path())), all.map(str::as_bytes));
}

#[test]
fn buffers_of_any_size_get_the_same_bytes() {
    let place = tempdir().unwrap();
    fs::create_dir(place.path().join("directory")).unwrap();
    for size in [0, 1, 7, 8, 9, 1000] {
        let contents = vec![b'x'; size];
        fs::write(place.path().join(format!("directory/{size}")), contents).unwrap();
    }
    let mut whole = Vec::new();
    nar::dump(place.path(), &mut whole).unwrap();
    for size in 1..1200 {
        let mut dump = Dump::new(place.path()).unwrap();
        let mut pieces = Vec::new();
        let mut buffer = vec![0; size];
        loop {
            let length = dump.fill(&mut buffer).unwrap();
            pieces.extend_from_slice(&buffer[..length]);
            if length < size {
                break;
            }
        }
        assert!(pieces == whole, "buffer of {size}");
    }
}

fn dump_ahead(path: &Path, sink: &mut impl Write) -> Result<u64, DumpError> {
    nar::dump_ahead(path, sink, DumpOptions::default())
}

#[test]
fn two_threads_make_the_same_archive() {
    let place = tempdir().unwrap();
    for size in [0_u32, 1, 100_000, 255 << 10, 256 << 10, 1_000_003] {
        let contents: Vec<u8> = (0..size).map(|at| (at >> 4) as u8).collect();
        fs::write(place.path().join(size.to_string()), contents).unwrap();
    }
    let mut expected = Vec::new();
    let size = nar::dump(place.path(), &mut expected).unwrap();
    let mut archive = Vec::new();
    assert_eq!(dump_ahead(place.path(), &mut archive).unwrap(), size);
    assert!(archive == expected);

    let socket = place.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = dump_ahead(place.path(), &mut std::io::sink()).unwrap_err();
    assert_eq!(error.path, socket);
}

/// Takes some bytes and fails then.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_both_threads() {
    let place = tempdir().unwrap();
    let path = place.path().join("large");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for room in [0, 1 << 20] {
        let error = dump_ahead(&path, &mut Full(room)).unwrap_err();
        assert_eq!(error.path, path);
        let DumpErrorKind::Sink(error) = error.kind else {
            panic!("{error}")
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

#[test]
fn special_files_are_refused_by_path() {
    let place = tempdir().unwrap();
    let socket = place.path().join("directory/socket");
    fs::create_dir(place.path().join("directory")).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = failure(place.path());
    assert_special(&error, &socket, "socket");
    let error = Dump::new("/dev/null").unwrap_err();
    assert_special(&error, Path::new("/dev/null"), "character device");
}

#[test]
fn a_fifo_is_refused_without_waiting_for_its_writer() {
    let place = tempdir().unwrap();
    let fifo = place.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert_special(&failure(place.path()), &fifo, "FIFO");
}

#[track_caller]
fn assert_special(error: &DumpError, path: &Path, expected: &str) {
    assert_eq!(error.path, path);
    assert!(
        matches!(error.kind, DumpErrorKind::Special { file_type } if file_type == expected),
        "{error}"
    );
}

fn failure(path: &Path) -> DumpError {
    nar::dump(path, &mut std::io::sink()).unwrap_err()
}

/// Dumps a file of 1 MB, and after the first 10,000 bytes lets `change` do something to it.
fn changed(change: impl FnOnce(&Path)) -> DumpErrorKind {
    let place = tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, vec![1; 1_000_000]).unwrap();
    let mut dump = Dump::new(place.path()).unwrap();
    dump.read_exact(&mut [0; 10_000]).unwrap();
    change(&path);
    let error = std::io::copy(&mut dump, &mut std::io::sink()).unwrap_err();
    let error = error.downcast::<DumpError>().unwrap();
    assert_eq!(error.path, path);
    let again = dump.fill(&mut [0; 10]).unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "it comes back");
    error.kind
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let kind = changed(|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(20_000)
            .unwrap();
    });
    let DumpErrorKind::Shrank {
        size: 1_000_000,
        read,
    } = kind
    else {
        panic!("{kind:?}")
    };
    assert!((9_000..=20_000).contains(&read), "{read}");
}

#[test]
fn a_file_that_grows_is_an_error() {
    let grow = |path: &Path| {
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(b"more")
            .unwrap();
    };
    let kind = changed(grow);
    assert!(
        matches!(kind, DumpErrorKind::Grew { size: 1_000_000 }),
        "{kind:?}"
    );
}

#[test]
fn a_growing_file_is_found_out_with_buffers_of_any_size() {
    let place = tempdir().unwrap();
    let path = place.path().join("file");
    for size in 1..400 {
        fs::write(&path, [1; 100]).unwrap();
        let mut dump = Dump::new(&path).unwrap();
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"!")
            .unwrap();
        let mut buffer = vec![0; size];
        let error = loop {
            match dump.fill(&mut buffer) {
                Ok(0) => panic!("not found out with a buffer of {size}"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error.kind, DumpErrorKind::Grew { size: 100 }),
            "{error}"
        );
    }
}

#[test]
fn nothing_comes_behind_an_error() {
    let place = tempdir().unwrap();
    let socket = place.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for size in 1..=200 {
        let mut dump = Dump::new(place.path()).unwrap();
        let mut buffer = vec![0; size];
        let mut archive = Vec::new();
        let first = loop {
            match dump.fill(&mut buffer) {
                Ok(0) => panic!("not found out with a buffer of {size}"),
                Ok(length) => archive.extend_from_slice(&buffer[..length]),
                Err(error) => break error,
            }
        };
        assert_special(&first, &socket, "socket");
        // The magic word and the root, and nothing of an entry without a node.
        assert_eq!(archive.len(), 80, "buffer of {size}");
        for _ in 0..10 {
            let again = dump.fill(&mut buffer).unwrap_err();
            assert_special(&again, &socket, "socket");
        }
    }
}

#[test]
fn a_directory_swapped_for_a_link_is_not_followed() {
    let place = tempdir().unwrap();
    let secret = tempdir().unwrap();
    fs::write(secret.path().join("key"), "secret").unwrap();
    let root = place.path().join("root");
    fs::create_dir_all(root.join("b")).unwrap();
    fs::write(root.join("a"), vec![0; 10_000]).unwrap();
    fs::write(root.join("b/key"), "public").unwrap();
    // The dump stands in `a` and has listed `b` as a directory.
    let mut dump = Dump::new(&root).unwrap();
    dump.read_exact(&mut [0; 1000]).unwrap();
    fs::rename(root.join("b"), root.join("old")).unwrap();
    symlink(secret.path(), root.join("b")).unwrap();
    let mut rest = Vec::new();
    let error = dump
        .read_to_end(&mut rest)
        .unwrap_err()
        .downcast::<DumpError>()
        .unwrap();
    assert_eq!(error.path, root.join("b"));
    assert!(
        matches!(
            error.kind,
            DumpErrorKind::System {
                operation: "open",
                ..
            }
        ),
        "{error}"
    );
    assert!(!rest.windows(6).any(|window| window == b"secret"));
}

#[test]
fn filters_leave_out_whole_directories() {
    let place = tempdir().unwrap();
    for path in ["keep/deep", "drop/deep"] {
        fs::create_dir_all(place.path().join(path)).unwrap();
        fs::write(place.path().join(path).join("file"), "").unwrap();
    }
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let options = || {
        let asked = seen.clone();
        DumpOptions::default().filter(move |path| {
            asked.lock().unwrap().push(path.to_owned());
            !path.starts_with("drop")
        })
    };
    let mut archive = Vec::new();
    nar::dump_with(place.path(), &mut archive, options()).unwrap();
    assert_eq!(names(&Tree::decode(&archive).unwrap()), [b"keep"]);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(
        seen,
        ["drop", "keep", "keep/deep", "keep/deep/file"].map(Path::new)
    );

    // Options are the same whoever waits.
    let mut ahead = Vec::new();
    nar::dump_ahead(place.path(), &mut ahead, options()).unwrap();
    assert!(ahead == archive);
    let mut later = Vec::new();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(nar::tokio::dump(place.path(), &mut later, options()))
        .unwrap();
    assert!(later == archive);
}

#[test]
fn case_hack_is_taken_off_and_collisions_are_errors() {
    let place = tempdir().unwrap();
    fs::write(place.path().join("b~nix~case~hack~1"), "").unwrap();
    fs::write(place.path().join("a"), "").unwrap();
    let dump = || {
        let options = DumpOptions::default().case_hack(true);
        let mut archive = Vec::new();
        nar::dump_with(place.path(), &mut archive, options).map(|_| archive)
    };
    assert_eq!(
        names(&Tree::decode(&dump().unwrap()).unwrap()),
        [b"a", b"b"]
    );
    fs::write(place.path().join("b"), "").unwrap();
    let error = dump().unwrap_err();
    let DumpErrorKind::Archive(Error { offset, kind }) = error.kind else {
        panic!("{error}")
    };
    assert_eq!((offset, kind), (432, Kind::NameTwice));
}

#[test]
fn filters_are_asked_by_the_archives_names_and_errors_tell_the_file_systems() {
    let place = tempdir().unwrap();
    let directory = place.path().join("directory~nix~case~hack~1");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("kept~nix~case~hack~2"), "").unwrap();
    fs::write(directory.join("dropped~nix~case~hack~3"), "").unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let options = || {
        let asked = seen.clone();
        let keep = move |path: &Path| {
            asked.lock().unwrap().push(path.to_owned());
            path != Path::new("directory/dropped")
        };
        DumpOptions::default().filter(keep).case_hack(true)
    };
    let mut archive = Vec::new();
    nar::dump_with(place.path(), &mut archive, options()).unwrap();
    let Tree::Directory(entries) = Tree::decode(&archive).unwrap() else {
        panic!("no directory")
    };
    assert_eq!(names(&entries[&b"directory"[..]]), [b"kept"]);
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    assert_eq!(
        seen,
        ["directory", "directory/dropped", "directory/kept"].map(Path::new)
    );

    let socket = directory.join("socket~nix~case~hack~1");
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = nar::dump_with(place.path(), &mut std::io::sink(), options()).unwrap_err();
    assert_special(&error, &socket, "socket");
}

#[test]
fn a_tree_that_is_too_deep_is_refused_by_path() {
    let place = tempdir().unwrap();
    let mut path = place.path().to_owned();
    (1..64).for_each(|_| path.push("d"));
    fs::create_dir_all(&path).unwrap();
    nar::dump(place.path(), &mut std::io::sink()).unwrap();
    path.push("d");
    fs::create_dir(&path).unwrap();
    let error = failure(place.path());
    assert_eq!(error.path, path);
    let DumpErrorKind::Archive(error) = error.kind else {
        panic!("{error}")
    };
    assert_eq!(error.kind, Kind::Depth { limit: 64 });
}

#[test]
fn holes_are_zeros() {
    let place = tempdir().unwrap();
    let path = place.path().join("sparse");
    let mut file = File::create(&path).unwrap();
    file.seek(SeekFrom::Start(3_000_000)).unwrap();
    file.write_all(b"end").unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    let Tree::File { contents, .. } = dumped(&path) else {
        panic!("no file")
    };
    assert_eq!(contents, fs::read(&path).unwrap());
}
