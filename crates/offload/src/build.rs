//! One build from its inputs to its registered outputs.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;
use tokio::time::Instant;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{BuildDerivation, NarFromPath, QueryPathInfo};
use worker_protocol::{BuildMode, BuildResult, PathInfo, ValidPathInfo};

use crate::copy;
use crate::failure::{Failure, RemoteFailure};
use crate::job::{Job, JobOutput, Limits};
use crate::local::NixStore;
use crate::log::Log;
use crate::remote::Remote;

/// What a build brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The outputs that were brought in, as they are registered now.
    pub outputs: Vec<ValidPathInfo>,
    /// How many inputs the machine lacked.
    pub sent_inputs: usize,
}

/// Builds `job` on the machine behind `remote`: asks which inputs it lacks, sends them, builds,
/// brings the wanted outputs into `store`, registers them.
///
/// Two round trips and the build itself: the inputs, the build and the requests for its outputs
/// leave in one flight.
///
/// # Errors
/// Whatever goes wrong; nothing is registered then.
pub async fn build(
    remote: &mut Remote,
    store: &mut NixStore,
    job: &Job,
    log: &mut Log,
) -> Result<Built, Failure> {
    let use_substitutes = job.limits.use_substitutes;
    let missing = remote.missing(&job.inputs, use_substitutes, log).await?;
    let sent = copy::send(remote, store, &missing, log).await?;
    let build = queue_build(remote, job).await?;
    let first = queue_outputs(remote, wanted_outputs(store, job)?).await?;
    copy::confirm(remote, sent, log).await?;
    let result = finish_build(remote, build, job.limits, log).await?;
    judge(&result)?;
    let outputs = receive_outputs(remote, store, job, first, log).await?;
    store.register(&outputs)?;
    Ok(Built {
        outputs,
        sent_inputs: missing.len(),
    })
}

async fn queue_build(remote: &mut Remote, job: &Job) -> Result<Ticket<BuildDerivation>, Failure> {
    let request = BuildDerivation {
        path: job.path.clone(),
        derivation: job.derivation.clone(),
        mode: BuildMode::Normal,
    };
    let queued = remote.queue(&request).await;
    queued.map_err(|error| error.during("ask for the build"))
}

/// Those wanted outputs that are not valid here yet.
fn wanted_outputs(store: &NixStore, job: &Job) -> Result<Vec<JobOutput>, Failure> {
    let wanted = |output: &&JobOutput| job.wanted.contains(&output.name);
    let outputs: Vec<_> = job.outputs.iter().filter(wanted).cloned().collect();
    let paths = outputs.iter().map(|output| output.path.clone()).collect();
    let valid = store.valid(&paths)?;
    let missing = |output: &JobOutput| !valid.contains(&output.path);
    Ok(outputs.into_iter().filter(missing).collect())
}

/// Requests for one output, sent before it exists: a daemon answers in order, and should the build
/// fail then these replies are never read.
struct Requested {
    output: JobOutput,
    info: Ticket<QueryPathInfo>,
    archive: Ticket<NarFromPath>,
}

async fn queue_outputs(
    remote: &mut Remote,
    outputs: Vec<JobOutput>,
) -> Result<Vec<Requested>, Failure> {
    let failed = |error: RemoteFailure| error.during("ask for the outputs");
    let mut requested = Vec::with_capacity(outputs.len());
    for output in outputs {
        let path = output.path.clone();
        let info = remote.queue(&QueryPathInfo { path: path.clone() }).await;
        let info = info.map_err(failed)?;
        let archive = remote.queue(&NarFromPath { path }).await;
        requested.push(Requested {
            output,
            info,
            archive: archive.map_err(failed)?,
        });
    }
    Ok(requested)
}

/// Waits for the build, no longer than its limits allow.
async fn finish_build(
    remote: &mut Remote,
    ticket: Ticket<BuildDerivation>,
    limits: Limits,
    log: &mut Log,
) -> Result<BuildResult, Failure> {
    let started = Instant::now();
    let heard = Cell::new(started);
    let mut forward = |message| {
        heard.set(Instant::now());
        log.forward(message);
    };
    let reply = remote.client.reply(ticket, &mut forward);
    tokio::pin!(reply);
    loop {
        let silence = limits
            .silence
            .map(|bound| (heard.get() + bound, "printed nothing", bound));
        let time = limits.time.map(|bound| (started + bound, "ran", bound));
        let next = [silence, time].into_iter().flatten().min();
        let expired = async {
            match next {
                Some((deadline, ..)) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // The clock first: a build that never stops printing keeps the reply busy for ever.
        tokio::select! {
            biased;
            () = expired => {
                let (deadline, what, bound) = next.expect("only a deadline expires");
                let moved = what == "printed nothing" && heard.get() + bound > deadline;
                if !moved {
                    return Err(Failure::TimedOut { what, seconds: bound.as_secs() });
                }
            }
            result = &mut reply => {
                return result.map_err(|error| RemoteFailure::from(error).during("build"));
            }
        }
    }
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

/// Receives the outputs that were asked for, and those others of the build that they refer to and
/// that are not valid here: without them they could not be registered.
async fn receive_outputs(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    first: Vec<Requested>,
    log: &mut Log,
) -> Result<Vec<ValidPathInfo>, Failure> {
    let uri = remote.uri().to_owned();
    let mut copying = log
        .daemon
        .start_copying(first.len() as u64, 0, &uri, "local");
    let mut received = BTreeMap::new();
    let mut requested = first;
    let outcome = loop {
        let mut referred = BTreeSet::new();
        for request in requested {
            let output = request.output.path.clone();
            match receive_output(remote, store, job, request, &mut copying, log).await {
                Ok(info) => {
                    referred.extend(info.info.references.iter().cloned());
                    received.insert(output, info);
                }
                Err(failure) => {
                    log.daemon.stop_copying(copying);
                    return Err(failure);
                }
            }
        }
        let siblings = missing_siblings(store, job, &referred, &received)?;
        if siblings.is_empty() {
            break received.into_values().collect();
        }
        requested = queue_outputs(remote, siblings).await?;
    };
    log.daemon.stop_copying(copying);
    Ok(outcome)
}

fn missing_siblings(
    store: &NixStore,
    job: &Job,
    referred: &BTreeSet<StorePath>,
    received: &BTreeMap<StorePath, ValidPathInfo>,
) -> Result<Vec<JobOutput>, Failure> {
    let siblings: BTreeSet<_> = referred
        .iter()
        .filter(|path| job.output_at(path).is_some() && !received.contains_key(*path))
        .cloned()
        .collect();
    let valid = store.valid(&siblings)?;
    let missing = siblings.difference(&valid);
    Ok(missing
        .filter_map(|path| job.output_at(path))
        .cloned()
        .collect())
}

async fn receive_output(
    remote: &mut Remote,
    store: &NixStore,
    job: &Job,
    request: Requested,
    copying: &mut crate::log::Copying,
    log: &mut Log,
) -> Result<ValidPathInfo, Failure> {
    let print = |path: &StorePath| store.store_dir().print(path);
    let JobOutput { path, fixed, .. } = request.output;
    let info = remote.reply(request.info, log).await;
    let info = info.map_err(|error| error.during("ask for the outputs"))?;
    let info = info.ok_or_else(|| Failure::MissingOutput(print(&path)))?;
    for reference in &info.references {
        if !job.inputs.contains(reference) && job.output_at(reference).is_none() {
            return Err(Failure::Reference {
                output: print(&path),
                reference: print(reference),
            });
        }
    }
    let promised = promise(path, info, job);
    copy::receive(
        remote,
        store,
        request.archive,
        promised,
        fixed,
        copying,
        log,
    )
    .await
}

/// The row that will be registered: the machine's, but made here and now, of this derivation.
fn promise(path: StorePath, info: PathInfo, job: &Job) -> ValidPathInfo {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let info = PathInfo {
        registration_time: now.map_or(0, |since| since.as_secs()),
        deriver: info.deriver.or_else(|| Some(job.path.clone())),
        ultimate: false,
        ..info
    };
    ValidPathInfo { path, info }
}
