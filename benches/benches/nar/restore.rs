//! An archive as a tree.

use std::fs;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{Bencher, Criterion};
use nix_archive::nar as peer;

use crate::clock::Clock;
use crate::limit;
use crate::peers::{has_nix, nix};
use crate::tree::Tree;

/// To a file system in memory, from memory (and for `nix-store` from a file there).
pub(crate) fn to_memory(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let place = std::env::var_os("NAR_BENCH_RESTORE").unwrap_or_else(|| "/dev/shm".into());
    let place = tempfile::tempdir_in(place).expect("a directory to restore to");
    let path = place.path().join("restored");
    let mut group = tree.group(criterion, "restore");
    for (name, canonical) in [("nar", false), ("nar-canonical", true)] {
        group.bench_function(name, |bencher| {
            let options = nar::RestoreOptions::default().canonical(canonical);
            let archive = tree.archive();
            timed(bencher, &path, || {
                let mut restore = nar::Restore::to(&path, options.clone()).expect("opened");
                restore.write_all(archive).expect("restored");
                restore.finish().expect("restored");
            });
        });
    }
    group.bench_function("limit", |bencher| {
        let calls = limit::calls(tree.archive(), path.to_str().expect("UTF-8"));
        timed(bencher, &path, || {
            limit::make_all(&calls).expect("restored");
        });
    });
    group.bench_function("nix-archive", |bencher| {
        let archive = tree.archive();
        timed(bencher, &path, || {
            peer::restore(archive, &path, peer::CaseHack::Disabled).expect("restored");
        });
    });
    group.bench_function("nix-nar", |bencher| {
        let archive = tree.archive();
        timed(bencher, &path, || {
            let decoder = nix_nar::Decoder::new(archive).expect("an archive");
            decoder.unpack(&path).expect("restored");
        });
    });
    if has_nix() {
        group.bench_function("nix-store", |bencher| {
            let file = place.path().join("archive");
            fs::write(&file, tree.archive()).expect("written");
            timed(bencher, &path, || {
                let input = fs::File::open(&file).expect("opened");
                let mut restore = nix("nix-store", &["--restore"], &path);
                let status = restore.stdin(input).status();
                assert!(status.expect("started").success());
            });
            fs::remove_file(&file).expect("removed");
        });
    }
}

/// Only the restore is timed, not the removal between two of them.
fn timed(bencher: &mut Bencher<'_, Clock>, path: &Path, restore: impl Fn()) {
    let clock = Clock::chosen();
    bencher.iter_custom(|iterations| {
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations {
            let start = clock.start();
            restore();
            elapsed += clock.end(start);
            let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        }
        elapsed
    });
}
