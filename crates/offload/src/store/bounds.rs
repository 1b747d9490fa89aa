//! How much a client may ask for, and how long it may take.

use std::time::Duration;

/// What one client can make the endpoint hold and wait for. Waiting for a machine or for the
/// coordinator's own daemon has bounds of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long its greeting may take, from the connection on.
    pub greeting: Duration,
    /// How long a request may take to come, from its first byte to its last. Data behind it does not
    /// count.
    pub request: Duration,
    /// How long data that belongs to a request may stay away, and how long it may take nothing of
    /// what it is sent. Somebody who stops a terminal stops the build's log, and comes back.
    pub silence: Duration,
    /// How long it may ask for nothing. Clients keep connections for later.
    pub idle: Duration,
    /// The most bytes of a request that are held, without the data behind it: a derivation with all
    /// its environment, a list of paths.
    pub request_size: usize,
    /// The most bytes of data behind one request. It is passed on as it comes.
    pub upload_size: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            // All of it leaves in one flight or two, from this host.
            greeting: Duration::from_secs(10),
            request: Duration::from_secs(60),
            silence: Duration::from_secs(600),
            idle: Duration::from_secs(24 * 3600),
            // Derivations of some tens of MiB exist.
            request_size: 64 << 20,
            // More than any path that is known of.
            upload_size: 1 << 40,
        }
    }
}
