//! What a machine is asked for the sake of a person: whether it would do, step by step
//! ([`Probe::test`]), and how it stands ([`Probe::status`]); and which machine a build would get
//! ([`explain`]). Nothing here prints; every wait is bounded.

mod advice;
mod explain;
mod guix;
mod load;
mod status;
mod test;

pub use explain::{DemandError, Demanded, Explanation, Knowing, explain};
pub use load::{Disk, Host, Load};
pub use status::{Status, Up};
pub use test::{Passed, TestReport};

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use store_path::StoreDir;
use worker_protocol::Dialect;

use crate::failure::{Failure, RemoteFailure};
use crate::health::Knowledge;
use crate::link::{
    Destination, HostKeyError, LinkError, SshSettings, SshTarget, Step as LinkStep, Timeouts,
};
use crate::local::GuixKeys;
use crate::log::{BuildLog, DaemonLog, Log};
use crate::machines::Machine;
use crate::remote::{Question, Remote};

/// A step on the way to a machine's store, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// What the machine list and OpenSSH's configuration say makes sense.
    Configuration,
    /// The host's name has an address.
    Name,
    /// There is a private key.
    PrivateKey,
    /// The SSH port is reached.
    Connection,
    /// The host shows the key that is on record.
    HostKey,
    /// The user is let in.
    Authentication,
    /// The store daemon answers.
    Daemon,
    /// Whether the daemon trusts the user.
    Trust,
    /// Guix: the daemon adds a path to its store.
    Store,
    /// Guix: the version of Guile there.
    Guile,
    /// A path is imported there; Guix: one that this host has signed.
    Import,
    /// It is exported back; Guix: another one, whose signature is verified.
    Export,
}

impl Step {
    /// The step's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Configuration => "configuration",
            Step::Name => "name",
            Step::PrivateKey => "private key",
            Step::Connection => "connection",
            Step::HostKey => "host key",
            Step::Authentication => "authentication",
            Step::Daemon => "daemon",
            Step::Trust => "trust",
            Step::Store => "store",
            Step::Guile => "guile",
            Step::Import => "import",
            Step::Export => "export",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where the way to a machine ends, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The step that failed.
    pub step: Step,
    /// What went wrong.
    pub reason: String,
    /// What a person can do.
    pub advice: String,
}

/// Asks machines. One serves any number of them, also at the same time.
#[derive(Debug)]
pub struct Probe {
    /// What OpenSSH's configuration says to the user who asks.
    pub settings: SshSettings,
    /// Bounds for connecting.
    pub timeouts: Timeouts,
    /// The directory of the store.
    pub store_dir: StoreDir,
    /// This host's Guix, where the machines are asked for their guix-daemons.
    pub guix: Option<GuixHost>,
}

/// What of this host a machine's guix-daemon is tried with.
#[derive(Debug)]
pub struct GuixHost {
    /// Who signs, and whose signatures count.
    pub keys: GuixKeys,
    /// Where a folder may be made, for what the machine exports.
    pub scratch: PathBuf,
}

/// The way to a machine, planned.
struct Way {
    target: SshTarget,
    /// What of the configuration is not honoured.
    warnings: Vec<String>,
}

impl Probe {
    fn plan(&self, machine: &Machine) -> Result<Way, Trouble> {
        let destination = Destination::from(machine);
        match self.settings.plan(&destination, self.timeouts) {
            Ok(plan) => Ok(Way {
                target: plan.target,
                warnings: plan.warnings.iter().map(ToString::to_string).collect(),
            }),
            Err(error) => {
                let failure = Failure::Link(error.into());
                let step = Step::Configuration;
                Err(self.trouble(step, &failure, machine, None))
            }
        }
    }

    /// Begins a conversation with the machine's store daemon, by the way that is known, or any.
    async fn connect(
        &self,
        machine: &Machine,
        target: &SshTarget,
        known: &Knowledge,
        log: &mut Log,
    ) -> Result<Remote, Failure> {
        let store_dir = self.store_dir.clone();
        let question = Question::default();
        let dialect = match self.guix {
            Some(_) => Dialect::Guix,
            None => Dialect::Nix,
        };
        let connecting =
            Remote::connect(machine, target, store_dir, dialect, known, &question, log);
        // Each step of the link has a bound of its own; what is left is the daemon's.
        let bound = link_bound(&self.timeouts) + self.timeouts.greeting;
        let connected = tokio::time::timeout(bound, connecting).await;
        connected.unwrap_or_else(|_| Err(silent("greet the store daemon", self.timeouts.greeting)))
    }
}

/// What a store daemon is asked that costs it nothing: as little as its greeting, and no more time.
async fn within<T>(
    greeting: Duration,
    action: &'static str,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let answered = tokio::time::timeout(greeting, asked).await;
    answered.unwrap_or_else(|_| Err(silent(action, greeting)))
}

/// The longest that a link may take, all jumps but the last aside.
fn link_bound(timeouts: &Timeouts) -> Duration {
    timeouts.connect + timeouts.key_exchange + timeouts.authentication + timeouts.channel
}

/// A daemon that is there and does not answer.
fn silent(action: &'static str, greeting: Duration) -> Failure {
    RemoteFailure::Mute(greeting).during(action)
}

/// A log that nobody reads.
fn no_log() -> Log {
    Log {
        daemon: DaemonLog::new(std::io::sink()),
        build: BuildLog::new(std::io::sink()),
    }
}

/// The steps of connecting, in their order.
const LINK: &[Step] = &[
    Step::PrivateKey,
    Step::Connection,
    Step::HostKey,
    Step::Authentication,
];

/// Which step a failure to connect belongs to, and the steps behind the name that had been passed
/// by then.
fn place(failure: &Failure) -> (Step, &'static [Step]) {
    let Failure::Link(error) = failure else {
        return (Step::Daemon, LINK);
    };
    let (step, passed) = match error {
        LinkError::Config(_) => (Step::Configuration, 0),
        LinkError::KeyFile { .. } | LinkError::Passphrase(_) | LinkError::NoKey(_) => {
            (Step::PrivateKey, 0)
        }
        LinkError::HostKey(HostKeyError::Pinned(_) | HostKeyError::File { .. }) => {
            (Step::HostKey, 1)
        }
        LinkError::Connect { .. }
        | LinkError::Command { .. }
        | LinkError::Jump { .. }
        | LinkError::Kept(_)
        | LinkError::Broker { .. } => (Step::Connection, 1),
        LinkError::TimedOut { step, .. } => match step {
            LinkStep::Connect => (Step::Connection, 1),
            LinkStep::KeyExchange => (Step::HostKey, 2),
            LinkStep::Authentication => (Step::Authentication, 3),
            LinkStep::Channel => (Step::Daemon, 4),
        },
        LinkError::HostKey(_) | LinkError::Ssh(_) => (Step::HostKey, 2),
        LinkError::Refused { .. } => (Step::Authentication, 3),
        LinkError::Channel { .. } => (Step::Daemon, 4),
    };
    (step, &LINK[..passed])
}
