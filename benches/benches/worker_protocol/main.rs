//! The worker protocol: decoding, pipelining, uploads and archives, with a real nix-daemon where one is
//! measured, beside one request at a time and beside plain copies of the same bytes. The crates that could stand beside
//! it are under licences that we do not take in (EUPL, GPL).
//!
//! `cargo bench -p benches --bench worker_protocol -- FILTER` runs a part in less than a minute: `decode`,
//! `valid`, `add` or `nar`. All but `decode` start this machine's nix-daemon, over stores in temporary
//! directories of their own; that needs root.

mod add;
mod daemon;
mod decode;
mod nar;
mod valid;

use std::time::Duration;

use criterion::Criterion;

use crate::daemon::Daemon;

/// How much is handed on at a time, and read by those who only copy.
const CHUNK: usize = 256 << 10;

/// The word behind a daemon's log.
const LAST: u64 = 0x616c_7473;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    decode::bench(&mut criterion);
    match Daemon::is_here() {
        Ok(()) => {
            valid::bench(&mut criterion, &runtime);
            add::bench(&mut criterion, &runtime);
            nar::bench(&mut criterion, &runtime);
        }
        Err(reason) => eprintln!("LEFT OUT: all that needs a real nix-daemon: {reason}"),
    }
    criterion.final_summary();
}
