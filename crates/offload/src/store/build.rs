//! Builds for a client of the endpoint.

use std::collections::BTreeMap;

use store_path::{StoreDir, StorePath};
use worker_protocol::operation::BuildDerivation;
use worker_protocol::{BuildResult, BuildStatus, Dialect};

use super::harvest::{Harvest, Output};

use crate::build::{Made, Wish, expected, make, promise};
use crate::failover::{GivenUp, with_failover};
use crate::failure::{Consequence, Failure};
use crate::fleet::{Answer, Fleet, Patience};
use crate::job::{BuildOptions, Job};
use crate::local::LocalStore;
use crate::log::Log;
use crate::remote::{Question, Remote};
use crate::schedule::Demand;

/// A build, and what it demands of a machine.
pub(super) struct Order {
    job: Job,
    demand: Demand,
}

/// Does `order` on whichever machine does it, waiting for a slot if it has to. A failure is a result
/// like any other.
pub(super) async fn build(
    fleet: &mut Fleet,
    store: &LocalStore,
    order: Order,
    log: &mut Log,
) -> (BuildResult, Option<Harvest>) {
    let Order { job, demand } = &order;
    let name = store.store_dir().print(&job.path);
    let foresee = || Question::about(job, Dialect::Nix);
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
            (result, Some(Harvest::new(lease, order, outputs)))
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
    let mut result = BuildResult::new(status);
    result.error = why.into();
    result
}

/// What a client says about how its builds are to be done.
pub(super) fn options(asked: &worker_protocol::operation::SetOptions) -> BuildOptions {
    let setting = |name: &str| {
        let value = asked.settings.get(name.as_bytes())?;
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
        trace: false,
    }
}

/// What a client's request asks for.
pub(super) fn order(
    store: &LocalStore,
    request: BuildDerivation,
    options: BuildOptions,
) -> Result<Order, String> {
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
    let (job, demand) = job.map_err(|error| error.to_string())?;
    Ok(Order { job, demand })
}
