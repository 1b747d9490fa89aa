//! What can go wrong with a bed, always naming the host and what it was asked.

use std::{io, time::Duration};

use crate::Output;

/// Why a bed did not start, or a host did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation of the machine itself failed.
    #[error("failed to {action}: {source}")]
    Machine {
        /// What was tried, as an infinitive with its object.
        action: String,
        /// What the machine said.
        source: io::Error,
    },
    /// A host ended, or one of its services was not reachable in time.
    #[error("{host} did not come up: {reason}\n{logs}")]
    NotUp {
        /// The host's name.
        host: String,
        /// What was waited for.
        reason: String,
        /// The last lines of the host's logs.
        logs: String,
    },
    /// A command ran longer than it may; it was killed.
    #[error("{host}: `{command}` was killed after {limit:?}, having printed\n{printed}")]
    Overran {
        /// The host's name.
        host: String,
        /// The command and its arguments.
        command: String,
        /// How long it was allowed to run.
        limit: Duration,
        /// The end of what it had printed on both streams.
        printed: String,
    },
    /// A command that had to succeed did not.
    #[error("{host}: `{command}` ended with {}, having printed\n{}{}\n{logs}", output.status, output.stdout, output.stderr)]
    Failed {
        /// The host's name.
        host: String,
        /// The command and its arguments.
        command: String,
        /// What it left.
        output: Box<Output>,
        /// The last lines of the host's logs.
        logs: String,
    },
    /// The processor time of a host is not known.
    #[error("the processor time of {host} is not measured: {reason}")]
    NotMeasured {
        /// The host's name.
        host: String,
        /// Why not.
        reason: String,
    },
}

/// Adds what was tried to an error of the machine.
pub(crate) trait While<T> {
    /// `action` is an infinitive with its object: "start sshd".
    fn while_trying(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> While<T> for Result<T, E> {
    fn while_trying(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::Machine {
            action: action(),
            source: error.into(),
        })
    }
}
