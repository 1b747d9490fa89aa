//! Memory does not grow with what passes. One test, because the peak is the whole process's.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs::{self, File};
use std::io::{self, Read};

/// The most memory this process has ever held, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn four_mebibytes_are_enough_for_any_size() {
    // A file system in memory reads holes at once, where there is one.
    let place = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let sparse = place.path().join("sparse");
    let size = 4 << 30;
    File::create(&sparse).unwrap().set_len(size).unwrap();
    let many = place.path().join("many");
    fs::create_dir(&many).unwrap();
    (0..5000).for_each(|name| fs::write(many.join(name.to_string()), "x").unwrap());

    let before = peak();
    assert_eq!(nar::dump(&sparse, &mut io::sink()).unwrap(), size + 112);
    nar::dump(&many, &mut io::sink()).unwrap();
    nar::dump_ahead(&sparse, &mut io::sink(), nar::DumpOptions::default()).unwrap();
    let mut archive = nar::Dump::new(&many).unwrap();
    nar::restore(&mut archive, place.path().join("restored")).unwrap();
    // All of it but the end is restored, and removed again.
    let mut part = nar::Dump::new(&sparse).unwrap().take(256 << 20);
    nar::restore(&mut part, place.path().join("part")).unwrap_err();
    let grown = peak() - before;
    assert!(grown < 4096, "{grown} KiB");
}
