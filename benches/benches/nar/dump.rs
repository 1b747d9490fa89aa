//! A tree as an archive.

use std::io::{self, Read, Write};
use std::process::Stdio;

use criterion::Criterion;
use nar::{Digest, DumpOptions, Observed};
use nix_archive::nar as peer;
use sha2::Digest as _;

use crate::clock::Clock;
use crate::limit;
use crate::peers::{has_nix, nix};
use crate::tree::{Tree, noise};

/// Bytes that pass at a time between a dump and who reads it.
const PIECE: usize = 1 << 16;

/// Nobody looks at the archive.
pub(crate) fn to_nothing(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| nar::dump(&tree.path, &mut io::sink()).expect("dumped"));
    });
    group.bench_function("limit", |bencher| {
        let mut buffer = vec![0; PIECE];
        bencher.iter(|| limit::read_all(&tree.path, &mut buffer).expect("read"));
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            peer::encode_path(&mut io::sink(), &tree.path, peer::CaseHack::Disabled)
                .expect("dumped");
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            let mut encoder = nix_nar::Encoder::new(&tree.path).expect("opened");
            io::copy(&mut encoder, &mut io::sink()).expect("dumped")
        });
    });
    if has_nix() {
        group.bench_function("nix-store", |bencher| {
            bencher.iter(|| {
                let mut dump = nix("nix-store", &["--dump"], &tree.path);
                let status = dump.stdout(Stdio::null()).status();
                assert!(status.expect("started").success());
            });
        });
    }
}

/// SHA-256 of the archive.
pub(crate) fn and_hash(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump-sha256");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            let mut digest = Digest::new();
            nar::dump(&tree.path, &mut Observed::new(io::sink(), &mut digest)).expect("dumped");
            digest.finish()
        });
    });
    group.bench_function("nar-ahead", |bencher| {
        bencher.iter(|| {
            let mut digest = Digest::new();
            nar::dump_ahead(&tree.path, &mut digest, DumpOptions::default()).expect("dumped");
            digest.finish()
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| peer::hash_path(&tree.path, peer::CaseHack::Disabled).expect("hashed"));
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            let mut encoder = nix_nar::Encoder::new(&tree.path).expect("opened");
            let mut sha256 = sha2::Sha256::new();
            let mut buffer = vec![0; PIECE];
            loop {
                match encoder.read(&mut buffer).expect("dumped") {
                    0 => return sha256.finalize(),
                    length => sha256.update(&buffer[..length]),
                }
            }
        });
    });
    if has_nix() {
        group.bench_function("nix-hash", |bencher| {
            bencher.iter(|| {
                let mut hash = nix("nix-hash", &["--type", "sha256"], &tree.path);
                let status = hash.stdout(Stdio::null()).status();
                assert!(status.expect("started").success());
            });
        });
    }
    if tree.nodes == 1 {
        let block: Vec<u8> = noise(7).take(1 << 20).collect();
        group.bench_function("sha2-alone", |bencher| {
            bencher.iter(|| {
                let mut sha256 = sha2::Sha256::new();
                (0..tree.bytes >> 20).for_each(|_| sha256.update(&block));
                sha256.finalize()
            });
        });
    }
}

/// Another thread reads the archive from a pipe.
pub(crate) fn to_pipe(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump-pipe");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            piped(|mut sink| {
                nar::dump(&tree.path, &mut sink).expect("dumped");
            });
        });
    });
    group.bench_function("nar-ahead", |bencher| {
        bencher.iter(|| {
            piped(|mut sink| {
                nar::dump_ahead(&tree.path, &mut sink, DumpOptions::default()).expect("dumped");
            });
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            piped(|sink| {
                let mut sink = io::BufWriter::with_capacity(PIECE, sink);
                peer::encode_path(&mut sink, &tree.path, peer::CaseHack::Disabled).expect("dumped");
                sink.flush().expect("written");
            });
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            piped(|mut sink| {
                let mut encoder = nix_nar::Encoder::new(&tree.path).expect("opened");
                let mut buffer = vec![0; PIECE];
                loop {
                    match encoder.read(&mut buffer).expect("dumped") {
                        0 => break,
                        length => sink.write_all(&buffer[..length]).expect("written"),
                    }
                }
            });
        });
    });
    if has_nix() {
        group.bench_function("nix-store", |bencher| {
            bencher.iter(|| {
                piped(|sink| {
                    let mut dump = nix("nix-store", &["--dump"], &tree.path);
                    let status = dump.stdout(sink).status();
                    assert!(status.expect("started").success());
                });
            });
        });
    }
}

fn piped(dump: impl FnOnce(io::PipeWriter)) {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; PIECE];
            while reader.read(&mut buffer).expect("read") > 0 {}
        });
        dump(writer);
    });
}
