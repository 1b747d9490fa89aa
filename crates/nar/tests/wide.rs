//! How memory grows with the number of names in one directory: as the crate's documentation says.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io;

use nar::RestoreOptions;

/// Names in the widest directory, and the bytes of each.
const WIDE: u64 = 100_000;
const NAME: u64 = 20;

/// The most bytes that `work` holds at one time.
fn peak(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).bytes_max
}

#[test]
fn a_dump_holds_the_names_of_a_directory_and_a_restore_does_not() {
    let place = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = place.path().join("wide");
    fs::create_dir(&path).unwrap();
    for number in 0..WIDE {
        let name = format!("{number:0width$}", width = NAME as usize);
        File::create(path.join(name)).unwrap();
    }

    let dump = peak(|| {
        nar::dump(&path, &mut io::sink()).unwrap();
    });
    let held = WIDE * (24 + NAME + 1);
    assert!((held..3 * held).contains(&dump), "{dump} bytes");

    let mut archive = Vec::new();
    nar::dump(&path, &mut archive).unwrap();
    let restore = |options| {
        // All is created, and then removed because the end is missing.
        let mut cut = &archive[..archive.len() - 8];
        let restored = place.path().join("restored");
        peak(|| {
            let error = nar::restore_with(&mut cut, restored, options).unwrap_err();
            assert!(error.left_behind.is_empty(), "{error}");
        })
    };
    let plain = restore(RestoreOptions::default());
    assert!(plain < 512 * 1024, "{plain} bytes");
    let case_hack = restore(RestoreOptions::default().case_hack(true));
    let held = plain + WIDE * NAME;
    assert!(
        (held..held + 64 * WIDE).contains(&case_hack),
        "{case_hack} bytes"
    );
}
