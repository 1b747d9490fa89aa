//! The limit on descriptors is the whole process's, so this test has a process of its own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use nar::testing::Tree;
use nar::{Restore, RestoreErrorKind, RestoreOptions};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

/// Lets the process open `more` descriptors besides those it has.
fn allow(more: u64, hard: Option<u64>) {
    let next = File::open("/").unwrap().as_raw_fd();
    let current = Some(u64::try_from(next).unwrap() + more);
    let limit = Rlimit {
        current,
        maximum: hard,
    };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn a_restore_that_runs_out_of_descriptors_leaves_nothing() {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let leaf = Tree::File {
        executable: false,
        contents: b"x".to_vec(),
    };
    let inside = |tree, _| Tree::Directory([(b"d".to_vec(), tree)].into());
    let archive = (0..20).fold(leaf, inside).encode().unwrap();
    for more in 0..=20 {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root");
        let mut restore = Restore::to(&path, RestoreOptions::default()).unwrap();
        allow(more, before.maximum);
        let result = restore.write_all(&archive);
        rustix::process::setrlimit(Resource::Nofile, before).unwrap();
        let error = result.unwrap_err();
        let RestoreErrorKind::System { errno, .. } = error.kind else {
            panic!("{error}")
        };
        assert_eq!(errno, Errno::MFILE.raw_os_error(), "{error}");
        assert_eq!(error.left_behind, [], "{more} descriptors");
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 0, "{more} descriptors");
    }
}
