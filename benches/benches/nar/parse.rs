//! An archive as events.

use std::hint::black_box;
use std::io::{self, BufReader};

use criterion::Criterion;
use nar::Events;
use nix_archive::nar as peer;

use crate::clock::Clock;
use crate::tree::Tree;

/// All of the archive is at hand.
pub(crate) fn in_memory(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "parse-slice");
    group.bench_function("nar", |bencher| {
        let archive = tree.archive();
        bencher.iter(|| {
            for event in Events::new(archive) {
                black_box(event.expect("an archive"));
            }
        });
    });
    group.bench_function("nix-archive", |bencher| {
        let archive = tree.archive();
        bencher.iter(|| {
            peer::decode_events(archive, |event| {
                black_box(event);
                Ok(())
            })
            .expect("an archive");
        });
    });
}

/// The archive comes in pieces of 64 KiB.
pub(crate) fn through_readers(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "parse-reader");
    let source = || BufReader::with_capacity(1 << 16, tree.archive());
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            let mut reader = nar::Reader::new(source());
            while let Some(event) = reader.next().expect("an archive") {
                black_box(event);
            }
        });
    });
    group.bench_function("nar-tokio", |bencher| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        bencher.iter(|| {
            runtime.block_on(async {
                let source = tokio::io::BufReader::with_capacity(1 << 16, tree.archive());
                let mut reader = nar::tokio::Reader::new(source);
                while let Some(event) = reader.next().await.expect("an archive") {
                    black_box(event);
                }
            });
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            peer::decode_events_reader(&mut source(), |event| {
                if let peer::Event::Regular { mut contents, .. } = event {
                    io::copy(&mut contents, &mut io::sink()).expect("read");
                }
                Ok(())
            })
            .expect("an archive");
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            let decoder = nix_nar::Decoder::new(source()).expect("an archive");
            for entry in decoder.entries().expect("an archive") {
                black_box(entry.expect("an entry"));
            }
        });
    });
}
