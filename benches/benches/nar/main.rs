//! Nix archives: dump, parse and restore, beside `nix-archive`, `nix-nar` and the real `nix-store`.
//!
//! `cargo bench -p benches --bench nar` runs all of it (ten minutes) and prints a table of ratios at
//! the end; a filter behind `--`, such as `nar-dump-tree20k`, runs a part and prints that.
//! `NAR_BENCH_DATA` names a directory for the generated trees (1.5 GB, kept for the next run);
//! restores go to `NAR_BENCH_RESTORE`, by default `/dev/shm`. `BENCH_CLOCK=processor` measures
//! processor time, user's and system's, children included (these in ticks of 10 ms), for a machine
//! that others use too.
//!
//! `limit` makes the system calls that no dump or restore can do without, and nothing else. `nar-ahead`
//! is `nar::dump_ahead`, which has two threads; all others have one.

mod clock;
mod dump;
mod limit;
mod parse;
mod peers;
mod restore;
mod tree;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use criterion::Criterion;

use clock::Clock;
use tree::Tree;

fn main() {
    let start = SystemTime::now();
    let data = std::env::var_os("NAR_BENCH_DATA")
        .map_or_else(|| std::env::temp_dir().join("nar-bench"), PathBuf::from);
    let trees = [
        Tree::generate(&data, "big1g", 1, 1 << 30),
        Tree::generate(&data, "tree20k", 20_000, 8_900),
        Tree::generate(&data, "tree200k", 198_175, 100),
    ];
    let mut criterion = Criterion::default()
        .with_measurement(Clock::chosen())
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    for tree in &trees {
        dump::to_nothing(&mut criterion, tree);
        dump::and_hash(&mut criterion, tree);
        dump::to_pipe(&mut criterion, tree);
    }
    for tree in &trees {
        if tree.name == "tree200k" {
            parse::in_memory(&mut criterion, tree);
            parse::through_readers(&mut criterion, tree);
        }
        restore::to_memory(&mut criterion, tree);
    }
    criterion.final_summary();
    if let Err(error) = benches::ratios::print("nar-", "nar", start) {
        eprintln!("no table of ratios: {error}");
    }
}
