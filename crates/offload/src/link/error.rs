//! Why a machine cannot be reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, HostKeyError};

/// Why a machine cannot be reached. Complete with "failed to reach MACHINE: ".
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The SSH configuration leads nowhere.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The private key file cannot be read.
    #[error("failed to read the private key {}: {reason}", file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The private key is protected by a passphrase, which nobody is there to type.
    #[error(
        "private key is protected by a passphrase, which only an agent could use here: {}", .0.display()
    )]
    Passphrase(PathBuf),
    /// There is no key at all to try.
    #[error("no private key is given, no agent either, and none of these is of use: {0}")]
    NoKey(String),
    /// The host key is refused.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No TCP connection.
    #[error("failed to connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// The command that should have connected did not.
    #[error("failed to connect by ProxyCommand {command:?}: {reason}")]
    Command {
        /// Its program: arguments may be secret, and this is told to clients.
        command: String,
        /// What it said, or what became of it.
        reason: String,
    },
    /// A host on the way is in trouble.
    #[error("failed to reach the jump host {host}: {error}")]
    Jump {
        /// That host.
        host: String,
        /// Its trouble.
        error: Box<LinkError>,
    },
    /// A step took longer than its bound.
    #[error("no answer within {} s to {step}", limit.as_secs_f32())]
    TimedOut {
        /// What was waited for.
        step: Step,
        /// How long.
        limit: Duration,
    },
    /// The host refuses every key.
    #[error("user {user} is refused with {keys}")]
    Refused {
        /// The remote user.
        user: String,
        /// The keys that were tried, and why others were not.
        keys: String,
    },
    /// A channel could not be opened.
    #[error("{way} is refused: {reason}")]
    Channel {
        /// What the channel should have reached.
        way: String,
        /// What the host said.
        reason: String,
    },
    /// What a broker says of the machine.
    #[error("{0}")]
    Kept(String),
    /// The broker itself is in trouble.
    #[error("broker at {}: {reason}", socket.display())]
    Broker {
        /// Its socket.
        socket: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Anything else in the SSH protocol.
    #[error("ssh: {0}")]
    Ssh(String),
}

impl LinkError {
    /// What else goes wrong in the SSH protocol.
    pub(super) fn ssh(error: russh::Error) -> Self {
        LinkError::Ssh(error.to_string())
    }
}

/// Something that is waited for while a link is set up. Shows the bound that a person can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bound `connect`; OpenSSH's `ConnectTimeout`.
    Connect,
    /// Bound `key-exchange`; OpenSSH's `ConnectTimeout`.
    KeyExchange,
    /// Bound `authentication`.
    Authentication,
    /// Bound `channel`.
    Channel,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Connect => "the connection (bound connect, or ConnectTimeout)",
            Step::KeyExchange => "the SSH key exchange (bound key-exchange, or ConnectTimeout)",
            Step::Authentication => "SSH authentication (bound authentication)",
            Step::Channel => "the opening of a channel (bound channel)",
        })
    }
}
