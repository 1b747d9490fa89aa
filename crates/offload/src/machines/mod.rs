//! The machine list: what builders there are and what each of them offers.
//!
//! One model, [`Machine`], and one reader per format. A reader never fails as a whole: an entry it
//! cannot understand becomes a [`Problem`] that names file and line, and the other entries stand.
//! Only what is no list at all, which a Scheme program may be, leaves none.

mod compression;
mod convert;
mod host;
mod list;
mod nix;
pub mod scheme;
mod store_uri;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod toml;
mod watch;
mod word;

pub use compression::{Compression, CompressionMethod, UnknownCompression};
pub use convert::{Converted, Format, Unsayable, convert};
pub use host::{HostLists, host_system};
pub use list::{Found, IncludeError, MachineList, SourceFile, read_builders, read_list};
pub use store_uri::{Scheme, StoreUri, StoreUriError};
pub use watch::{FileWatch, Reread, WatchedList};

use self::word::flag;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// Where a machine entry stood, for messages: `/etc/nix/machines:3`, `/etc/guix/machines.scm:3:7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What held the entry: a file's path, or the name of the setting for an inline entry.
    pub source: String,
    /// Line, counted from 1.
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
    /// The command that speaks for its store daemon where the socket cannot be reached, as words
    /// for the login shell there; empty means the usual one.
    pub remote_program: Vec<String>,
    /// Which store that command opens, `--store`; `None` means its own default.
    pub remote_store: Option<String>,
    /// Most connections that one process keeps to it at a time. Stock Nix forces 1 for `ssh://` and
    /// shares one connection from 2 on for `ssh-ng://`; a hook, which has one build, needs just one
    /// whatever this says.
    pub max_connections: Option<u32>,
    /// From this load on, per core, it gets no more builds; `None` means that its load does not
    /// matter. Nix's lists know no such thing.
    pub overload_threshold: Option<f64>,
    /// Whether the entry says everything, as Guix's do: no configuration file has a say in its port and compression.
    pub is_complete: bool,
    /// Where the entry stood.
    pub origin: Origin,
}

impl Machine {
    /// A machine of which nothing is known but its URI, whose parameters count: `ssh-key`,
    /// `base64-ssh-public-host-key`, `compress`, `remote-program`, `remote-store`,
    /// `system-features` and `max-connections`, as in stock Nix.
    ///
    /// Stock knows `system-features`, too, but not when it chooses a machine (2.8.0 to 2.34.8): what
    /// they name is offered here, like the features of the list's own column.
    ///
    /// # Errors
    /// When a parameter is not of its type.
    pub(super) fn from_uri(
        uri: StoreUri,
        system: &str,
        origin: Origin,
    ) -> Result<Self, ProblemKind> {
        let parameter = |name| uri.parameter(name).filter(|value| !value.is_empty());
        let words = |name| {
            let words = parameter(name).unwrap_or_default().split_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let compress = parameter("compress").map_or(Ok(false), |value| flag("compress", value))?;
        let host_key = parameter("base64-ssh-public-host-key").map(word::base64_host_key);
        let connections = parameter("max-connections").map(word::max_connections);
        Ok(Machine {
            name: uri.to_string(),
            systems: [system.to_owned()].into(),
            ssh_key: parameter("ssh-key").map(PathBuf::from),
            max_jobs: 1,
            speed_factor: 1.0,
            supported_features: word::names(words("system-features"))?,
            mandatory_features: BTreeSet::new(),
            host_key: host_key.transpose()?,
            compression: Compression::when(compress),
            daemon_socket: None,
            overload_threshold: None,
            is_complete: false,
            remote_program: words("remote-program"),
            remote_store: parameter("remote-store").map(str::to_owned),
            max_connections: connections.transpose()?,
            origin,
            uri,
        })
    }

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

/// Something that is wrong in a machine list, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Where it stood.
    pub origin: Origin,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What follows from a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is good to know.
    None,
    /// A part of an entry does not count.
    Ignored,
    /// An entry is not there; the others stand.
    MachineSkipped,
    /// None of the entries stand.
    ListSkipped,
}

impl Effect {
    /// In words; empty where nothing follows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::None => "",
            Effect::Ignored => "ignored",
            Effect::MachineSkipped => "machine skipped",
            Effect::ListSkipped => "list skipped",
        }
    }
}

impl Problem {
    pub(crate) fn new(origin: Origin, kind: impl Into<ProblemKind>) -> Self {
        Problem {
            origin,
            kind: kind.into(),
        }
    }

    /// What follows from it.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match &self.kind {
            ProblemKind::Scheme(problem) => problem.effect(),
            ProblemKind::Endpoint => Effect::None,
            ProblemKind::ExtraColumn(_) | ProblemKind::Name(_) => Effect::Ignored,
            ProblemKind::Include(_) | ProblemKind::Machines(_) | ProblemKind::Version(_) => {
                Effect::ListSkipped
            }
            _ => Effect::MachineSkipped,
        }
    }

    /// Whether it leaves no machine.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.effect() == Effect::ListSkipped
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if self.effect() != Effect::None {
            write!(f, "{}: ", self.effect().as_str())?;
        }
        write!(f, "{}", self.kind)
    }
}

/// What can be wrong in a machine list.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemKind {
    /// The store URI does not name a machine.
    #[error(transparent)]
    Uri(#[from] StoreUriError),
    /// The number of builds is not a whole number.
    #[error("number of builds is not a whole number: {0:?}")]
    MaxJobs(String),
    /// The number of connections is not a whole number above 0.
    #[error("number of connections is not a whole number above 0: {0:?}")]
    MaxConnections(String),
    /// The speed factor is not a finite number, or below 0.
    #[error("speed factor is not a number from 0 on: {0:?}")]
    SpeedFactor(String),
    /// The load from which on a machine is left alone is not a finite number above 0.
    #[error("overload threshold is not a number above 0: {0:?}")]
    OverloadThreshold(String),
    /// The host key column is not base64 of an OpenSSH public key line.
    #[error("host key is not the base64 of a public key line: {0:?}")]
    HostKey(String),
    /// The host key is not an OpenSSH public key line.
    #[error("host key is no public key line such as \"ssh-ed25519 AAAA..\": {0:?}")]
    HostKeyLine(String),
    /// Neither yes nor no.
    #[error("{name} is neither true nor false: {value:?}")]
    Flag {
        /// What should be one of them.
        name: &'static str,
        /// What it is.
        value: String,
    },
    /// A compression level that zlib does not have.
    #[error("compression level is not from 1 to 9: {0}")]
    CompressionLevel(u8),
    /// A system or feature that no machine list can hold.
    #[error("system or feature is not one word without commas: {0:?}")]
    Word(String),
    /// More columns than the format has. They are ignored, as stock does.
    #[error("more than 8 columns: {0:?} and what follows")]
    ExtraColumn(String),
    /// A machine in TOML that has neither a `uri` nor a `host`, or both.
    #[error("machine needs either a uri or a host (with user, port and protocol)")]
    Address,
    /// Text that is not TOML, or a value of the wrong type or name.
    #[error("{0}")]
    Toml(String),
    /// A name in TOML that says nothing.
    #[error("name is none of version and machines: {0:?}")]
    Name(String),
    /// What should be the table of all machines is none.
    #[error("machines is not a table: {0}")]
    Machines(&'static str),
    /// A later edition of the TOML format.
    #[error("version of the machine list is not 1: {0}")]
    Version(String),
    /// An entry of the endpoint's list would have it hand builds to itself, for ever.
    #[error("this entry is the endpoint itself, and is left out")]
    Endpoint,
    /// A file named by `@FILE` could not be read.
    #[error(transparent)]
    Include(#[from] IncludeError),
    /// A method of compression that SSH does not have.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// Something is wrong in a program whose value is a machine list.
    #[error(transparent)]
    Scheme(#[from] scheme::SchemeProblem),
}
