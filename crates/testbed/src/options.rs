//! What a pair and its hosts are to be.

use std::{path::PathBuf, time::Duration};

use crate::Distribution;

/// What a [`Pair`](crate::Pair) is to be. The default is one coordinator and one builder, both of this machine's
/// distribution, both with a store daemon, and no delay between them.
#[derive(Debug, Clone, Default)]
pub struct PairOptions {
    /// The host whose daemon wants things built. It runs no sshd.
    pub coordinator: HostOptions,
    /// The first builder, at 127.0.0.1.
    pub builder: HostOptions,
    /// More builders, at 127.0.0.2 and up; at most [`PairOptions::EXTRA_BUILDERS_MAX`].
    pub extra_builders: Vec<HostOptions>,
    /// The round trip time to the builders that [`Pair::machine_line`](crate::Pair::machine_line) goes through;
    /// zero is the loopback itself.
    pub round_trip: Duration,
}

impl PairOptions {
    /// One octet numbers the builders, and the first one is taken.
    pub const EXTRA_BUILDERS_MAX: usize = 200;
}

/// What a [`Host`](crate::Host) is to be.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// Where its programs come from.
    pub distribution: Distribution,
    /// Lines for the end of its `/etc/nix/nix.conf`.
    pub nix_conf: Vec<String>,
    /// Arguments for its nix-daemon.
    pub daemon_arguments: Vec<String>,
    /// Lines for the end of its `/etc/ssh/sshd_config`.
    pub sshd_config: Vec<String>,
    /// Files and folders of the machine that it sees, too, such as the program under test.
    pub mounts: Vec<Mount>,
    /// What becomes of its store daemon.
    pub store: StoreDaemon,
}

/// A file or folder of the machine that a host sees, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the machine.
    pub from: PathBuf,
    /// The absolute path that the host sees it at.
    pub to: PathBuf,
}

impl Mount {
    /// `from` of the machine at `to` of the host.
    pub fn new(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
        }
    }
}

/// What becomes of a host's nix-daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoreDaemon {
    /// It runs.
    #[default]
    Running,
    /// It does not run, but its program is there: root's `nix-daemon --stdio` opens the store by itself.
    Stopped,
    /// It does not run, and who logs in finds no program at all (an empty `PATH`): `nix-daemon: not found`.
    Absent,
}
