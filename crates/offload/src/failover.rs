//! One build on whichever machine does it: when one gets into trouble, on another.

use crate::failure::{Consequence, Failure};
use crate::fleet::{Answer, Fleet, Lease, Patience};
use crate::job::Job;
use crate::log::{Level, Log};
use crate::remote::{Question, Remote};
use crate::schedule::Demand;

/// A build that no machine has done.
#[derive(Debug)]
pub(crate) struct GivenUp {
    /// The machine that it failed on last.
    pub(crate) uri: String,
    /// Why it failed there.
    pub(crate) failure: Failure,
    /// Why there is no other, where another might have done better.
    pub(crate) no_other: Option<String>,
}

/// How many machines have to say of a build that it has failed, where a machine may be to blame:
/// nix calls every failure of a fixed-output build transient, as a server may have been down.
const MAX_VERDICTS: u32 = 2;

/// Does `work` on the leased machine, and on others when that one gets into trouble: whoever asked
/// for the build counts every failure as the build's. Waits for a slot if it has to.
pub(crate) async fn with_failover<T>(
    mut lease: Box<Lease>,
    fleet: &mut Fleet,
    demand: &Demand,
    job: &Job,
    name: &str,
    log: &mut Log,
    mut work: impl AsyncFnMut(&mut Remote, &mut Log) -> Result<T, Failure>,
) -> Result<(Box<Lease>, T), GivenUp> {
    let mut verdicts = 0;
    loop {
        let failure = match work(&mut lease.remote, log).await {
            Ok(done) => return Ok((lease, done)),
            Err(failure) => failure,
        };
        let uri = lease.machine.uri.to_string();
        let consequence = failure.consequence();
        match consequence {
            Consequence::TryAnother => fleet.give_up(*lease).await,
            // The machine is as good as before.
            _ => lease.remote.close().await,
        }
        verdicts += u32::from(failure.is_of_the_build());
        if consequence != Consequence::TryAnother || verdicts == MAX_VERDICTS {
            return Err(GivenUp {
                uri,
                failure,
                no_other: None,
            });
        }
        let message = format!("offload: {uri} cannot build {name}: {failure}");
        log.daemon.message(Level::Warning, &message);
        match another(fleet, demand, job, log).await {
            Ok(next) => lease = next,
            Err(why) => {
                return Err(GivenUp {
                    uri,
                    failure,
                    no_other: Some(why),
                });
            }
        }
    }
}

async fn another(
    fleet: &mut Fleet,
    demand: &Demand,
    job: &Job,
    log: &mut Log,
) -> Result<Box<Lease>, String> {
    let question = Question::about(job, fleet.dialect());
    let foresee = || question.clone();
    let leasing = fleet.lease(demand, foresee, Patience::Waits, log);
    let leased = match job.options.time {
        // A build that may not take longer has no use for a longer wait.
        Some(bound) => match tokio::time::timeout(bound, leasing).await {
            Ok(leased) => leased,
            Err(_) => return Err(format!("none was free within {} s", bound.as_secs())),
        },
        None => leasing.await,
    };
    match leased {
        Ok(Answer::Leased(lease)) => {
            let message = format!("offload: trying {} instead", lease.machine.uri);
            log.daemon.message(Level::Warning, &message);
            Ok(lease)
        }
        Ok(Answer::Busy(refusals) | Answer::None(refusals)) => Err(refusals.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
