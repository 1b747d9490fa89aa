//! How long others on this host are waited for.

use std::time::Duration;

/// Bounds for every wait for another process that uses the coordinator's own store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostBounds {
    /// Whoever brings in the same output: an hour, as the largest may take over a slow link. A garbage
    /// collector that does not listen is given as long.
    pub output_lock: Duration,
    /// Whoever writes to the store's database: a minute.
    pub database: Duration,
    /// A program of the daemon's own that says nothing, `nix-store`, `nix-daemon` or `guix`: a minute. Opening
    /// a store takes some 20 ms unless others lock it; Guile needs 60 ms to start on an idle machine, and
    /// seconds on a loaded one.
    pub program: Duration,
}

impl Default for HostBounds {
    fn default() -> Self {
        HostBounds {
            output_lock: Duration::from_secs(3600),
            database: Duration::from_secs(60),
            program: Duration::from_secs(60),
        }
    }
}
