//! OpenSSH's client configuration: `~/.ssh/config`, `/etc/ssh/ssh_config` and command lines, as
//! far as they say how a machine is reached.
//!
//! [`words`] takes a line apart, [`parse`] a file (both without I/O), [`load`] reads files and
//! what they include, [`resolve`] finds what all lines mean for one host: in the order of the
//! lines, and the first that sets something wins. [`command_line`] makes lines of `NIX_SSHOPTS`.
//! Names of files and commands still hold their `%`-tokens then; [`tokens`] expands them.
//!
//! What is honoured, what is silently left out and what is told to be left out stands in
//! [`keyword`]. A line that is not understood is told and left out; OpenSSH would not start.
//!
//! An own reader, because russh-config 0.58 has neither `Match` nor `Include` nor positions, and
//! ssh2-config 0.9 no `Match`, no tokens, and comes with 5,000 lines about algorithms.

mod command_line;
mod keyword;
mod load;
mod parse;
mod resolve;
mod setting;
mod tokens;
mod words;

#[cfg(test)]
mod parity;
#[cfg(any(test, feature = "testing"))]
mod print;
#[cfg(any(test, feature = "testing"))]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub(super) use command_line::{CommandLine, Files};
pub(super) use keyword::Keyword;
pub(super) use load::{Folders, SshConfig};
pub(super) use setting::Setting;
pub(super) use tokens::{Tokens, host_name, program};

use std::fmt;
use std::time::Duration;

pub use parse::Place;
pub use tokens::TokenError;

/// Something in a configuration that is left out, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// What is left out, and why.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Which addresses a host may be reached by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AddressFamily {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A host that `ProxyJump` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JumpHost {
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
}

/// How a connection is made where it is not by TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proxy {
    /// `ProxyJump none`: by TCP, unless a later line has a command.
    NoJump,
    /// `ProxyCommand none`: by TCP, whatever later lines say.
    None,
    /// Through these hosts, the first one first.
    Jump(Vec<JumpHost>),
    /// By the standard input and output of this command; tokens are not expanded yet.
    Command(String),
}

/// What the configuration says of one host. `None` where it says nothing; files are as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) address_family: Option<AddressFamily>,
    pub(super) bind_address: Option<String>,
    pub(super) certificate_files: Vec<String>,
    pub(super) compression: Option<bool>,
    /// The inner `None` is 0.
    pub(super) connect_timeout: Option<Option<Duration>>,
    pub(super) global_known_hosts: Option<Vec<String>>,
    pub(super) host_key_alias: Option<String>,
    pub(super) host_name: Option<String>,
    pub(super) identities_only: Option<bool>,
    pub(super) identity_agent: Option<String>,
    pub(super) identity_files: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) proxy: Option<Proxy>,
    pub(super) revoked_host_keys: Option<String>,
    pub(super) alive_count_max: Option<u32>,
    /// The inner `None` is 0.
    pub(super) alive_interval: Option<Option<Duration>>,
    pub(super) user: Option<String>,
    pub(super) user_known_hosts: Option<Vec<String>>,
    /// What was left out on the way.
    pub(super) warnings: Vec<Warning>,
}
