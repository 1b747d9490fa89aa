//! A build that a daemon's hook has accepted: the same for every daemon.

use crate::build::Built;
use crate::failover::{GivenUp, with_failover};
use crate::failure::{Consequence, Failure};
use crate::fleet::{Fleet, Lease};
use crate::job::Job;
use crate::log::{Level, Log};
use crate::remote::Remote;
use crate::schedule::Demand;

/// How a hook ends. The numbers are those that the daemons know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: the build's outputs are registered (Nix) or in their places (Guix), or the daemon hung up
    /// without a build.
    Done = 0,
    /// 1: no machine could do it, or the coordinator is in trouble; the daemon may try again.
    Failed = 1,
    /// 100: the build itself failed.
    Permanent = 100,
    /// 101: the build took too long.
    TimedOut = 101,
}

/// Builds by `work` on the leased machine, or on another, and says how that ended.
pub(super) async fn run(
    lease: Box<Lease>,
    fleet: &mut Fleet,
    demand: &Demand,
    job: &Job,
    derivation: &str,
    log: &mut Log,
    work: impl AsyncFnMut(&mut Remote, &mut Log) -> Result<Built, Failure>,
) -> ExitCode {
    match with_failover(lease, fleet, demand, job, derivation, log, work).await {
        Ok((lease, built)) => {
            report(&lease, derivation, &built, log);
            lease.remote.close().await;
            ExitCode::Done
        }
        Err(GivenUp {
            uri,
            failure,
            no_other: Some(why),
        }) => {
            let message = format!(
                "build of {derivation} on {uri} failed: {failure}; no other machine builds it: {why}"
            );
            log.daemon.message(Level::Error, &message);
            ExitCode::Failed
        }
        Err(GivenUp { uri, failure, .. }) => {
            let message = format!("build of {derivation} on {uri} failed: {failure}");
            log.daemon.message(Level::Error, &message);
            exit_code(failure.consequence())
        }
    }
}

fn exit_code(consequence: Consequence) -> ExitCode {
    match consequence {
        Consequence::Permanent => ExitCode::Permanent,
        Consequence::TimedOut => ExitCode::TimedOut,
        Consequence::TryAnother | Consequence::GiveUp => ExitCode::Failed,
    }
}

fn report(lease: &Lease, derivation: &str, built: &Built, log: &mut Log) {
    let traffic = lease.remote.traffic();
    let message = format!(
        "offload: built {derivation} on {}: {} inputs sent, {} outputs received, {} bytes out, {} bytes in",
        lease.machine.uri,
        built.sent_inputs,
        built.outputs.len(),
        traffic.sent(),
        traffic.received(),
    );
    log.daemon.message(Level::Talkative, &message);
}
