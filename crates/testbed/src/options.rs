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
    /// Which store daemon it has.
    pub kind: StoreKind,
    /// Arguments for its store daemon.
    pub daemon_arguments: Vec<String>,
    /// `NAME=VALUE` for its store daemon's environment.
    pub daemon_environment: Vec<String>,
    /// Lines for the end of its `/etc/ssh/sshd_config`.
    pub sshd_config: Vec<String>,
    /// Files and folders of the machine that it sees, too, such as the program under test.
    pub mounts: Vec<Mount>,
    /// What becomes of its store daemon.
    pub store: StoreDaemon,
    /// A file system of its own in memory for its store, of so many bytes; what is in it is gone when the host
    /// crashes, and [`Host::outside`](crate::Host::outside) does not see it.
    pub store_size: Option<u64>,
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

/// Which store daemon a host has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// nix-daemon.
    #[default]
    Nix,
    /// guix-daemon, which substitutes nothing and builds without a chroot.
    Guix,
}

impl StoreKind {
    /// The name of the daemon's program.
    pub fn daemon(self) -> &'static str {
        match self {
            Self::Nix => "nix-daemon",
            Self::Guix => "guix-daemon",
        }
    }

    /// The store's directory.
    pub fn store(self) -> &'static str {
        match self {
            Self::Nix => "/nix/store",
            Self::Guix => "/gnu/store",
        }
    }

    /// Where the daemon listens.
    pub fn socket(self) -> &'static str {
        match self {
            Self::Nix => "/nix/var/nix/daemon-socket/socket",
            Self::Guix => "/var/guix/daemon-socket/socket",
        }
    }
}

/// What becomes of a host's store daemon.
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
