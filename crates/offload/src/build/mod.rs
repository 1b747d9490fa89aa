//! One build from its inputs to its registered outputs.

mod by_path;
mod guix;
mod outputs;

use std::collections::BTreeSet;

use store_path::StorePath;
use worker_protocol::{BuildResult, Realisation, ValidPathInfo};

pub(crate) use self::guix::LOW_DISK;
pub use self::guix::build_guix;
use self::outputs::Requests;
use crate::copy;
use crate::failure::{Consequence, Failure, RemoteFailure};
use crate::job::Job;
use crate::local::NixStore;
use crate::log::{Level, Log};
use crate::remote::{Question, Remote};

/// What a build brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The outputs that were brought in, as they are registered now.
    pub outputs: Vec<ValidPathInfo>,
    /// How many inputs the machine lacked.
    pub sent_inputs: usize,
}

/// What a machine has built, before it is registered.
struct Harvest {
    outputs: Vec<ValidPathInfo>,
    realisations: Vec<Realisation>,
    sent_inputs: usize,
}

/// How a machine is asked for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The derivation is sent with its inputs resolved. Takes a trusted user.
    Derivation,
    /// The `.drv` file is copied with all that it refers to, and built there. Any user may do it.
    Path,
}

/// Builds `job` on the machine behind `remote`: asks which inputs it lacks, sends them, builds,
/// brings the wanted outputs into `store`, registers them.
///
/// Two round trips and the build itself: the inputs, the build and the requests for its outputs
/// leave in one flight. Inputs that vanished from the machine all the same are sent once more; a
/// machine that does not trust this user is asked in the manner that any user may use.
///
/// # Errors
/// Whatever goes wrong; nothing is registered then.
pub async fn build(
    remote: &mut Remote,
    store: &mut NixStore,
    job: &Job,
    log: &mut Log,
) -> Result<Built, Failure> {
    // Anyone may send a derivation whose outputs are content-addressed.
    let manner = match remote.trusted() {
        Some(false) if !job.is_floating() => Manner::Path,
        _ => Manner::Derivation,
    };
    let missing = remote.missing(&question(job), log).await?;
    let first = attempt(remote, store, job, manner, &missing, log).await;
    let harvest = match first {
        Err(failure) => second_attempt(remote, store, job, manner, &missing, failure, log).await?,
        Ok(harvest) => harvest,
    };
    store.register(&harvest.outputs, &harvest.realisations)?;
    Ok(Built {
        outputs: harvest.outputs,
        sent_inputs: harvest.sent_inputs,
    })
}

fn question(job: &Job) -> Question {
    Question {
        inputs: job.inputs.clone(),
        use_substitutes: job.options.use_substitutes,
    }
}

async fn attempt(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    manner: Manner,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<Harvest, Failure> {
    let harvested = match manner {
        Manner::Derivation => by_derivation(remote, store, job, missing, log).await,
        Manner::Path => by_path::build(remote, store, job, missing, log).await,
    };
    // Where the serve protocol is spoken the end of the log may still be on its way.
    if matches!(harvested, Ok(_) | Err(Failure::Build { .. })) {
        remote.hear_out(log).await;
    }
    harvested
}

/// Does what may help against `failure`, or returns it.
async fn second_attempt(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    manner: Manner,
    before: &BTreeSet<StorePath>,
    failure: Failure,
    log: &mut Log,
) -> Result<Harvest, Failure> {
    if failure.consequence() != Consequence::TryAnother || !failure.is_daemons_word() {
        return Err(failure);
    }
    if remote.begin_anew(log).await.is_err() {
        return Err(failure);
    }
    let missing = remote.missing(&question(job), log).await?;
    let uri = remote.uri().to_owned();
    let distrusted = manner == Manner::Derivation && speaks_of_trust(&failure);
    let manner = match distrusted {
        true => Manner::Path,
        // Nothing has vanished since: it would fail again.
        false if missing.is_subset(before) => return Err(failure),
        false => manner,
    };
    let what = match manner {
        Manner::Derivation => format!("sending {} inputs once more", missing.len()),
        Manner::Path => "building from the .drv file, as users may who are not trusted".to_owned(),
    };
    let message = format!("offload: {uri}: {failure}; {what}");
    log.daemon.message(Level::Warning, &message);
    attempt(remote, store, job, manner, &missing, log).await
}

async fn by_derivation(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<Harvest, Failure> {
    let sent = copy::send(remote, store, missing, log).await?;
    let claim = remote.queue_build(job).await?;
    let mut requests = Requests::default();
    if !job.is_floating() {
        requests = outputs::request(remote, store, job, None).await?;
    }
    copy::confirm(remote, sent, log).await?;
    let result = remote.built(claim, job.options, log).await?;
    judge(&result)?;
    if job.is_floating() {
        requests = outputs::request(remote, store, job, Some(&result)).await?;
    }
    let received = outputs::receive(remote, store, job, requests, log).await?;
    Ok(Harvest {
        outputs: received,
        realisations: outputs::realisations(store.store_dir(), job, &result)?,
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
    let Failure::Remote {
        error: RemoteFailure::Daemon(error),
        ..
    } = failure
    else {
        return false;
    };
    let message = error.message.to_string_lossy();
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
