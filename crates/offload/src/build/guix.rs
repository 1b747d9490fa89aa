//! Building by a guix-daemon: the `.drv` file is copied with its closure and built there, and what
//! comes back is signed.

use std::time::Duration;

use store_path::StorePath;
use tokio::time::Instant;
use worker_protocol::client::Ticket;
use worker_protocol::operation::ExportPath;
use worker_protocol::{BuildStatus, Dialect};

use super::{Built, judge};
use crate::copy;
use crate::failure::Failure;
use crate::job::{Content, Job, JobOutput};
use crate::local::{Authority, GuixStore, Restored, SignedImport};
use crate::log::{Level, Log};
use crate::remote::{Question, Remote};

/// Less free disk than this, in bytes, and a machine gets no build; a build that failed there
/// proves nothing.
pub(crate) const LOW_DISK: u64 = 100 << 20;

/// Builds `job` on the machine behind `remote`, and restores its wanted outputs in `store`, where
/// the daemon that called registers them.
///
/// Two round trips and the build itself, as for Nix, where requests may leave together and are small: the
/// machine's options, a temporary root for the derivation and the question which inputs are valid; then the texts
/// that it lacks, the build, and the exports of its outputs. Otherwise each of these is a round trip. A machine
/// whose daemon finds more than it has waited for, as it may where a write does not reach it whole, is asked once
/// more one by one.
///
/// # Errors
/// Whatever goes wrong; nothing that was restored is left then.
pub async fn build_guix(
    remote: &mut Remote,
    store: &GuixStore,
    job: &Job,
    log: &mut Log,
) -> Result<Built, Failure> {
    let mut progress = Progress::default();
    match attempt(remote, store, job, &mut progress, log).await {
        Err(failure) if remote.hurries() && progress.ended_in_a_hurry(remote, &failure) => {
            match remote.begin_in_steps(log).await {
                Ok(()) => attempt(remote, store, job, &mut progress, log).await,
                Err(_) => Err(failure),
            }
        }
        built => built,
    }
}

/// How far a build has come.
#[derive(Debug, Default)]
struct Progress {
    /// When it was asked for, and how many bytes the machine had said before.
    asked: Option<(Instant, u64)>,
}

/// A daemon that finds more than it has waited for is gone by then. One that goes later has another reason.
const HURRY: Duration = Duration::from_secs(10);

impl Progress {
    /// Whether the machine may have been asked too much at a time, and no build is done twice.
    fn ended_in_a_hurry(&self, remote: &Remote, failure: &Failure) -> bool {
        let Some((since, heard)) = self.asked else {
            return failure.is_end_of_hurry();
        };
        let is_silent = remote.traffic().received() == heard && since.elapsed() < HURRY;
        failure.speaks_of_hurry() || (failure.is_hanging_up() && is_silent)
    }
}

async fn attempt(
    remote: &mut Remote,
    store: &GuixStore,
    job: &Job,
    progress: &mut Progress,
    log: &mut Log,
) -> Result<Built, Failure> {
    // Without it nothing could be taken back.
    let authority = store.keys.authority()?;
    let question = Question::about(job, Dialect::Guix);
    let missing = remote.missing(&question, log).await?;
    let sent = copy::guix::send(remote, store, &missing, log).await?;
    let asked = (Instant::now(), remote.traffic().received());
    if progress.asked.replace(asked).is_none() {
        announce(remote, store, job, log);
    }
    let claim = remote.queue_build_of_path(&job.path, &job.wanted).await?;
    let mut exports = Vec::new();
    for (output, path) in wanted(job) {
        exports.push((output, path, remote.queue_export(path).await?));
    }
    copy::guix::confirm(remote, store, sent, log).await?;
    let result = remote.built(claim, job.options, log).await?;
    // The daemon passes on log and messages as they come, without regard to lines.
    log.build.drain();
    if let Err(failure) = judge(&result) {
        remote.give_up_conversation();
        return Err(weighed(remote, failure, log).await);
    }
    let outputs = receive(remote, store, job, exports, &authority, log).await?;
    Ok(Built {
        outputs: outputs.into_iter().map(Restored::keep).collect(),
        sent_inputs: missing.len(),
    })
}

/// The outputs that are brought in, and where they will lie.
fn wanted(job: &Job) -> impl Iterator<Item = (&JobOutput, &StorePath)> {
    let is_wanted = |output: &&JobOutput| job.wanted.contains(&output.name);
    let wanted = job.outputs.iter().filter(is_wanted);
    wanted.filter_map(|output| Some((output, output.path.as_ref()?)))
}

/// What stock tells when everything is there.
fn announce(remote: &Remote, store: &GuixStore, job: &Job, log: &mut Log) {
    let derivation = store.local.store_dir().print(&job.path);
    let name = remote.name();
    let message = format!("offloading '{derivation}' to '{name}'...");
    log.daemon.message(Level::Notice, &message);
    if job.options.trace {
        let message = format!("@ build-remote {derivation} {name}");
        log.daemon.message(Level::Notice, &message);
    }
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
    exports: Vec<(&JobOutput, &StorePath, Ticket<ExportPath>)>,
    authority: &Authority,
    log: &mut Log,
) -> Result<Vec<Restored>, Failure> {
    let (count, name) = (exports.len(), remote.name());
    let plural = if count == 1 { "" } else { "s" };
    let message = format!("retrieving {count} store item{plural} from '{name}'...");
    log.daemon.message(Level::Notice, &message);
    let name = name.to_owned();
    let mut copying = log.daemon.start_copying(count as u64, 0, &name, "local");
    let mut received = Vec::with_capacity(count);
    for (output, path, ticket) in exports {
        let mut import = begin(store, output, path)?;
        let file = store.local.store_dir().print(path);
        log.daemon.start_path(&mut copying, &file, 0);
        remote
            .export(ticket, &mut import, &mut copying, log)
            .await?;
        log.daemon.stop_path(&mut copying);
        let message = format!("importing file or directory '{file}'...");
        log.daemon.message(Level::Notice, &message);
        let restored = import.finish(authority).await?;
        let message = format!("found valid signature for '{file}'");
        log.daemon.message(Level::Notice, &message);
        check_references(store, job, output, &restored)?;
        received.push(restored);
    }
    log.daemon.stop_copying(copying);
    Ok(received)
}

fn begin(store: &GuixStore, output: &JobOutput, path: &StorePath) -> Result<SignedImport, Failure> {
    let fixed = match output.content {
        Content::Fixed(address) => Some(address),
        Content::Any | Content::Floating { .. } => None,
    };
    Ok(store.import(path, fixed)?)
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
