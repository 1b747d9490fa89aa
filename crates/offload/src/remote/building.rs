//! Asking for a build, and waiting for it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZero;

use store_path::StorePath;
use tokio::time::Instant;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{BuildDerivation, BuildPaths, BuildPathsWithResults};
use worker_protocol::serve;
use worker_protocol::wire::Text;
use worker_protocol::{BuildMode, BuildResult, BuildStatus, DerivedPath, Error, Outputs};

use super::{Conversation, Remote, queue};
use crate::failure::{Failure, RemoteFailure, speaks_of_hurry};
use crate::job::{BuildOptions, Job};
use crate::log::{Log, Said};

/// The claim to a build's result.
pub(crate) enum BuildClaim {
    /// Of the derivation as it was sent, inputs resolved.
    Derivation(Ticket<BuildDerivation>),
    /// Of the `.drv` file in the machine's own store.
    Paths(Ticket<BuildPathsWithResults>),
    /// The same from a daemon that tells success or an error only (before 1.34).
    OldPaths(Ticket<BuildPaths>),
    Serve(Ticket<serve::BuildDerivation>),
}

impl Remote {
    /// Asks for `job`, whose inputs must be on the machine by then: the derivation itself is sent,
    /// which takes a trusted user.
    pub(crate) async fn queue_build(&mut self, job: &Job) -> Result<BuildClaim, Failure> {
        let failed = |error: RemoteFailure| error.during("ask for the build");
        let client = match &mut self.conversation {
            Conversation::Worker(client) => client,
            Conversation::Serve(serve) => {
                let ticket = serve.queue_build(job).await.map_err(failed)?;
                return Ok(BuildClaim::Serve(ticket));
            }
        };
        let request = BuildDerivation {
            path: job.path.clone(),
            derivation: job.derivation.clone(),
            mode: BuildMode::Normal,
        };
        let ticket = queue(client, &request).await.map_err(failed)?;
        Ok(BuildClaim::Derivation(ticket))
    }

    /// Asks for the outputs `wanted` of the `.drv` file at `path`, which must be on the machine by
    /// then with everything that it refers to. Any user may do so.
    pub(crate) async fn queue_build_of_path(
        &mut self,
        path: &StorePath,
        wanted: &BTreeSet<String>,
    ) -> Result<BuildClaim, Failure> {
        let failed = |error: RemoteFailure| error.during("ask for the build");
        let Conversation::Worker(client) = &mut self.conversation else {
            unreachable!("the serve protocol trusts every user")
        };
        let names = wanted.iter().map(|name| Text::from(name.as_str()));
        let targets = vec![DerivedPath::Built {
            derivation: path.clone(),
            outputs: Outputs::Names(names.collect()),
        }];
        let mode = BuildMode::Normal;
        let version = client.version();
        if version.is_some_and(worker_protocol::Version::has_build_paths_with_results) {
            let request = BuildPathsWithResults { targets, mode };
            let ticket = queue(client, &request).await.map_err(failed)?;
            return Ok(BuildClaim::Paths(ticket));
        }
        let request = BuildPaths { targets, mode };
        let ticket = queue(client, &request).await.map_err(failed)?;
        Ok(BuildClaim::OldPaths(ticket))
    }

    /// Waits for a build, no longer than `options` allow.
    pub(crate) async fn built(
        &mut self,
        claim: BuildClaim,
        options: BuildOptions,
        log: &mut Log,
    ) -> Result<BuildResult, Failure> {
        let heard = Cell::new(Instant::now());
        let mut hear = |said| {
            log.forward(said);
            // Afterwards: a client that is slow to read is not the build's silence.
            heard.set(Instant::now());
        };
        let result = self.result(claim, &mut hear);
        within(options, &heard, result).await
    }

    async fn result(
        &mut self,
        claim: BuildClaim,
        hear: &mut impl FnMut(Said),
    ) -> Result<BuildResult, Error> {
        let client = match (&mut self.conversation, &claim) {
            (Conversation::Worker(client), _) => client,
            (Conversation::Serve(serve), BuildClaim::Serve(ticket)) => {
                return serve.built(*ticket, hear).await;
            }
            _ => unreachable!("a conversation has one protocol"),
        };
        let mut hear = |message| hear(Said::Message(message));
        match claim {
            BuildClaim::Derivation(ticket) => client.reply(ticket, &mut hear).await,
            BuildClaim::Paths(ticket) => {
                let results = client.reply(ticket, &mut hear).await?;
                let only = results.into_iter().next().map(|(_, result)| result);
                // Asked for one derivation, a daemon tells of one.
                Ok(only.unwrap_or_else(|| failed(BuildStatus::MiscFailure, "no result was told")))
            }
            BuildClaim::OldPaths(ticket) => {
                let mut mismatch = false;
                let mut hear = |message| {
                    mismatch |= tells_of_mismatch(&message);
                    hear(message);
                };
                let replied = client.reply(ticket, &mut hear).await;
                judge_by_number(replied.map(drop), mismatch)
            }
            BuildClaim::Serve(_) => unreachable!("a conversation has one protocol"),
        }
    }
}

/// A guix-daemon tells of a wrong fixed output in words only (1.2.0 and 1.5.0): its number is 1, that of failures
/// that prove nothing.
fn tells_of_mismatch(message: &worker_protocol::Log) -> bool {
    const WORDS: &[u8] = b"hash mismatch for store item '";
    match message {
        worker_protocol::Log::Next(text) => text.windows(WORDS.len()).any(|words| words == WORDS),
        _ => false,
    }
}

/// How a build ended of which the daemon tells a number.
fn judge_by_number(replied: Result<(), Error>, mismatch: bool) -> Result<BuildResult, Error> {
    let error = match replied {
        Ok(()) => return Ok(BuildResult::new(BuildStatus::Built)),
        // No verdict on the build.
        Err(Error::Remote(error)) if speaks_of_hurry(&error) => return Err(Error::Remote(error)),
        Err(Error::Remote(error)) => error,
        Err(error) => return Err(error),
    };
    let status = match error.status.map_or(1, NonZero::get) {
        100 => BuildStatus::PermanentFailure,
        101 => BuildStatus::TimedOut,
        // Nix: bits for what went wrong, of which these are two.
        102 => BuildStatus::HashMismatch,
        104 => BuildStatus::NotDeterministic,
        _ if mismatch => BuildStatus::HashMismatch,
        _ => BuildStatus::MiscFailure,
    };
    Ok(failed(status, &error.message.to_string_lossy()))
}

fn failed(status: BuildStatus, why: &str) -> BuildResult {
    let mut result = BuildResult::new(status);
    result.error = Text::from(why);
    result
}

/// Waits for `result` until a limit is reached; `heard` is when the build last printed something.
async fn within(
    options: BuildOptions,
    heard: &Cell<Instant>,
    result: impl Future<Output = Result<BuildResult, Error>>,
) -> Result<BuildResult, Failure> {
    let started = Instant::now();
    tokio::pin!(result);
    loop {
        let silence = options
            .silence
            .and_then(|bound| Some((heard.get().checked_add(bound)?, "printed nothing", bound)));
        // What lies beyond the end of time is no bound.
        let time = options
            .time
            .and_then(|bound| Some((started.checked_add(bound)?, "ran", bound)));
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
            result = &mut result => {
                return result.map_err(|error| RemoteFailure::from(error).during("build"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::RemoteError;

    use super::*;

    #[test]
    fn a_number_is_a_verdict_or_proves_nothing() {
        let judged = |status, mismatch| {
            let mut error = RemoteError::new("build of `x.drv' failed");
            error.status = NonZero::new(status);
            let judged = judge_by_number(Err(Error::Remote(error)), mismatch);
            judged.expect("it is no trouble").status
        };
        assert_eq!(judged(100, false), BuildStatus::PermanentFailure);
        assert_eq!(judged(101, false), BuildStatus::TimedOut);
        assert_eq!(judged(1, false), BuildStatus::MiscFailure);
        assert_eq!(judged(1, true), BuildStatus::HashMismatch);
        let tells = |text: &str| tells_of_mismatch(&worker_protocol::Log::Next(Text::from(text)));
        assert!(tells(
            "hash mismatch for store item '/gnu/store/x'\n  expected hash: 0"
        ));
        assert!(!tells("hash mismatch"));
    }
}
