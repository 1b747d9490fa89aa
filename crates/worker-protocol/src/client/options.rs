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
    /// In Guix's dialect, the most bytes of requests that leave together, in one write; 0 sends each request
    /// when the one before it is answered. [`Options::TOGETHER`] where a write reaches the daemon whole: on a
    /// Unix socket, or through an SSH channel to one. Requests with data always go alone.
    ///
    /// When a guix-daemon begins to work on a request it takes bytes that wait on its socket for an error (`EOF
    /// expected`), and most often is gone without a word. What it has read is no matter: it reads up to 32 KiB at a time (1.2.0 and 1.5.0:
    /// 200 of 200 writes of 22 requests were answered as far as one write had them all, 0 of 5 of 44 KiB).
    pub together: usize,
}

impl Options {
    /// Half of what a guix-daemon reads at a time, and no more than the SSH servers that are known carry in one
    /// packet.
    pub const TOGETHER: usize = 16 << 10;

    /// Up to version 1.37 of Nix's dialect, without assumption.
    pub fn nix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::nix(37),
            assume: None,
            max_message: limit::MESSAGE,
            together: 0,
        }
    }

    /// Guix's dialect, without assumption, one request at a time.
    pub fn guix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::GUIX_NEWEST,
            assume: None,
            max_message: limit::MESSAGE,
            together: 0,
        }
    }
}
