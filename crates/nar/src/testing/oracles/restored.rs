use std::fs;
use std::path::Path;

use crate::{Error, RestoreErrorKind};

/// A restore touches nothing but the place it was given, leaves nothing when it fails, and what
/// it makes is dumped as the same archive.
pub fn restore_stays_inside(data: &[u8]) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let outside = place.path().join("outside");
    let inside = place.path().join("inside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("witness"), "untouched").expect("written");

    match crate::restore(&mut &*data, &inside) {
        Ok(()) => {
            let mut archive = Vec::new();
            crate::dump(&inside, &mut archive).expect("what was restored can be dumped");
            assert!(archive == data, "the restored tree is another one");
            remove(&inside);
        }
        Err(error) => {
            assert_eq!(error.left_behind, [], "{error}");
            assert!(is_refusal(&error.kind), "{error}");
        }
    }
    assert_eq!(listing(place.path()), ["outside"]);
    assert_eq!(listing(&outside), ["witness"]);
    assert_eq!(
        fs::read(outside.join("witness")).expect("it is there"),
        b"untouched"
    );
}

/// Whether an archive may fail to be restored for this: it is none, or the file system has names
/// that differ in the archive but not to it, or that it cannot hold.
fn is_refusal(kind: &RestoreErrorKind) -> bool {
    match kind {
        RestoreErrorKind::Archive(Error { .. }) => true,
        RestoreErrorKind::System { operation, .. } => *operation == "create",
        _ => false,
    }
}

fn remove(path: &Path) {
    let kind = fs::symlink_metadata(path).expect("it is there").file_type();
    if kind.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
    .expect("removed");
}

fn listing(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("it is a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into()
        })
        .collect()
}
