use std::fs;
use std::path::Path;

use super::{in_pieces, in_slice, through_reader};
use crate::{Encoder, Error, Events, Kind, RestoreErrorKind};

/// Whatever is accepted is the only spelling of what it says: encoding its events gives the very
/// bytes. And it is accepted or refused alike, however it is cut.
pub fn identity(data: &[u8]) {
    let mut archive = Vec::with_capacity(data.len());
    let mut encoder = Encoder::new();
    let mut refused = None;
    for event in Events::new(data) {
        match event {
            Ok(event) => encoder
                .encode(event, &mut archive)
                .expect("what is decoded is in order"),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        None => {
            encoder.finish().expect("what is accepted is complete");
            assert!(archive == data, "accepted, but not the only spelling");
        }
        // Whatever was said before the error was spelt in the only way too.
        Some(_) => assert!(
            data.starts_with(&archive),
            "not the only spelling before an error"
        ),
    }

    let whole = in_slice(data);
    assert_eq!(in_pieces(data.chunks(1)), whole);
    let (head, tail) = data.split_at(data.len() / 2);
    assert_eq!(in_pieces([head, &[], tail]), whole);
}

/// The readers over std's and over tokio's traits yield what a slice does, with buffers of any
/// size, save that they leave bytes behind the archive alone. The first byte chooses the size.
#[cfg(feature = "tokio")]
pub fn readers_agree(data: &[u8]) {
    let Some((&capacity, data)) = data.split_first() else {
        return;
    };
    let capacity = usize::from(capacity) + 1;
    let (seen, error) = in_slice(data);
    let expected = (seen, error.filter(|error| error.kind != Kind::Trailing));
    assert_eq!(through_reader(data, capacity), expected);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let source = tokio::io::BufReader::with_capacity(capacity, data);
    let found = runtime.block_on(async {
        let mut seen = Vec::new();
        let mut reader = crate::tokio::Reader::new(source);
        loop {
            match reader.next().await {
                Ok(Some(event)) => super::Seen::record(&mut seen, event),
                Ok(None) => return (seen, None),
                Err(crate::ReadError::Archive(error)) => return (seen, Some(error)),
                Err(error) => unreachable!("a slice does not fail: {error}"),
            }
        }
    });
    assert_eq!(found, expected);
}

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
