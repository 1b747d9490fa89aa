//! Every text that a person may read.

use std::io;
#[cfg(target_os = "linux")]
use std::{path::PathBuf, sync::Arc};

#[cfg(target_os = "linux")]
use nar::{DumpError, DumpErrorKind, LeftBehind, RestoreError, RestoreErrorKind};
use nar::{Error, Kind, ReadError, WriteError};

fn lines<T: ToString>(errors: impl IntoIterator<Item = T>) -> String {
    let lines = errors
        .into_iter()
        .map(|error| format!("failed to {}", error.to_string()));
    lines.collect::<Vec<_>>().join("\n")
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::Word {
            expected: "nix-archive-1",
        },
        Kind::Word {
            expected: "entry` or `)",
        },
        Kind::Padding,
        Kind::NameLength {
            length: u64::MAX,
            limit: 255,
        },
        Kind::Name,
        Kind::NameTwice,
        Kind::NameOrder,
        Kind::TargetLength {
            length: 4096,
            limit: 4095,
        },
        Kind::Target,
        Kind::Depth { limit: 64 },
        Kind::Truncated,
        Kind::Trailing,
        Kind::Event {
            expected: "an entry or the directory's end",
        },
        Kind::Data { remaining: 5 },
    ]
}

#[test]
fn archives() {
    insta::assert_snapshot!(lines(
        kinds()
            .into_iter()
            .map(|kind| ReadError::Archive(Error { offset: 128, kind }))
    ));
}

#[test]
fn writers() {
    let kind = Kind::Data { remaining: 5 };
    insta::assert_snapshot!(lines([
        WriteError::Archive(Error { offset: 128, kind }),
        WriteError::Source(io::ErrorKind::UnexpectedEof.into()),
        WriteError::Sink(io::ErrorKind::BrokenPipe.into()),
        WriteError::Abandoned,
    ]));
}

#[cfg(target_os = "linux")]
#[test]
fn dumps() {
    let path = PathBuf::from("/some/path");
    let kinds = [
        DumpErrorKind::System {
            operation: "open",
            errno: 13,
        },
        DumpErrorKind::System {
            operation: "examine",
            errno: 2,
        },
        DumpErrorKind::System {
            operation: "list",
            errno: 5,
        },
        DumpErrorKind::System {
            operation: "read the link",
            errno: 22,
        },
        DumpErrorKind::System {
            operation: "read",
            errno: 5,
        },
        DumpErrorKind::System {
            operation: "start a thread to read",
            errno: 11,
        },
        DumpErrorKind::Special {
            file_type: "socket",
        },
        DumpErrorKind::Shrank {
            size: 100,
            read: 60,
        },
        DumpErrorKind::Grew { size: 100 },
        DumpErrorKind::Archive(Error {
            offset: 128,
            kind: Kind::NameTwice,
        }),
        DumpErrorKind::Archive(Error {
            offset: 128,
            kind: Kind::Depth { limit: 64 },
        }),
        DumpErrorKind::Sink(Arc::new(io::ErrorKind::BrokenPipe.into())),
    ];
    insta::assert_snapshot!(lines(kinds.map(|kind| DumpError::new(&path, kind))));
}

#[cfg(target_os = "linux")]
#[test]
fn restores() {
    let path = PathBuf::from("/some/path");
    let kinds = [
        RestoreErrorKind::System {
            operation: "open the parent of",
            errno: 2,
        },
        RestoreErrorKind::System {
            operation: "create",
            errno: 17,
        },
        RestoreErrorKind::System {
            operation: "open",
            errno: 40,
        },
        RestoreErrorKind::System {
            operation: "examine",
            errno: 2,
        },
        RestoreErrorKind::System {
            operation: "write",
            errno: 28,
        },
        RestoreErrorKind::System {
            operation: "set the mode of",
            errno: 1,
        },
        RestoreErrorKind::System {
            operation: "set the time of",
            errno: 1,
        },
        RestoreErrorKind::System {
            operation: "flush",
            errno: 5,
        },
        RestoreErrorKind::System {
            operation: "flush the file system of",
            errno: 5,
        },
        RestoreErrorKind::Archive(Error {
            offset: 128,
            kind: Kind::Padding,
        }),
        RestoreErrorKind::CaseHack,
        RestoreErrorKind::Source(Arc::new(io::ErrorKind::ConnectionReset.into())),
        RestoreErrorKind::Abandoned,
    ];
    let error = |kind| RestoreError::new(&path, kind);
    let mut errors = kinds.map(error).to_vec();
    let left = |name, errno| LeftBehind::new(path.join(name), errno);
    errors[0].left_behind = vec![left("a", Some(1)), left("b", None)];
    insta::assert_snapshot!(lines(errors));
}
