//! The machine list: what builders there are and what each of them offers.
//!
//! One model, [`Machine`], and one reader per format. A reader never fails as a whole: an entry it
//! cannot understand becomes a [`Problem`] that names file and line, and the other entries stand.

mod compression;
mod nix;
mod store_uri;

pub use compression::{Compression, CompressionMethod, UnknownCompression};
pub use nix::{IncludeError, read_builders};
pub use store_uri::{Scheme, StoreUri, StoreUriError};

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// Where a machine entry stood, for messages: `/etc/nix/machines:3`, `/etc/guix/machines.scm:3:7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What held the entry: a file's path, or the name of the setting for an inline entry.
    pub source: String,
    /// Line, counted from 1. In an inline setting every `;` starts a new line.
    pub line: usize,
    /// Byte in the line, counted from 1, where an entry does not have its lines to itself.
    pub column: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// One entry of the machine list: a builder and what it offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What messages and the build's trace call it: a store URI in Nix's lists, a name in Guix's.
    pub name: String,
    /// How the builder is reached. Guix's lists have its parts: `ssh://user@name:port`.
    pub uri: StoreUri,
    /// Systems it builds for, `x86_64-linux`; never empty.
    pub systems: BTreeSet<String>,
    /// Private key file to authenticate with; `None` means the user's own default keys.
    pub ssh_key: Option<PathBuf>,
    /// Builds it may run at a time, all coordinators' hooks on this host together. 0 disables it.
    pub max_jobs: u32,
    /// Relative speed; finite and greater than 0, 1 where the list says nothing.
    pub speed_factor: f64,
    /// Features it offers to those derivations that ask for them.
    pub supported_features: BTreeSet<String>,
    /// Features it offers *and* insists on: it only takes derivations that ask for all of these.
    pub mandatory_features: BTreeSet<String>,
    /// The host's public keys in OpenSSH's one-line form (`ssh-ed25519 AAAA..`), decoded from the
    /// list's base64 column. `None` means that known_hosts decides.
    pub host_key: Option<String>,
    /// How what passes over the connection is compressed.
    pub compression: Compression,
    /// The socket of its store daemon; `None` means the usual one.
    pub daemon_socket: Option<String>,
    /// From this load on, per core, it gets no more builds; `None` means that its load does not
    /// matter. Nix's lists know no such thing.
    pub overload_threshold: Option<f64>,
    /// Where the entry stood.
    pub origin: Origin,
}

impl Machine {
    /// Whether the machine builds for `system`. `builtin` is no system: every machine has it
    /// (Nix 2.26.3 and 2.34.8 treat it so).
    #[must_use]
    pub fn supports_system(&self, system: &str) -> bool {
        system == "builtin" || self.systems.contains(system)
    }

    /// Those of `required` that the machine does not offer, in their order.
    #[must_use]
    pub fn missing_features<'a>(&self, required: &'a [String]) -> Vec<&'a str> {
        required
            .iter()
            .map(String::as_str)
            .filter(|feature| {
                !self.supported_features.contains(*feature)
                    && !self.mandatory_features.contains(*feature)
            })
            .collect()
    }

    /// The mandatory features that `required` does not ask for.
    #[must_use]
    pub fn unmet_mandatory_features(&self, required: &[String]) -> Vec<&str> {
        self.mandatory_features
            .iter()
            .map(String::as_str)
            .filter(|feature| !required.iter().any(|asked| asked == feature))
            .collect()
    }
}

/// An entry of a machine list that could not be understood. The others still work.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Where it stood.
    pub origin: Origin,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: machine skipped: {}", self.origin, self.kind)
    }
}

/// What can be wrong with an entry of a machine list.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemKind {
    /// The store URI does not name a machine.
    #[error(transparent)]
    Uri(#[from] StoreUriError),
    /// The number of builds is not a whole number.
    #[error("number of builds is not a whole number: {0:?}")]
    MaxJobs(String),
    /// The speed factor is not a finite number above 0.
    #[error("speed factor is not a number above 0: {0:?}")]
    SpeedFactor(String),
    /// The host key column is not base64 of an OpenSSH public key line.
    #[error("host key is not the base64 of a public key line: {0:?}")]
    HostKey(String),
    /// More columns than the format has.
    #[error("more than 8 columns: {0:?} and what follows")]
    ExtraColumn(String),
    /// A file named by `@FILE` could not be read.
    #[error(transparent)]
    Include(#[from] IncludeError),
}

/// What was read from a machine list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineList {
    /// The entries that were understood, in their order.
    pub machines: Vec<Machine>,
    /// The entries that were not.
    pub problems: Vec<Problem>,
}
