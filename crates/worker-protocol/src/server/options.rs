use store_path::StoreDir;

use crate::Version;
use crate::wire::{Text, limit};

/// How a server introduces itself. Make one with `Options { .., ..Options::nix(store_dir, version) }`: there will be
/// more fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the store has its paths.
    pub store_dir: StoreDir,
    /// The version to announce: the highest that may be agreed on. It also chooses the dialect.
    pub version: Version,
    /// The server's own version, which clients show to people (told from 1.33 on).
    pub daemon_version: Text,
    /// Whether the client is trusted, if that is to be told (from 1.35 on).
    pub trusted: Option<bool>,
    /// The most bytes that one message of the client may have: a larger one is answered with an error, and ends the
    /// connection as [`Kind::TooLarge`](crate::wire::Kind::TooLarge). Archives and other data do not count.
    pub max_message: usize,
}

impl Options {
    /// The newest version of Nix's dialect.
    pub fn nix(store_dir: StoreDir, daemon_version: impl Into<Text>) -> Options {
        let daemon_version = daemon_version.into();
        Options {
            store_dir,
            version: Version::NIX_NEWEST,
            daemon_version,
            trusted: None,
            max_message: limit::MESSAGE,
        }
    }

    /// The newest version of Guix's dialect.
    pub fn guix(store_dir: StoreDir) -> Options {
        let version = Version::GUIX_NEWEST;
        Options {
            version,
            ..Options::nix(store_dir, "")
        }
    }
}
