use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{DumpOptions, Limits, Restore, RestoreError, RestoreErrorKind, RestoreOptions};

/// A restore touches nothing but the place it was given, leaves nothing when it fails or is given
/// up, and what it makes is dumped as the same archive. The first byte chooses options and the
/// pieces in which the archive comes.
pub fn restore_stays_inside(data: &[u8]) {
    let Some((&choice, archive)) = data.split_first() else {
        return;
    };
    let choice = Choice::new(choice);
    let place = tempfile::tempdir().expect("a temporary directory");
    let outside = place.path().join("outside");
    let inside = place.path().join("inside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("witness"), "untouched").expect("written");

    let mut restore = Restore::to(&inside, choice.restore_options()).expect("nothing is done yet");
    match choice.write(&mut restore, archive) {
        Ok(()) => choice.check(&inside, archive),
        Err(error) => {
            assert!(error.left_behind.is_empty(), "{error}");
            assert!(choice.may_refuse(&error.kind), "{error}");
        }
    }
    // What was not finished is removed.
    drop(restore);
    assert_eq!(listing(place.path()), ["outside"]);
    assert_eq!(listing(&outside), ["witness"]);
    assert_eq!(
        fs::read(outside.join("witness")).expect("it is there"),
        b"untouched"
    );
}

/// How an archive is restored.
struct Choice {
    canonical: bool,
    case_hack: bool,
    limits: Limits,
    /// Bytes that are handed over at a time.
    piece: usize,
}

impl Choice {
    /// Bit by bit: canonical, case hack, two for the limits, and four for the pieces.
    fn new(byte: u8) -> Self {
        let limits = match byte >> 2 & 3 {
            0 | 1 => Limits::NIX,
            2 => Limits::NIX.with_name(3).with_target(20).with_depth(3),
            _ => Limits::NIX.with_name(300).with_target(5000).with_depth(500),
        };
        Self {
            canonical: byte & 1 != 0,
            case_hack: byte & 2 != 0,
            limits,
            piece: match byte >> 4 {
                0 => usize::MAX,
                piece => usize::from(piece).pow(2),
            },
        }
    }

    fn restore_options(&self) -> RestoreOptions {
        RestoreOptions::default()
            .canonical(self.canonical)
            .case_hack(self.case_hack)
            .limits(self.limits)
    }

    /// Restores all of it, but for what makes it stay.
    fn write(&self, restore: &mut Restore, archive: &[u8]) -> Result<(), RestoreError> {
        for piece in archive.chunks(self.piece) {
            restore.write_all(piece)?;
        }
        restore.flush()
    }

    /// Whether `root` is what `archive` says.
    fn check(&self, root: &Path, archive: &[u8]) {
        let mut dumped = Vec::new();
        let options = DumpOptions::default()
            .case_hack(self.case_hack)
            .limits(self.limits);
        crate::dump_with(root, &mut dumped, options).expect("what was restored can be dumped");
        assert!(dumped == archive, "the restored tree is another one");
        let metadata = fs::symlink_metadata(root).expect("it is there");
        if self.canonical {
            assert_eq!(metadata.mtime(), 1);
            assert!(metadata.is_symlink() || metadata.mode() & 0o222 == 0);
        }
    }

    /// Whether an archive may fail to be restored for this: it is none, or the file system has
    /// names that differ in the archive but not to it, or that it cannot hold.
    fn may_refuse(&self, kind: &RestoreErrorKind) -> bool {
        match kind {
            RestoreErrorKind::Archive(_) => true,
            RestoreErrorKind::System { operation, .. } => *operation == "create",
            RestoreErrorKind::CaseHack => self.case_hack,
            _ => false,
        }
    }
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
