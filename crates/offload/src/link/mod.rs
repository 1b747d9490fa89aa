//! Authenticated ways to a machine. A link hands out plain byte streams; nothing above this room
//! knows that SSH carries them, and no type of russh's leaves it.
//!
//! [`SshSettings`] makes an [`SshTarget`] of a machine's entry and of what OpenSSH's files and
//! variables say to the user who runs this ([`Identity`]); [`SshLink`] connects to it.

mod authenticate;
mod channel;
mod error;
mod host_key;
mod identity;
mod keys;
mod known_hosts;
mod pattern;
mod prompt_ack;
mod ssh;
mod ssh_config;
mod stream;
mod target;
mod transport;

pub use error::{LinkError, Step};
pub use host_key::{HostKeyError, HostKeys};
pub use identity::{ConfigError, Destination, Identity, Plan, SshSettings};
pub use keys::{Credentials, KeyChoice};
pub use ssh::SshLink;
pub use ssh_config::{AddressFamily, Place, TokenError, Warning};
pub use stream::{ByteStream, Traffic};
pub use target::{AddressRules, Route, SshTarget, Timeouts};

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
