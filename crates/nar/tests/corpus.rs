//! Replays the fuzz targets' corpus, past findings included, without a fuzzer.
//!
//! `NAR_SEED_CORPUS=1 cargo test -p nar --test corpus` writes new seeds from the strategy.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs;
use std::path::{Path, PathBuf};

use nar::{Listing, testing};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// How many seeds a target gets, and how large one may be.
const SEEDS: usize = 8;
const LARGEST: usize = 1000;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target)
}

fn replay(target: &str, oracle: fn(&[u8])) {
    let corpus = corpus(target);
    if std::env::var_os("NAR_SEED_CORPUS").is_some() {
        seed(&corpus, target);
    }
    let mut replayed = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        oracle(&fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed >= SEEDS, "only {replayed} in {}", corpus.display());
}

/// Archives of random trees; for the readers each begun with a byte that says the buffer's size, for
/// restores with one that says how; for listings only what they list.
fn seed(corpus: &Path, target: &str) {
    fs::create_dir_all(corpus).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut number = 0;
    while number < SEEDS {
        let tree = testing::trees().new_tree(&mut runner).unwrap().current();
        let archive = tree.encode().unwrap();
        if archive.len() > LARGEST || (number > 3 && archive.len() < 300) {
            continue;
        }
        let seed = match target {
            "nar_readers" => [&[number as u8 * 20], &archive[..]].concat(),
            "nar_restore" => [&[number as u8 * 29], &archive[..]].concat(),
            "nar_listing" => match serde_json::to_vec(&Listing::of(&archive).unwrap()) {
                Ok(json) => json,
                // Not all names are text.
                Err(_) => continue,
            },
            _ => archive,
        };
        fs::write(corpus.join(format!("seed-{number:02}")), seed).unwrap();
        number += 1;
    }
}

#[test]
fn nar_decode() {
    replay("nar_decode", testing::identity);
}

#[test]
fn nar_listing() {
    replay("nar_listing", testing::listing);
}

#[test]
fn nar_readers() {
    replay("nar_readers", testing::readers_agree);
}

#[cfg(target_os = "linux")]
#[test]
fn nar_restore() {
    replay("nar_restore", testing::restore_stays_inside);
}
