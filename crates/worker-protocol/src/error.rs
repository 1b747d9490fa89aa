//! What can go wrong in a conversation, and whose doing it is.

use std::fmt;
use std::io;

use crate::{RemoteError, Version, wire};

/// A request's place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The handshake is 0, the first request 1.
    pub number: u64,
    /// The operation, as Nix names it.
    pub operation: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => f.write_str("the handshake"),
            number => write!(f, "request {number}, {}", self.operation),
        }
    }
}

/// Why there is no reply.
///
/// Messages complete a sentence that begins with "failed to "; that of [`Error::Remote`] is the peer's own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer reports that this one request failed. The connection can be used further, unless the peer closes it:
    /// then the next reply says so.
    #[error("{0}")]
    Remote(RemoteError),
    /// The daemon reports an error in the handshake: it will not talk to this client.
    #[error("be let in by the daemon: {0}")]
    Refused(RemoteError),
    /// The peer sent what the protocol does not allow. The connection is of no further use.
    #[error("{error}, in {place}")]
    Malformed {
        /// In which reply.
        place: Place,
        /// What was wrong, and where in the stream.
        error: wire::Error,
    },
    /// The peer ended the connection before this reply was complete.
    #[error("reach the peer: it closed the connection during {place}")]
    Closed {
        /// The reply that was waited for.
        place: Place,
    },
    /// Reading from or writing to the peer failed.
    #[error("reach the peer during {place}: {message}")]
    Io {
        /// The reply that was waited for.
        place: Place,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The failure.
        message: String,
    },
    /// The peer does not speak the protocol, or no version that is spoken here.
    #[error("agree on a protocol version with the peer: {0}")]
    Incompatible(Incompatible),
    /// The daemon is older than was assumed, so the requests that left with the handshake were encoded
    /// wrongly: connect again without the assumption.
    #[error("use protocol version {assumed} as assumed: the daemon has {daemon}")]
    AssumedTooMuch {
        /// What was assumed.
        assumed: Version,
        /// What the daemon has.
        daemon: Version,
    },
    /// The operation (or a value in it, or in its reply) does not exist at the agreed version. Nothing was sent.
    #[error("{action} {operation}{because} with protocol version {version}")]
    Unsupported {
        /// What was to be done: "send" it, or "answer" it.
        action: &'static str,
        /// The operation, as Nix names it.
        operation: &'static str,
        /// What of it is missing, with a space in front, or nothing.
        because: &'static str,
        /// The agreed version.
        version: Version,
    },
    /// The client sent less or more data than its request announces. The request can be failed, and the connection
    /// goes on.
    #[error("read the data of {place}: it is {} than announced", if *.more { "longer" } else { "shorter" })]
    WrongLength {
        /// The upload.
        place: Place,
        /// Whether it is more.
        more: bool,
    },
    /// The caller did something out of turn; the connection is as it was.
    #[error("{0}")]
    Misused(Misuse),
    /// The caller ended an upload before it was complete, or left open how much of its data was taken, so the
    /// connection is of no further use.
    #[error(
        "continue the conversation: the upload of {place} was abandoned{}",
        reason(because)
    )]
    Abandoned {
        /// The upload.
        place: Place,
        /// Why it could not go on; nothing if it was dropped.
        because: Option<Misuse>,
    },
}

/// How a handshake can fail.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatible {
    /// The peer's first word is not the protocol's.
    #[error("it began with {0:#x}")]
    Magic(u64),
    /// A version that is not spoken here.
    #[error("it announced version {0:#x}")]
    Version(u64),
    /// The version to announce and the one to assume are of different dialects. Nothing was sent.
    #[error("version {assumed} was assumed, and {version} is to be announced")]
    Dialects {
        /// What was to be announced.
        version: Version,
        /// What was assumed.
        assumed: Version,
    },
    /// A version below the one that requests were already encoded for, in the serve protocol: connect again
    /// without the assumption.
    #[error("it announced version {0:#x}, less than was assumed")]
    OlderThanAssumed(u64),
}

/// What a caller can do out of turn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// Replies are read in the order of their requests.
    #[error("read the reply of request {wanted} before that of {next}")]
    OutOfOrder {
        /// The number of the request whose reply was asked for.
        wanted: u64,
        /// The request whose reply is next.
        next: Place,
    },
    /// A ticket of another connection.
    #[error("read the reply of {next} as that of {wanted}")]
    ForeignTicket {
        /// The request of the ticket.
        wanted: Place,
        /// The request that has this number here.
        next: Place,
    },
    /// This reply was read already.
    #[error("read the reply of request {0} twice")]
    AlreadyRead(u64),
    /// The version is not yet known, and none was assumed.
    #[error("send a request before the handshake")]
    BeforeHandshake,
    /// An upload is under way.
    #[error("send a request within the upload of {0}")]
    WithinUpload(Place),
    /// Data was given, or an upload ended, where none is under way: it was never begun, or it is over because the
    /// daemon answered with an error.
    #[error("send data where no upload is under way")]
    NoUpload,
    /// A command of the serve protocol holds what has no bytes there. Nothing was sent.
    #[error("send {command}{because}")]
    Inexpressible {
        /// The command, as Nix names it.
        command: &'static str,
        /// What it holds, with a space in front.
        because: &'static str,
    },
    /// A request whose data goes with it has to be begun as an upload.
    #[error("send {0} without its data")]
    WithoutData(Place),
    /// More data than was announced.
    #[error("upload {given} bytes where {left} are left")]
    TooMuchData {
        /// Bytes that were given.
        given: u64,
        /// Bytes that were left of what was announced.
        left: u64,
    },
    /// Less data than was announced.
    #[error("end an upload with {missing} bytes missing")]
    TooLittleData {
        /// Bytes that are missing.
        missing: u64,
    },
    /// More or fewer paths than was announced.
    #[error("upload {given} paths where {announced} were announced")]
    PathCount {
        /// Paths that were given.
        given: u64,
        /// Paths that were announced.
        announced: u64,
    },
    /// More of earlier replies came than are kept while something is sent.
    #[error("send more before {0} bytes of earlier replies are read")]
    UnreadReplies(usize),
    /// No raw data follows here.
    #[error("read raw data where none follows")]
    NoRawData,
    /// The next request was asked for before this one was answered.
    #[error("read a request before the one at hand is answered")]
    Unanswered,
    /// The request has data whose end only its decoder finds, and it was not read to its end.
    #[error("answer a request whose data was not read to its end")]
    UnreadData,
    /// No request waits, or one of another operation, or its data was not read.
    #[error("answer where no request waits")]
    NoRequest,
}

fn reason(because: &Option<Misuse>) -> String {
    match because {
        Some(misuse) => format!(" (failed to {misuse})"),
        None => String::new(),
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Error {
        Error::Misused(misuse)
    }
}

impl Error {
    /// Whether the connection can be used after this error.
    pub fn is_survivable(&self) -> bool {
        matches!(
            self,
            Error::Remote(_)
                | Error::Misused(_)
                | Error::Unsupported { .. }
                | Error::WrongLength { .. }
        )
    }

    /// The same failure as seen from another outstanding request.
    pub(crate) fn seen_from(&self, other: Place) -> Error {
        let mut error = self.clone();
        if let Error::Closed { place } | Error::Io { place, .. } = &mut error {
            *place = other;
        }
        error
    }
}
