//! Building by a guix-daemon: the `.drv` file is copied with its closure and built there, and what
//! comes back is signed.

use std::collections::BTreeSet;

use store_path::StorePath;
use worker_protocol::BuildStatus;

use super::{Built, judge};
use crate::copy;
use crate::failure::Failure;
use crate::job::{Content, Job, JobOutput};
use crate::local::{Authority, GuixStore, Restored};
use crate::log::{Copying, Level, Log};
use crate::remote::Remote;

/// Less free disk than this, in bytes, and a machine gets no build; a build that failed there
/// proves nothing.
pub(crate) const LOW_DISK: u64 = 100 << 20;

/// Builds `job` on the machine behind `remote`, and restores its wanted outputs in `store`, where
/// the daemon that called registers them. `trace` is whether the machine's daemon tells of its
/// builds.
///
/// A guix-daemon takes one request after the other. Without inputs to send these are six round
/// trips: options, a temporary root for the derivation, which inputs are valid, the build, and one
/// for each output.
///
/// # Errors
/// Whatever goes wrong; nothing that was restored is left then.
pub async fn build_guix(
    remote: &mut Remote,
    store: &GuixStore,
    job: &Job,
    trace: bool,
    log: &mut Log,
) -> Result<Built, Failure> {
    // Without it nothing could be taken back.
    let authority = store.keys.authority()?;
    remote.set_guix_options(job.options, trace, log).await?;
    remote.root(&job.path, log).await?;
    let missing = missing(remote, job, log).await?;
    copy::guix::send(remote, store, &missing, log).await?;
    announce(remote, store, job, trace, log);
    let claim = remote.queue_build_of_path(&job.path, &job.wanted).await?;
    let result = remote.built(claim, job.options, log).await?;
    // The daemon passes on log and messages as they come, without regard to lines.
    log.build.drain();
    if let Err(failure) = judge(&result) {
        return Err(weighed(remote, failure, log).await);
    }
    let outputs = receive(remote, store, job, &authority, log).await?;
    Ok(Built {
        outputs: outputs.into_iter().map(Restored::keep).collect(),
        sent_inputs: missing.len(),
    })
}

/// What stock tells when everything is there.
fn announce(remote: &Remote, store: &GuixStore, job: &Job, trace: bool, log: &mut Log) {
    let derivation = store.local.store_dir().print(&job.path);
    let name = remote.name();
    let message = format!("offloading '{derivation}' to '{name}'...");
    log.daemon.message(Level::Notice, &message);
    if trace {
        let message = format!("@ build-remote {derivation} {name}");
        log.daemon.message(Level::Notice, &message);
    }
}

async fn missing(
    remote: &mut Remote,
    job: &Job,
    log: &mut Log,
) -> Result<BTreeSet<StorePath>, Failure> {
    let mut needed = job.inputs.clone();
    needed.insert(job.path.clone());
    let valid = remote.valid(needed.clone(), log).await?;
    needed.retain(|path| !valid.contains(path));
    Ok(needed)
}

/// A build that failed where the disk is full may succeed elsewhere.
async fn weighed(remote: &Remote, failure: Failure, log: &mut Log) -> Failure {
    let Failure::Build {
        status: BuildStatus::PermanentFailure,
        message,
    } = failure
    else {
        return failure;
    };
    let condition = remote.condition().await;
    let free = condition.and_then(|condition| condition.free_disk);
    let status = match free {
        Some(free) if free < LOW_DISK => {
            let message = format!("offload: disk of {} is full: {free} bytes", remote.name());
            log.daemon.message(Level::Warning, &message);
            BuildStatus::TransientFailure
        }
        _ => BuildStatus::PermanentFailure,
    };
    Failure::Build { status, message }
}

async fn receive(
    remote: &mut Remote,
    store: &GuixStore,
    job: &Job,
    authority: &Authority,
    log: &mut Log,
) -> Result<Vec<Restored>, Failure> {
    let wanted = job
        .outputs
        .iter()
        .filter(|output| job.wanted.contains(&output.name));
    let wanted: Vec<_> = wanted
        .filter_map(|output| Some((output, output.path.as_ref()?)))
        .collect();
    let plural = if wanted.len() == 1 { "" } else { "s" };
    let (count, name) = (wanted.len(), remote.name());
    let message = format!("retrieving {count} store item{plural} from '{name}'...");
    log.daemon.message(Level::Notice, &message);
    let name = name.to_owned();
    let mut copying = log.daemon.start_copying(count as u64, 0, &name, "local");
    let mut received = Vec::with_capacity(count);
    for (output, path) in wanted {
        let restored = receive_one(remote, store, output, path, authority, &mut copying, log);
        let restored = restored.await?;
        check_references(store, job, output, &restored)?;
        received.push(restored);
    }
    log.daemon.stop_copying(copying);
    Ok(received)
}

async fn receive_one(
    remote: &mut Remote,
    store: &GuixStore,
    output: &JobOutput,
    path: &StorePath,
    authority: &Authority,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<Restored, Failure> {
    let fixed = match output.content {
        Content::Fixed(address) => Some(address),
        Content::Any | Content::Floating { .. } => None,
    };
    let mut import = store.import(path, fixed)?;
    let file = store.local.store_dir().print(path);
    log.daemon.start_path(copying, &file, 0);
    remote.export(path, &mut import, copying, log).await?;
    log.daemon.stop_path(copying);
    let message = format!("importing file or directory '{file}'...");
    log.daemon.message(Level::Notice, &message);
    let restored = import.finish(authority).await?;
    let message = format!("found valid signature for '{file}'");
    log.daemon.message(Level::Notice, &message);
    Ok(restored)
}

fn check_references(
    store: &GuixStore,
    job: &Job,
    output: &JobOutput,
    restored: &Restored,
) -> Result<(), Failure> {
    let is_output = |path: &StorePath| {
        let mut paths = job.outputs.iter().filter_map(|output| output.path.as_ref());
        paths.any(|output| output == path)
    };
    let strange = restored
        .info
        .info
        .references
        .iter()
        .find(|&path| !job.inputs.contains(path) && !is_output(path));
    match strange {
        None => Ok(()),
        Some(reference) => Err(Failure::Reference {
            output: output.name.clone(),
            reference: store.local.store_dir().print(reference),
        }),
    }
}
