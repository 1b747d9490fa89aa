//! A build that was accepted: on the leased machine, and on others when it gets into trouble. The
//! same for every daemon.

use crate::build::Built;
use crate::failure::{Consequence, Failure};
use crate::fleet::{Answer, Fleet, Lease};
use crate::job::Job;
use crate::log::{Level, Log};
use crate::remote::{Question, Remote};
use crate::schedule::Demand;

/// How a hook ends. The numbers are those that the daemons know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: the build's outputs are registered or in their places, or the daemon hung up without a
    /// build.
    Done = 0,
    /// 1: no machine could do it, or the coordinator is in trouble; the daemon may try again.
    Failed = 1,
    /// 100: the build itself failed.
    Permanent = 100,
    /// 101: the build took too long.
    TimedOut = 101,
}

/// The store whose daemon asks.
pub(super) trait Coordinator {
    /// Builds `job` on the machine behind `remote`.
    async fn build(
        &mut self,
        remote: &mut Remote,
        job: &Job,
        log: &mut Log,
    ) -> Result<Built, Failure>;

    /// What another machine is asked while it is connected to.
    fn foresee(&self, job: &Job) -> Question;

    /// The path of the derivation, in full.
    fn derivation(&self, job: &Job) -> String;
}

/// Builds on the leased machine, and on others when it gets into trouble: after an accept the
/// daemon counts every failure of the hook as the build's.
pub(super) async fn run(
    mut lease: Box<Lease>,
    fleet: &mut Fleet,
    store: &mut impl Coordinator,
    demand: &Demand,
    job: &Job,
    log: &mut Log,
) -> ExitCode {
    let derivation = store.derivation(job);
    loop {
        let failure = match store.build(&mut lease.remote, job, log).await {
            Ok(built) => {
                report(&lease, &derivation, &built, log);
                lease.remote.close().await;
                return ExitCode::Done;
            }
            Err(failure) => failure,
        };
        let name = lease.machine.name.clone();
        let consequence = failure.consequence();
        fleet.give_up(*lease).await;
        if consequence != Consequence::TryAnother {
            let message = format!("build of {derivation} on {name} failed: {failure}");
            log.daemon.message(Level::Error, &message);
            return exit_code(consequence);
        }
        let message = format!("offload: {name} cannot build {derivation}: {failure}");
        log.daemon.message(Level::Warning, &message);
        match another(fleet, store, demand, job, log).await {
            Ok(next) => lease = next,
            Err(why) => {
                let message = format!("no other machine builds {derivation}: {why}");
                log.daemon.message(Level::Error, &message);
                return ExitCode::Failed;
            }
        }
    }
}

async fn another(
    fleet: &mut Fleet,
    store: &impl Coordinator,
    demand: &Demand,
    job: &Job,
    log: &mut Log,
) -> Result<Box<Lease>, String> {
    match fleet.lease(demand, || store.foresee(job), log).await {
        Ok(Answer::Leased(lease)) => {
            let message = format!("offload: trying {} instead", lease.machine.name);
            log.daemon.message(Level::Warning, &message);
            Ok(lease)
        }
        Ok(Answer::Busy(refusals) | Answer::None(refusals)) => Err(refusals.to_string()),
        Err(error) => Err(error.to_string()),
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
        lease.machine.name,
        built.sent_inputs,
        built.outputs.len(),
        traffic.sent(),
        traffic.received(),
    );
    log.daemon.message(Level::Talkative, &message);
}
