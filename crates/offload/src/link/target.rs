//! Everything that has to be known to connect to a machine.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ssh_config::AddressFamily;
use super::{Credentials, HostKeys};

/// Bounds for everything that is waited for until a machine is ours, and while its link is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Name look-up and TCP connection, or the jump host's connection to the next one.
    pub connect: Duration,
    /// SSH version exchange and key exchange.
    pub key_exchange: Duration,
    /// Authentication, all keys together.
    pub authentication: Duration,
    /// Opening a channel.
    pub channel: Duration,
    /// The store daemon's greeting, on an open channel. Whoever asked for a build does nothing else
    /// meanwhile.
    pub greeting: Duration,
    /// The daemon's answers to anything but a build, once the greeting is over; and each piece of data
    /// that it takes in or sends. Old daemons make whoever adds a temporary root wait for a garbage
    /// collection.
    pub answer: Duration,
    /// Locks that other hooks on this host hold for a moment, while they choose a machine.
    pub lock: Duration,
    /// Silence on the link after which it is probed.
    pub keep_alive: Duration,
    /// Probes without an answer that end it.
    pub keep_alive_misses: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        let step = Duration::from_secs(10);
        Timeouts {
            connect: step,
            key_exchange: step,
            authentication: step,
            channel: step,
            greeting: Duration::from_secs(30),
            answer: Duration::from_secs(600),
            lock: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            keep_alive_misses: 3,
        }
    }
}

impl Timeouts {
    /// How long a link may be silent before it is given up.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.keep_alive.saturating_mul(self.keep_alive_misses)
    }
}

/// Which of a host's addresses are used, and from which of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRules {
    /// Addresses of this family only.
    pub family: AddressFamily,
    /// The address to connect from.
    pub bind: Option<String>,
}

/// How the host's SSH port is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// By TCP.
    #[default]
    Direct,
    /// Through a link to this host, which connects to the next.
    Jump(Box<SshTarget>),
    /// By the standard input and output of this command, which the shell runs.
    Command(String),
}

/// Everything needed to connect to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Remote user.
    pub user: String,
    /// Keys to authenticate with.
    pub credentials: Credentials,
    /// Keys that the host may show.
    pub host_keys: HostKeys,
    /// Bounds for every wait.
    pub timeouts: Timeouts,
    /// How the host is reached.
    pub route: Route,
    /// Which addresses are used where it is reached by TCP.
    pub addresses: AddressRules,
    /// Whether what is sent is compressed, if the host agrees.
    pub compression: bool,
    /// How far away the host was when it was last reached. Whoever accepts the connection may only pass it on.
    #[serde(skip)]
    pub round_trip: Option<Duration>,
    /// The socket of a broker that may have a connection to the host already.
    #[serde(skip)]
    pub broker: Option<PathBuf>,
}
