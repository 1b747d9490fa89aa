//! Builds for a client of the endpoint, and the outputs that stay on the machine until they are asked
//! for.

use std::collections::BTreeMap;

use store_path::{ContentAddress, StoreDir, StorePath};
use worker_protocol::operation::BuildDerivation;
use worker_protocol::{BuildResult, BuildStatus, ValidPathInfo};

use crate::build::{Made, Wish, expected, make, promise};
use crate::failover::{GivenUp, with_failover};
use crate::failure::{Consequence, Failure, RemoteFailure};
use crate::fleet::{Answer, Fleet, Lease, Patience};
use crate::job::{BuildOptions, Job};
use crate::local::{ImportError, LocalStore, Passing};
use crate::log::{Level, Log};
use crate::remote::{ArchiveClaim, Question, Remote};
use crate::schedule::Demand;

/// The machine of the last build, and what it made.
pub(super) struct Harvest {
    lease: Box<Lease>,
    outputs: BTreeMap<StorePath, Output>,
}

/// One output on the machine.
struct Output {
    valid: ValidPathInfo,
    address: Option<ContentAddress>,
    /// The archive, if it was asked for already.
    archive: Option<ArchiveClaim>,
}

/// Builds `job` on whichever machine does it, waiting for a slot if it has to. A failure is a result
/// like any other.
pub(super) async fn build(
    fleet: &mut Fleet,
    store: &LocalStore,
    job: &Job,
    demand: &Demand,
    log: &mut Log,
) -> (BuildResult, Option<Harvest>) {
    let name = store.store_dir().print(&job.path);
    let foresee = || Question {
        inputs: job.inputs.clone(),
        use_substitutes: job.options.use_substitutes,
    };
    let lease = match fleet.lease(demand, foresee, Patience::Waits, log).await {
        Ok(Answer::Leased(lease)) => lease,
        Ok(Answer::Busy(refusals) | Answer::None(refusals)) => {
            let why = format!("no machine builds {name}: {refusals}");
            return (failed(BuildStatus::MiscFailure, why), None);
        }
        Err(error) => return (failed(BuildStatus::MiscFailure, error.to_string()), None),
    };
    let work = async |remote: &mut Remote, log: &mut Log| {
        log.build.start(&name, remote.uri());
        let made = make(remote, store, job, Wish::Infos, log).await;
        let made = match made {
            Ok(made) => settle(remote, store.store_dir(), job, made, log).await,
            Err(failure) => Err(failure),
        };
        log.build.stop();
        made
    };
    match with_failover(lease, fleet, demand, job, &name, log, work).await {
        Ok((mut lease, (result, outputs))) => {
            lease.release_slot();
            (result, Some(Harvest { lease, outputs }))
        }
        Err(given_up) => (explain(&name, given_up), None),
    }
}

/// Reads what is known of the outputs.
async fn settle(
    remote: &mut Remote,
    store_dir: &StoreDir,
    job: &Job,
    made: Made,
    log: &mut Log,
) -> Result<(BuildResult, BTreeMap<StorePath, Output>), Failure> {
    let mut outputs = BTreeMap::new();
    for asked in made.requests.asked {
        let info = remote.output_info(asked.info, log).await?;
        let valid = promise(store_dir, job, &made.requests.all, &asked.output, info)?;
        let output = Output {
            address: expected(&asked.output, &valid.info),
            valid,
            archive: asked.archive,
        };
        outputs.insert(asked.output.path, output);
    }
    Ok((made.result, outputs))
}

fn explain(name: &str, given_up: GivenUp) -> BuildResult {
    let GivenUp {
        uri,
        failure,
        no_other,
    } = given_up;
    let status = match (&failure, failure.consequence()) {
        (Failure::Build { status, .. }, _) => *status,
        (_, Consequence::TimedOut) => BuildStatus::TimedOut,
        _ => BuildStatus::MiscFailure,
    };
    let why = match no_other {
        Some(why) => format!("{failure} (on {uri}); no other machine builds {name}: {why}"),
        None => format!("{failure} (on {uri})"),
    };
    failed(status, why)
}

fn failed(status: BuildStatus, why: String) -> BuildResult {
    BuildResult {
        error: why.into(),
        ..BuildResult::new(status)
    }
}

/// Why an output could not be handed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandOnError {
    /// The machine is in trouble.
    #[error("failed to copy an output from {0}: {1}")]
    Machine(String, RemoteFailure),
    /// What came is not what was promised.
    #[error("{1} (from {0})")]
    Content(String, ImportError),
    /// The client.
    #[error("failed to {0}")]
    Client(#[from] worker_protocol::Error),
}

impl Harvest {
    /// What is known of `path`, if it is one of the outputs.
    pub(super) fn info(&self, path: &StorePath) -> Option<&ValidPathInfo> {
        Some(&self.outputs.get(path)?.valid)
    }

    /// Hands the archive of an output to `take` as it comes. The end of it is only handed on when all
    /// of it was as promised.
    pub(super) async fn hand_on(
        &mut self,
        path: &StorePath,
        log: &mut Log,
        mut take: impl AsyncFnMut(&[u8]) -> Result<(), worker_protocol::Error>,
    ) -> Result<(), HandOnError> {
        let remote = &mut self.lease.remote;
        let uri = remote.uri().to_owned();
        let output = self.outputs.get_mut(path).expect("it was looked up before");
        let machine = |error| HandOnError::Machine(uri.clone(), error);
        let content = |error| HandOnError::Content(uri.clone(), error);
        let claim = match output.archive.take() {
            Some(claim) => claim,
            None => match remote.queue_archive(path.clone()).await {
                Ok(claim) => claim,
                Err(failure) => {
                    log.daemon.message(Level::Warning, &failure.to_string());
                    return Err(HandOnError::Client(super::forward::client_is_gone()));
                }
            },
        };
        remote.open_archive(claim, log).await.map_err(machine)?;
        let name = path.to_string();
        let mut passing = Passing::new(name, output.valid.clone(), output.address);
        loop {
            let chunk = remote.archive_chunk().await.map_err(machine)?;
            let (length, finished) = passing.pass(chunk).map_err(content)?;
            if finished {
                passing.finish().map_err(content)?;
                take(&chunk[..length]).await?;
                remote.consume(length);
                return Ok(());
            }
            take(&chunk[..length]).await?;
            remote.consume(length);
        }
    }
}

impl std::fmt::Debug for Harvest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harvest")
            .field("machine", &self.lease.machine.uri.as_str())
            .finish_non_exhaustive()
    }
}

/// What a client says about how its builds are to be done.
pub(super) fn options(asked: &worker_protocol::operation::SetOptions) -> BuildOptions {
    let setting = |name: &str| {
        let value = asked.settings.get(&name.into())?;
        value.to_str().map(str::to_owned)
    };
    let number = |name: &str| {
        setting(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    };
    let seconds = |count: u64| (count > 0).then(|| std::time::Duration::from_secs(count));
    BuildOptions {
        silence: seconds(asked.max_silent_time),
        time: seconds(number("timeout").max(number("build-timeout"))),
        log_size: number("max-build-log-size"),
        keep_failed: asked.keep_failed,
        use_substitutes: setting("builders-use-substitutes").as_deref() == Some("true"),
    }
}

/// A job from a client's request.
pub(super) fn job(
    store: &LocalStore,
    request: BuildDerivation,
    options: BuildOptions,
) -> Result<(Job, Demand), String> {
    let sources = &request.derivation.input_sources;
    let valid = store.valid(sources).map_err(|error| error.to_string())?;
    if let Some(missing) = sources.difference(&valid).next() {
        let missing = store.store_dir().print(missing);
        return Err(format!(
            "input is neither valid on this host nor was it sent: {missing}"
        ));
    }
    let inputs = store.closure(sources).map_err(|error| error.to_string())?;
    let job = Job::from_basic(
        store.store_dir(),
        request.path,
        request.derivation,
        inputs,
        options,
    );
    job.map_err(|error| error.to_string())
}
