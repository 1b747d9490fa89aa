//! Authenticated ways to a machine: a connection of our own, or one that a broker keeps. A link hands out plain byte streams; nothing above this room
//! knows that SSH carries them, and no type of russh's leaves it.
//!
//! [`SshSettings`] makes an [`SshTarget`] of a machine's entry and of what OpenSSH's files and
//! variables say to the user who runs this ([`Identity`]); [`SshLink`] connects to it.

mod authenticate;
mod channel;
mod error;
mod host_key;
mod identity;
mod kept;
mod keys;
mod known_hosts;
mod pattern;
mod prompt_ack;
mod ssh;
mod ssh_config;
mod stream;
mod target;
mod transport;

use std::time::Duration;

pub(crate) use kept::{Answer, Ask, Asked, Codec, Frame};

pub use error::{LinkError, Step};
pub use host_key::{HostKeyError, HostKeys};
pub use identity::{ConfigError, Destination, Identity, Plan, SshSettings};
pub use kept::KeptLink;
pub use keys::{Credentials, KeyChoice};
pub use ssh::SshLink;
pub use ssh_config::{AddressFamily, Place, TokenError, Warning};
pub use stream::{ByteStream, Traffic};
pub use target::{AddressRules, Route, SshTarget, Timeouts};

/// An authenticated way to a machine.
#[derive(Debug)]
pub enum Link {
    /// A connection of our own.
    Own(Box<SshLink>),
    /// One that a broker keeps.
    Kept(Box<KeptLink>),
}

impl Link {
    /// Connects and authenticates, unless the target's broker has done so already.
    ///
    /// # Errors
    /// As [`SshLink::connect`].
    pub async fn connect(target: &SshTarget) -> Result<Self, LinkError> {
        if let Some(broker) = &target.broker
            && let Some(link) = KeptLink::connect(broker, target).await?
        {
            return Ok(Link::Kept(Box::new(link)));
        }
        let link = SshLink::connect(target).await?;
        Ok(Link::Own(Box::new(link)))
    }

    /// As [`SshLink::open_socket`].
    ///
    /// # Errors
    /// The same.
    pub async fn open_socket(&self, path: &str) -> Result<ByteStream, LinkError> {
        match self {
            Link::Own(link) => link.open_socket(path).await,
            Link::Kept(link) => link.open(Asked::Socket(path.to_owned())).await,
        }
    }

    /// As [`SshLink::exec`].
    ///
    /// # Errors
    /// The same.
    pub async fn exec(&self, command: &str) -> Result<ByteStream, LinkError> {
        match self {
            Link::Own(link) => link.exec(command).await,
            Link::Kept(link) => link.open(Asked::Command(command.to_owned())).await,
        }
    }

    /// As [`SshLink::exec_and_listen`].
    ///
    /// # Errors
    /// The same.
    pub async fn exec_and_listen(&self, command: &str) -> Result<ByteStream, LinkError> {
        match self {
            Link::Own(link) => link.exec_and_listen(command).await,
            Link::Kept(link) => link.open(Asked::CommandAndErrors(command.to_owned())).await,
        }
    }

    /// As [`SshLink::round_trip`]; not known of a connection that a broker keeps.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        match self {
            Link::Own(link) => link.round_trip(),
            Link::Kept(_) => None,
        }
    }

    /// Whether this is a broker's link, and a stream broke between the broker and us: the machine may
    /// not be to blame for it.
    #[must_use]
    pub fn has_lost_its_broker(&self) -> bool {
        match self {
            Link::Own(_) => false,
            Link::Kept(link) => link.has_lost_its_broker(),
        }
    }

    /// Ends our own connection; a broker keeps its.
    pub async fn close(self) {
        match self {
            Link::Own(link) => link.close().await,
            Link::Kept(_) => {}
        }
    }
}

/// A strategy for property tests, and the oracles of the fuzz targets, which panic where something
/// does not hold that has to.
#[cfg(any(test, feature = "testing"))]
pub mod testing {
    /// Texts of `ssh_config` files that say something most of the time.
    pub fn ssh_config_file() -> impl proptest::strategy::Strategy<Value = String> {
        super::ssh_config::testing::file()
    }

    /// Any text as an `ssh_config` file and as `NIX_SSHOPTS`.
    pub fn ssh_config(data: &[u8]) {
        super::ssh_config::testing::oracle(data);
    }

    /// Any text as a known_hosts file.
    pub fn known_hosts(data: &[u8]) {
        super::known_hosts::testing::oracle(data);
    }
}
