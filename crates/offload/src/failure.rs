//! Why a build did not succeed, and the one place that says what follows from it.

use worker_protocol::BuildStatus;

use crate::job::JobError;
use crate::link::LinkError;
use crate::local::{ImportError, LocalError};

/// Why a build on a machine did not end in registered outputs.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The machine cannot be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The machine is there, but no way leads to its store daemon.
    #[error("no store daemon is reached: {0}")]
    NoDaemon(String),
    /// The machine's store daemon says something wrong, or nothing.
    #[error("failed to {action}: {error}")]
    Remote {
        /// What was being done with the daemon, as a verb.
        action: &'static str,
        /// What came of it.
        error: RemoteFailure,
    },
    /// The machine's daemon has never heard of what the build needs.
    #[error(
        "its store daemon is too old for {what}: protocol 1.{protocol}, where 1.{needed} is needed"
    )]
    TooOld {
        /// What it is too old for.
        what: &'static str,
        /// What it speaks.
        protocol: u8,
        /// What it would have to speak.
        needed: u8,
    },
    /// An output is not what it should be.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An output refers to something that it cannot know.
    #[error(
        "output {output} refers to {reference}, which is neither an input nor an output of the build"
    )]
    Reference {
        /// The output.
        output: String,
        /// What it refers to.
        reference: String,
    },
    /// A fixed output refers to itself: its content would follow from its path, not the path from the content.
    #[error("output {0} refers to itself, which a fixed output cannot")]
    FixedReference(String),
    /// A machine made another path of an input than the coordinator's.
    #[error("the machine made {made} of the input {input}")]
    OtherInput {
        /// The input.
        input: String,
        /// The machine's path.
        made: String,
    },
    /// A floating output does not lie where its content address says.
    #[error("output {output} does not follow from its content address, {address}")]
    Address {
        /// The output.
        output: String,
        /// What the machine says, or `none`.
        address: String,
    },
    /// The machine's realisation is one of another derivation.
    #[error("the machine has realised something else than output {output} of {path}")]
    Realisation {
        /// The derivation.
        path: String,
        /// The output's name.
        output: String,
    },
    /// The machine says that it has built, and has no such output.
    #[error("the machine has built, but its store lacks the output {0}")]
    MissingOutput(String),
    /// What comes back of a path is not what went there.
    #[error("what the machine sends back of {0} is not what it was sent")]
    Altered(String),
    /// A build ended without success.
    #[error("{message}")]
    Build {
        /// How it ended.
        status: BuildStatus,
        /// What the machine says.
        message: String,
    },
    /// A bound of the daemon's settings was reached.
    #[error("build {what} for more than {seconds} s")]
    TimedOut {
        /// `ran`, or `printed nothing`.
        what: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// The coordinator's own store is in trouble.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A path of the coordinator's store could not be read to the end.
    #[error("failed to read an input: {0}")]
    Dump(#[from] nar::DumpError),
    /// The derivation is not one that can be built elsewhere.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// What goes wrong in a conversation with a machine's store daemon.
#[derive(Debug, thiserror::Error)]
pub enum RemoteFailure {
    /// What the daemon itself says.
    #[error("{0}")]
    Daemon(worker_protocol::RemoteError),
    /// The conversation broke.
    #[error("failed to {0}")]
    Protocol(worker_protocol::Error),
    /// What a command on the machine said when it ended.
    #[error("{0}")]
    Command(String),
    /// The daemon is there, and says anything but what it was asked.
    #[error("more than {} MiB of messages, and no answer", .0 >> 20)]
    Talkative(u64),
    /// The daemon is there, and does not greet back.
    #[error("no greeting within {} s (bound greeting)", .0.as_secs_f32())]
    Unwelcoming(std::time::Duration),
    /// The daemon is there, and silent.
    #[error("no answer within {} s (bound answer)", .0.as_secs_f32())]
    Silent(std::time::Duration),
    /// The same, where a person waits: it is not worth as much time.
    #[error("no answer within {} s (bound greeting)", .0.as_secs_f32())]
    Mute(std::time::Duration),
}

impl From<worker_protocol::Error> for RemoteFailure {
    fn from(error: worker_protocol::Error) -> Self {
        match error {
            worker_protocol::Error::Remote(error) => RemoteFailure::Daemon(error),
            other => RemoteFailure::Protocol(other),
        }
    }
}

/// Whether a guix-daemon says that it has found a request that it did not wait for. It loses a byte of it, so that the
/// conversation is over.
pub(crate) fn speaks_of_hurry(error: &worker_protocol::RemoteError) -> bool {
    error.message.starts_with(b"EOF expected")
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Another machine may do better.
    TryAnother,
    /// The build fails, here and everywhere, until its derivation changes.
    Permanent,
    /// The build was given up for the time that it took.
    TimedOut,
    /// The coordinator is at fault: no machine would do better.
    GiveUp,
}

impl Failure {
    /// What follows.
    ///
    /// Only the builder's own verdict on the derivation is permanent. What a machine's daemon
    /// gives up for reasons of its own (no disk space, killed, a hook of its own that failed) may
    /// well succeed elsewhere.
    #[must_use]
    pub fn consequence(&self) -> Consequence {
        match self {
            Failure::Import(error) if error.is_of_this_host() => Consequence::GiveUp,
            Failure::Link(_)
            | Failure::NoDaemon(_)
            | Failure::TooOld { .. }
            | Failure::Remote { .. }
            | Failure::Import(_)
            | Failure::Reference { .. }
            | Failure::FixedReference(_)
            | Failure::OtherInput { .. }
            | Failure::Address { .. }
            | Failure::Realisation { .. }
            | Failure::Altered(_)
            | Failure::MissingOutput(_) => Consequence::TryAnother,
            Failure::Build { status, .. } => match status {
                BuildStatus::PermanentFailure
                | BuildStatus::OutputRejected
                | BuildStatus::CachedFailure
                | BuildStatus::LogLimitExceeded
                | BuildStatus::NotDeterministic
                | BuildStatus::HashMismatch => Consequence::Permanent,
                BuildStatus::TimedOut => Consequence::TimedOut,
                // Among them `InputRejected`, which 2.34.8 says for a system or a feature that the
                // machine itself does not have.
                _ => Consequence::TryAnother,
            },
            Failure::TimedOut { .. } => Consequence::TimedOut,
            Failure::Local(_) | Failure::Dump(_) | Failure::Job(_) => Consequence::GiveUp,
        }
    }
}

impl Failure {
    /// Whether the daemon is gone without a word.
    pub(crate) fn is_hanging_up(&self) -> bool {
        matches!(
            self,
            Failure::Remote {
                error: RemoteFailure::Protocol(
                    worker_protocol::Error::Closed { .. } | worker_protocol::Error::Io { .. }
                ),
                ..
            }
        )
    }

    /// Whether this is how a guix-daemon ends when it has found a request that it did not wait for: with a word
    /// about it, where it can, and else with none.
    pub(crate) fn is_end_of_hurry(&self) -> bool {
        self.is_hanging_up() || self.speaks_of_hurry()
    }

    /// See [`speaks_of_hurry`].
    pub(crate) fn speaks_of_hurry(&self) -> bool {
        match self {
            Failure::Remote {
                error: RemoteFailure::Daemon(error),
                ..
            } => speaks_of_hurry(error),
            _ => false,
        }
    }

    /// Whether the build itself ran and failed, so far as its machine can tell.
    pub(crate) fn is_of_the_build(&self) -> bool {
        match self {
            Failure::Build { status, .. } => matches!(
                status,
                BuildStatus::TransientFailure | BuildStatus::MiscFailure
            ),
            _ => false,
        }
    }
}

impl RemoteFailure {
    /// Names what was being done.
    pub(crate) fn during(self, action: &'static str) -> Failure {
        Failure::Remote {
            action,
            error: self,
        }
    }
}
