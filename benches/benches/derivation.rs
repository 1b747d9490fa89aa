//! Derivations: parse, print, and hash a graph of them, beside the `nix-derivation` crate and beside the ceilings (copying the same bytes,
//! hashing the same bytes).
//!
//! `cargo bench -p benches --bench derivation` takes two minutes and prints a table of ratios at the end. `BENCH_CLOCK=processor` is for a
//! machine that others use too.

#[path = "nar/clock.rs"]
mod clock;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::SystemTime;

use benches::derivations::{corpus, graph};
use clock::Clock;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use derivation::{Derivation, DerivationFile, ModuloMemo, StoreDir};
use sha2::{Digest, Sha256};

fn main() {
    let start = SystemTime::now();
    let mut criterion = Criterion::default()
        .with_measurement(Clock::chosen())
        .sample_size(20)
        .configure_from_args();
    parse_and_print(&mut criterion);
    hash_graph(&mut criterion);
    criterion.final_summary();
    if let Err(error) = benches::ratios::print("derivation-", "derivation", start) {
        eprintln!("no table of ratios: {error}");
    }
}

/// Does something with each item of the corpus, again and again.
fn each<'a, T, R>(
    group: &mut BenchmarkGroup<'_, Clock>,
    name: &str,
    items: &'a [T],
    work: impl Fn(&'a T) -> R,
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for item in items {
                black_box(work(item));
            }
        });
    });
}

fn parse_and_print(criterion: &mut Criterion<Clock>) {
    let files = corpus(2_000);
    let bytes: usize = files.iter().map(Vec::len).sum();
    let backslashes = files
        .iter()
        .flatten()
        .filter(|&&byte| byte == b'\\')
        .count();
    let share = 100.0 * backslashes as f64 / bytes as f64;
    eprintln!(
        "corpus: {} files, {bytes} bytes, {share:.2}% backslashes",
        files.len()
    );

    let mut group = criterion.benchmark_group("derivation-parse");
    group.throughput(Throughput::Bytes(bytes as u64));
    each(&mut group, "derivation", &files, |file| parse(file));
    each(&mut group, "owned", &files, |file| parse(file).into_owned());
    each(&mut group, "nix-derivation", &files, |file| {
        parse_peer(file)
    });
    each(&mut group, "copy-alone", &files, Clone::clone);
    group.finish();

    let ours: Vec<_> = files.iter().map(|file| parse(file)).collect();
    let peers: Vec<_> = files.iter().map(|file| parse_peer(file)).collect();
    let mut group = criterion.benchmark_group("derivation-print");
    group.throughput(Throughput::Bytes(bytes as u64));
    each(&mut group, "derivation", &ours, |derivation| {
        derivation.print(&StoreDir::NIX)
    });
    each(
        &mut group,
        "nix-derivation",
        &peers,
        nix_derivation::Derivation::to_aterm_bytes,
    );
    group.finish();
}

fn hash_graph(criterion: &mut Criterion<Clock>) {
    let files = graph(10_000);
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    eprintln!("graph: {} files, {bytes} bytes", files.len());
    let parsed: Vec<_> = files
        .iter()
        .map(|(path, text)| (path, parse_file(text)))
        .collect();
    let texts: HashMap<_, _> = files.iter().map(|(path, text)| (path, text)).collect();

    let mut group = criterion.benchmark_group("derivation-modulo");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("derivation", |bencher| {
        bencher.iter(|| {
            let mut memo = ModuloMemo::new(StoreDir::NIX);
            for (path, file) in &parsed {
                black_box(memo.add((*path).clone(), file)).expect("inputs are known");
            }
        });
    });
    group.bench_function("parse-and-hash", |bencher| {
        bencher.iter(|| {
            let mut memo = ModuloMemo::new(StoreDir::NIX);
            for (path, _) in files.iter().rev() {
                let walked = memo.walk(path, |path| {
                    texts.get(path).map(|text| text.to_vec()).ok_or("unknown")
                });
                black_box(walked).expect("all are there");
            }
        });
    });
    each(&mut group, "sha2-alone", &files, |(_, text)| {
        Sha256::digest(text)
    });
    group.finish();
}

fn parse(file: &[u8]) -> Derivation<'_> {
    Derivation::parse(&StoreDir::NIX, file).expect("the corpus is made of derivations")
}

fn parse_file(file: &[u8]) -> DerivationFile<'_> {
    DerivationFile::parse(&StoreDir::NIX, file).expect("the corpus is made of derivations")
}

fn parse_peer(file: &[u8]) -> nix_derivation::Derivation {
    nix_derivation::Derivation::from_aterm_bytes(file, "name")
        .expect("the corpus is made of derivations")
}
