//! A descriptor is closed behind a restore's back, so this test has a process of its own: nothing
//! else may get its number.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;

use nar::{Restore, RestoreErrorKind, RestoreOptions};
use rustix::io::Errno;

/// The number of the descriptor by which this process has a file open.
fn descriptor_of(path: &Path) -> RawFd {
    let is_it = |number: &RawFd| {
        fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|target| target == path)
    };
    (0..1000).find(is_it).unwrap()
}

#[test]
fn a_file_that_cannot_be_closed_is_an_error_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().canonicalize().unwrap().join("root");
    let mut archive = nar::example();
    let data = archive
        .windows(5)
        .position(|window| window == b"hello")
        .unwrap();
    let end = archive.split_off(data + 5);

    let mut restore = Restore::to(&path, RestoreOptions::default()).unwrap();
    restore.write_all(&archive).unwrap();
    let greeting = path.join("greeting");
    nix::unistd::close(descriptor_of(&greeting)).unwrap();
    let error = restore.write_all(&end).unwrap_err();
    assert_eq!(error.path, greeting);
    let RestoreErrorKind::System { operation, errno } = error.kind else {
        panic!("{error}")
    };
    assert_eq!((operation, errno), ("close", Errno::BADF.raw_os_error()));
    assert_eq!(error.left_behind, []);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
