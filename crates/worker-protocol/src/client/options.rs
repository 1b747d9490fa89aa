use store_path::StoreDir;

#[cfg(doc)]
use crate::Error;
use crate::Version;
use crate::wire::limit;

/// How a client introduces itself. Make one with `Options { .., ..Options::nix(store_dir) }`: there will be more fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the daemon's store has its paths.
    pub store_dir: StoreDir,
    /// The version to announce: the highest that may be agreed on. It also chooses the dialect.
    ///
    /// With up to 1.37 the whole handshake leaves in one write; 1.38 has an exchange of features, for
    /// which the client must first know that the daemon has it, too.
    pub version: Version,
    /// The version that the daemon is believed to have at least. Requests can then be queued (and sent) before the
    /// first byte came from the daemon. The session announces the lower of this and `version`, so every
    /// daemon that is not older does as expected; an older one makes all requests fail with
    /// [`Error::AssumedTooMuch`]. It has to be of the same dialect.
    pub assume: Option<Version>,
    /// The most bytes that one message of the daemon may have: a larger one ends the connection as
    /// [`Kind::TooLarge`](crate::wire::Kind::TooLarge). Archives and other data do not count.
    pub max_message: usize,
}

impl Options {
    /// Up to version 1.37 of Nix's dialect, without assumption.
    pub fn nix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::nix(37),
            assume: None,
            max_message: limit::MESSAGE,
        }
    }

    /// Guix's dialect, without assumption.
    pub fn guix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::GUIX_NEWEST,
            assume: None,
            max_message: limit::MESSAGE,
        }
    }
}
