//! Derivations: parse, print, and hash a graph of them, beside the `nix-derivation` crate and beside the ceilings (copying the same bytes,
//! hashing the same bytes).

use std::collections::HashMap;
use std::hint::black_box;

use benches::derivations::{corpus, graph};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use derivation::{Derivation, DerivationFile, ModuloMemo, StoreDir};
use sha2::{Digest, Sha256};

/// Does something with each item of the corpus, again and again.
fn each<'a, T, R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
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

fn parse_and_print(criterion: &mut Criterion) {
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

    let mut group = criterion.benchmark_group("derivation/parse");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(20);
    each(&mut group, "ours", &files, |file| parse(file));
    each(&mut group, "ours, owned", &files, |file| {
        parse(file).into_owned()
    });
    each(&mut group, "nix-derivation", &files, |file| {
        parse_peer(file)
    });
    each(&mut group, "ceiling: copy", &files, Clone::clone);
    group.finish();

    let ours: Vec<_> = files.iter().map(|file| parse(file)).collect();
    let peers: Vec<_> = files.iter().map(|file| parse_peer(file)).collect();
    let mut group = criterion.benchmark_group("derivation/print");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(20);
    each(&mut group, "ours", &ours, |derivation| {
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

fn hash_graph(criterion: &mut Criterion) {
    let files = graph(10_000);
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    eprintln!("graph: {} files, {bytes} bytes", files.len());
    let parsed: Vec<_> = files
        .iter()
        .map(|(path, text)| (path, parse_file(text)))
        .collect();
    let texts: HashMap<_, _> = files.iter().map(|(path, text)| (path, text)).collect();

    let mut group = criterion.benchmark_group("derivation/hash modulo");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(20);
    group.bench_function("ours, parsed", |bencher| {
        bencher.iter(|| {
            let mut memo = ModuloMemo::new(StoreDir::NIX);
            for (path, file) in &parsed {
                black_box(memo.add((*path).clone(), file)).expect("inputs are known");
            }
        });
    });
    group.bench_function("ours, from bytes", |bencher| {
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
    each(&mut group, "ceiling: sha256", &files, |(_, text)| {
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

criterion_group!(benches, parse_and_print, hash_graph);
criterion_main!(benches);
