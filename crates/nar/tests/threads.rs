//! The limit on memory is the whole process's, so this test has a process of its own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs;
use std::io;

use nar::DumpOptions;
use rustix::process::{Resource, Rlimit};

/// All the address space that this process has taken, in bytes.
fn taken() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))
        .unwrap();
    let kibibytes: u64 = size.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1024
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let before = rustix::process::getrlimit(Resource::As);
    // Enough for the buffers, and not for a thread's stack of 2 MiB.
    let limit = Rlimit {
        current: Some(taken() + (3 << 19)),
        maximum: before.maximum,
    };
    rustix::process::setrlimit(Resource::As, limit).unwrap();
    let result = nar::dump_ahead(place.path(), &mut io::sink(), DumpOptions::default());
    rustix::process::setrlimit(Resource::As, before).unwrap();
    let error = result.unwrap_err();
    let expected = format!("start a thread to read `{}`: ", place.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
}
