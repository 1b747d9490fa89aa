//! One build from its inputs to its registered outputs.

mod by_path;
mod guix;
mod outputs;

use std::collections::BTreeSet;

use store_path::StorePath;
use worker_protocol::{BuildResult, Dialect, ValidPathInfo, Version};

pub(crate) use self::guix::LOW_DISK;
pub use self::guix::build_guix;
pub(crate) use self::outputs::{Requests, expected, promise};
use crate::copy;
use crate::failure::{Consequence, Failure, RemoteFailure};
use crate::job::Job;
use crate::local::{LocalStore, NixStore};
use crate::log::{Level, Log};
use crate::remote::{Question, Remote, Way};

/// The minor number of the first protocol version in which a daemon tells what became of floating
/// outputs (nix 2.4; 2.3.7 speaks 1.21).
const BUILT_OUTPUTS: u8 = 28;

/// What a build brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The outputs that were brought in, as they are registered now.
    pub outputs: Vec<ValidPathInfo>,
    /// How many inputs the machine lacked.
    pub sent_inputs: usize,
}

/// A build that has succeeded. Its outputs are on the machine still.
pub struct Made {
    /// What the machine's daemon says of it.
    pub result: BuildResult,
    /// How many inputs the machine lacked.
    pub sent_inputs: usize,
    /// What is asked of its outputs already.
    pub(crate) requests: Requests,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made")
            .field("result", &self.result)
            .field("sent_inputs", &self.sent_inputs)
            .finish_non_exhaustive()
    }
}

/// How a machine is asked for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The derivation is sent with its inputs resolved. Takes a trusted user.
    Derivation,
    /// The `.drv` file is copied with all that it refers to, and built there. Any user may do it.
    /// Of the inputs those are sent, too, that are content-addressed or signed.
    Path,
    /// The same, without inputs that are only signed: by keys that the machine does not trust.
    PathWithoutSigned,
}

/// Builds `job` on the machine behind `remote`, brings the wanted outputs into `store`, registers
/// them.
///
/// # Errors
/// Whatever goes wrong; nothing is registered then.
pub async fn build(
    remote: &mut Remote,
    store: &mut NixStore,
    job: &Job,
    log: &mut Log,
) -> Result<Built, Failure> {
    let mut made = make(remote, &store.local, job, Wish::Archives, log).await?;
    // Until they are registered.
    let _locks = std::mem::take(&mut made.requests.locks);
    // Before anything is brought in that could not be registered.
    let realisations = outputs::realisations(store.local.store_dir(), job, &made.result)?;
    let outputs = outputs::receive(remote, store, job, made.requests, log).await?;
    store.optimise(&outputs, |level, message| {
        log.daemon.message(level, &format!("offload: {message}"));
    })?;
    store.register(&outputs, &realisations)?;
    remote.hear_out(log).await;
    Ok(Built {
        outputs,
        sent_inputs: made.sent_inputs,
    })
}

/// What is asked of the outputs while they are being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// What is known of those that are wanted and not here, and their archives.
    Archives,
    /// What is known of all that are wanted.
    Infos,
}

/// Builds `job` on the machine behind `remote`: asks which inputs it lacks, sends them, builds.
///
/// Two round trips and the build itself: the inputs, the build and the requests for its outputs
/// leave in one flight. Inputs that vanished from the machine all the same are sent once more; a
/// machine that does not trust this user is asked in the manner that any user may use.
///
/// # Errors
/// Whatever goes wrong.
pub(crate) async fn make(
    remote: &mut Remote,
    store: &LocalStore,
    job: &Job,
    wish: Wish,
    log: &mut Log,
) -> Result<Made, Failure> {
    if let (true, Some(protocol)) = (job.is_floating(), remote.protocol())
        && !Version::nix(protocol).has_built_outputs()
    {
        return Err(Failure::TooOld {
            what: "content-addressed outputs",
            protocol,
            needed: BUILT_OUTPUTS,
        });
    }
    // Anyone may send a derivation whose outputs are content-addressed.
    let manner = match remote.trusted() {
        Some(false) if !job.is_floating() => Manner::Path,
        _ => Manner::Derivation,
    };
    let order = Order { store, job, wish };
    let missing = remote.missing(&order.question(), log).await?;
    match attempt(remote, &order, manner, &missing, log).await {
        Err(failure) => another_attempt(remote, &order, manner, &missing, failure, log).await,
        made => made,
    }
}

/// What is to be made, of what.
struct Order<'a> {
    store: &'a LocalStore,
    job: &'a Job,
    wish: Wish,
}

impl Order<'_> {
    fn question(&self) -> Question {
        Question::about(self.job, Dialect::Nix)
    }
}

async fn attempt(
    remote: &mut Remote,
    order: &Order<'_>,
    manner: Manner,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<Made, Failure> {
    let made = match manner {
        Manner::Derivation => by_derivation(remote, order, missing, log).await,
        Manner::Path => by_path::make(remote, order, missing, true, log).await,
        Manner::PathWithoutSigned => by_path::make(remote, order, missing, false, log).await,
    };
    // Where the serve protocol is spoken the end of the log may still be on its way.
    if matches!(made, Err(Failure::Build { .. })) {
        remote.hear_out(log).await;
    }
    made
}

/// Does what may help against `failure`, or returns it.
async fn another_attempt(
    remote: &mut Remote,
    order: &Order<'_>,
    manner: Manner,
    before: &BTreeSet<StorePath>,
    failure: Failure,
    log: &mut Log,
) -> Result<Made, Failure> {
    if failure.consequence() != Consequence::TryAnother || !failure.is_daemons_word() {
        // `nix-store --serve` ends where its daemon refuses something.
        if remote.way() == Way::Serve && speaks_of_trust(&failure) {
            let message = format!(
                "offload: {}: by the serve protocol builds are for trusted users only \
                 (trusted-users = {} in nix.conf there would change it)",
                remote.uri(),
                remote.user(),
            );
            log.daemon.message(Level::Warning, &message);
        }
        return Err(failure);
    }
    if remote.begin_anew(log).await.is_err() {
        return Err(failure);
    }
    let Ok(missing) = remote.missing(&order.question(), log).await else {
        return Err(failure);
    };
    let uri = remote.uri().to_owned();
    let manner = match (manner, speaks_of_trust(&failure)) {
        (Manner::Derivation, true) => Manner::Path,
        (Manner::Path, true) => Manner::PathWithoutSigned,
        // Nothing has vanished since: it would fail again.
        _ if missing.is_subset(before) => return Err(failure),
        _ => manner,
    };
    let what = match manner {
        Manner::Derivation => format!("sending {} inputs once more", missing.len()),
        Manner::Path => format!(
            "building from the .drv file, as users may who are not trusted (trusted-users = {} in nix.conf \
             there would change it)",
            remote.user()
        ),
        Manner::PathWithoutSigned => "leaving out what is only signed".to_owned(),
    };
    let message = format!("offload: {uri}: {failure}; {what}");
    log.daemon.message(Level::Warning, &message);
    match attempt(remote, order, manner, &missing, log).await {
        // The machine did not trust the user, and neither does it trust who has signed.
        Err(failure) if manner == Manner::Path && speaks_of_trust(&failure) => {
            Box::pin(another_attempt(
                remote, order, manner, &missing, failure, log,
            ))
            .await
        }
        made => made,
    }
}

async fn by_derivation(
    remote: &mut Remote,
    order: &Order<'_>,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<Made, Failure> {
    let &Order { store, job, .. } = order;
    let sent = copy::send(remote, store, missing, log).await?;
    let claim = remote.queue_build(job).await?;
    let mut requests = Requests::default();
    if !job.is_floating() {
        requests = outputs::request(remote, order, None, log).await?;
    }
    copy::confirm(remote, sent, log).await?;
    let result = remote.built(claim, job.options, log).await?;
    judge(&result)?;
    if job.is_floating() {
        requests = outputs::request(remote, order, Some(&result), log).await?;
    }
    Ok(Made {
        result,
        requests,
        sent_inputs: missing.len(),
    })
}

fn judge(result: &BuildResult) -> Result<(), Failure> {
    if result.status.is_success() {
        return Ok(());
    }
    Err(Failure::Build {
        status: result.status,
        message: result.error.to_string(),
    })
}

/// Whether a daemon refuses what only trusted users may do. From protocol 1.35 on it tells beforehand;
/// before, it says `cannot add path '..' because it lacks a valid signature` (2.3.7), `.. lacks a
/// signature by a trusted key` (2.8.0), `you are not privileged to build ..` (both).
fn speaks_of_trust(failure: &Failure) -> bool {
    let message = match failure {
        Failure::Remote {
            error: RemoteFailure::Daemon(error),
            ..
        } => error.message.to_string_lossy().into_owned(),
        Failure::Remote {
            error: error @ RemoteFailure::Protocol(_),
            ..
        } => error.to_string(),
        _ => return false,
    };
    message.contains("signature") || message.contains("not privileged")
}

impl Failure {
    /// Whether the machine's daemon said so, and the connection is as good as before.
    fn is_daemons_word(&self) -> bool {
        matches!(
            self,
            Failure::Build { .. }
                | Failure::Remote {
                    error: RemoteFailure::Daemon(_),
                    ..
                }
        )
    }
}
