//! Serves one guix-daemon: reads its requests, answers them, builds what was accepted.

use std::time::Duration;

use derivation::Derivation;
use store_path::StorePath;
use tokio::io::AsyncRead;

use super::accepted::{ExitCode, run};
use super::guix::{Conversation, Event, Inputs, Request};
use super::requests::{Requests, ServeError, job, read_derivation};
use crate::build::{Built, build_guix};
use crate::failure::Failure;
use crate::fleet::{Answer, Fleet, Lease, Patience, Refusals};
use crate::job::{BuildOptions, Job};
use crate::link::{Identity, Timeouts};
use crate::local::{GuixDirectories, GuixKeys, GuixStore, HostBounds, Limits};
use crate::log::{Level, Log};
use crate::machines::{Effect, MachineList, Problem};
use crate::remote::{Question, Remote, Terms};
use crate::schedule::{Demand, Reason};
use crate::slots::{SlotDirectory, SlotError};

/// Most paths that are asked for before the daemon has named them: more do not leave with the greeting
/// ([`worker_protocol::client::Options::TOGETHER`]), and it would take the longer to find them out.
const MAX_FORESEEN: usize = 150;

/// What a guix-daemon gives its hook as arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixArguments {
    /// The system that the daemon runs on, `x86_64-linux`.
    pub system: String,
    /// How long a build may print nothing. `None` is for ever.
    pub silence: Option<Duration>,
    /// Whether the daemon wants to be told of the build by `@ ..` lines.
    pub trace: bool,
    /// How long a build may take. `None` is for ever.
    pub time: Option<Duration>,
}

impl GuixArguments {
    /// Reads `x86_64-linux 3600 1 0` or, from guix 1.5.0 on, `x86_64-linux 3600 true 0`.
    #[must_use]
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
        let [system, silence, trace, time] = arguments else {
            return None;
        };
        let bound = |text: &str| Some(Some(seconds(text)?).filter(|bound| !bound.is_zero()));
        Some(GuixArguments {
            system: system.clone(),
            silence: bound(silence)?,
            trace: match trace.as_str() {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return None,
            },
            time: bound(time)?,
        })
    }
}

/// What the hook takes from around it.
#[derive(Debug, Clone)]
pub struct GuixSurroundings {
    /// Where the daemon keeps its things.
    pub directories: GuixDirectories,
    /// Whose keys are used.
    pub identity: Identity,
    /// Bounds for connecting.
    pub timeouts: Timeouts,
    /// Whose signatures count, and who signs.
    pub keys: GuixKeys,
    /// Bounds for outputs.
    pub limits: Limits,
    /// Bounds for others on this host.
    pub bounds: HostBounds,
}

/// Serves the guix-daemon that writes to `requests` until it hangs up or a build is done. `machines` gives the machine
/// list when it is first asked, and later where the list has changed since: a daemon asks the same process about a
/// build until a machine takes it, which may be hours later.
///
/// As [`serve`](super::serve()): every wait has a bound but for waiting for the daemon itself.
pub async fn serve_guix<R: AsyncRead + Unpin>(
    requests: R,
    log: &mut Log,
    arguments: &GuixArguments,
    surroundings: &GuixSurroundings,
    machines: impl AsyncFnMut() -> Option<MachineList>,
) -> ExitCode {
    let mut requests = Requests::new(requests);
    let result = converse(&mut requests, log, arguments, surroundings, machines).await;
    log.build.drain();
    result.unwrap_or_else(|error| {
        log.daemon
            .message(Level::Error, &format!("offload: {error}"));
        ExitCode::Failed
    })
}

/// Builds on one machine, and tells what stock tells in the end.
async fn build(
    remote: &mut Remote,
    store: &GuixStore,
    job: &Job,
    log: &mut Log,
) -> Result<Built, Failure> {
    let built = build_guix(remote, store, job, log).await?;
    let derivation = store.local.store_dir().print(&job.path);
    let message = format!("done with offloaded '{derivation}'");
    log.daemon.message(Level::Notice, &message);
    Ok(built)
}

async fn converse<R: AsyncRead + Unpin>(
    requests: &mut Requests<R, Conversation>,
    log: &mut Log,
    arguments: &GuixArguments,
    surroundings: &GuixSurroundings,
    mut machines: impl AsyncFnMut() -> Option<MachineList>,
) -> Result<ExitCode, ServeError> {
    let list = machines().await.unwrap_or_default();
    let (store, mut fleet) = match open(surroundings, &list, log) {
        Ok(open) => open,
        // Without a reply the daemon would fail all that its client asks for.
        Err(error) => return decline_all(requests, &error.to_string(), log).await,
    };
    while let Some(event) = requests.next().await? {
        let Event::Request(request) = event else {
            return Err(ServeError::OutOfTurn);
        };
        if let Some(list) = machines().await {
            renew(&mut fleet, &store, surroundings, &list, log)?;
        }
        let (path, derivation) = match read_derivation(&store.local, &request.derivation) {
            Ok(read) => read,
            Err(error) => {
                decline(&request, &error.to_string(), log);
                continue;
            }
        };
        let options = options(arguments);
        let foresee = || foreseen(&store, &path, &derivation, options);
        let Some(lease) = answer(&mut fleet, &request, &arguments.system, foresee, log).await
        else {
            continue;
        };
        log.accept(None);
        requests.accepted();
        let Some(Event::Inputs(inputs)) = requests.next().await? else {
            return Err(ServeError::OutOfTurn);
        };
        let derivation = (path, derivation);
        let Inputs { inputs, outputs } = inputs;
        let job = job(&store.local, derivation, &inputs, &outputs, options)?;
        let work =
            async |remote: &mut Remote, log: &mut Log| build(remote, &store, &job, log).await;
        let demand = demand(&request);
        let derivation = &request.derivation;
        return Ok(run(lease, &mut fleet, &demand, &job, derivation, log, work).await);
    }
    Ok(ExitCode::Done)
}

/// All that requests are answered from. That outputs can be verified is better known before a build is
/// accepted.
fn open(
    surroundings: &GuixSurroundings,
    list: &MachineList,
    log: &mut Log,
) -> Result<(GuixStore, Fleet), ServeError> {
    let GuixSurroundings {
        directories,
        keys,
        limits,
        bounds,
        ..
    } = surroundings;
    let store = GuixStore::open(directories, keys.clone(), *limits, *bounds)?;
    keys.authority()?;
    let fleet = open_fleet(&store, surroundings, list, log)?;
    Ok((store, fleet))
}

async fn decline_all<R: AsyncRead + Unpin>(
    requests: &mut Requests<R, Conversation>,
    why: &str,
    log: &mut Log,
) -> Result<ExitCode, ServeError> {
    let message = format!("offload: no build is offloaded: {why}");
    log.daemon.message(Level::Error, &message);
    while let Some(Event::Request(request)) = requests.next().await? {
        decline(&request, why, log);
    }
    Ok(ExitCode::Done)
}

/// Goes by a list that has changed, unless it is not understood: somebody may be writing it.
fn renew(
    fleet: &mut Fleet,
    store: &GuixStore,
    surroundings: &GuixSurroundings,
    list: &MachineList,
    log: &mut Log,
) -> Result<(), ServeError> {
    let renewed = open_fleet(store, surroundings, list, log)?;
    let is_lost = |problem: &Problem| problem.effect() == Effect::ListSkipped;
    if list.problems.iter().any(is_lost) {
        let message = "offload: the machine list has changed, and the one of before counts";
        log.daemon.message(Level::Warning, message);
        return Ok(());
    }
    *fleet = renewed;
    Ok(())
}

fn open_fleet(
    store: &GuixStore,
    surroundings: &GuixSurroundings,
    list: &MachineList,
    log: &mut Log,
) -> Result<Fleet, ServeError> {
    for problem in &list.problems {
        log.daemon
            .message(Level::Warning, &format!("offload: {problem}"));
    }
    let state = &surroundings.directories.state;
    // Guix has its slots there; a machine's directory has a colon in its name.
    let slots = SlotDirectory::open_guix(state.join("offload"))?;
    let fleet = Fleet::new(
        list.machines.clone(),
        slots,
        &state.join("offload/knowledge"),
        surroundings.identity.clone(),
        surroundings.timeouts,
        store.local.store_dir().clone(),
    );
    Ok(fleet.of_guix())
}

fn demand(request: &Request) -> Demand {
    Demand {
        system: request.system.clone(),
        required_features: request.required_features.clone(),
    }
}

/// Looks for a machine. If there is none now, replies so and returns nothing.
async fn answer(
    fleet: &mut Fleet,
    request: &Request,
    own_system: &str,
    foresee: impl Fn() -> Question,
    log: &mut Log,
) -> Option<Box<Lease>> {
    let answer = fleet
        .lease(&demand(request), foresee, Patience::None, log)
        .await;
    let (reply, why) = match answer {
        Ok(Answer::Leased(lease)) => return Some(lease),
        Ok(Answer::Busy(refusals) | Answer::None(refusals)) => {
            let builds_itself = request.local_slot && builds_for(own_system, &request.system);
            (follow(&refusals, builds_itself), refusals.to_string())
        }
        Err(error @ SlotError::Held { .. }) => (Reply::Postpone, error.to_string()),
        Err(error) => {
            // No build will be offloaded until somebody has seen to it.
            let message = format!("offload: no machine can be chosen: {error}");
            log.daemon.message(Level::Warning, &message);
            (Reply::Decline, error.to_string())
        }
    };
    match reply {
        Reply::Postpone => {
            let derivation = &request.derivation;
            let message = format!("offload: waiting for a machine to build {derivation}: {why}");
            log.daemon.message(Level::Talkative, &message);
            log.daemon.reply("postpone", None);
        }
        Reply::Decline => decline(request, &why, log),
    }
    None
}

/// What is said where there is no machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Postpone,
    Decline,
}

/// A machine that is only full is waited for. Those that cannot be reached or have enough to do
/// may stay so for ever: where the daemon has a slot of its own, for that system, it had better build.
fn follow(refusals: &Refusals, builds_itself: bool) -> Reply {
    let is = |test: fn(&Reason) -> bool| refusals.0.iter().any(|(_, reason)| test(reason));
    let full = refusals.any_full();
    let troubled = is(|reason| matches!(reason, Reason::Failed(_) | Reason::Overloaded(_)));
    match full || (troubled && !builds_itself) {
        true => Reply::Postpone,
        false => Reply::Decline,
    }
}

/// Whether a guix-daemon on a host of `own` system builds for `wanted` by itself (1.2.0 and 1.5.0). One that is
/// offered a build for another says that it has a slot, too.
fn builds_for(own: &str, wanted: &str) -> bool {
    own == wanted
        || matches!(
            (own, wanted),
            ("x86_64-linux", "i686-linux") | ("aarch64-linux", "armhf-linux") | (_, "builtin")
        )
}

fn decline(request: &Request, why: &str, log: &mut Log) {
    let message = format!("offload: no machine builds {}: {why}", request.derivation);
    log.daemon.message(Level::Talkative, &message);
    log.daemon.reply("decline", None);
}

fn options(arguments: &GuixArguments) -> BuildOptions {
    BuildOptions {
        silence: arguments.silence,
        time: arguments.time,
        use_substitutes: true,
        trace: arguments.trace,
        ..BuildOptions::default()
    }
}

/// What can be asked before the daemon has named the inputs, as far as that leaves together with the greeting.
fn foreseen(
    store: &GuixStore,
    path: &StorePath,
    derivation: &Derivation<'_>,
    options: BuildOptions,
) -> Question {
    let inputs = store
        .local
        .some_inputs_and_derivations(path, derivation, MAX_FORESEEN);
    let inputs = inputs.ok().filter(|inputs| inputs.len() <= MAX_FORESEEN);
    Question {
        inputs: inputs.unwrap_or_default(),
        terms: Terms::Guix {
            derivation: path.clone(),
            options,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<GuixArguments> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        GuixArguments::parse(&words)
    }

    #[test]
    fn arguments_are_those_of_both_versions() {
        let old = parse("x86_64-linux 3600 1 0").unwrap();
        assert_eq!(old.silence, Some(Duration::from_secs(3600)));
        assert_eq!((old.trace, old.time), (true, None));
        assert_eq!(parse("x86_64-linux 3600 true 0"), Some(old));
        let silent = parse("i686-linux 0 false 7200").unwrap();
        assert_eq!((silent.trace, silent.silence), (false, None));
        for nonsense in [
            "",
            "x 1 1",
            "x 1 yes 1",
            "x -1 1 1",
            "x 1 1 1 1",
            "x 1 1 soon",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_free_slot_is_of_no_use_for_another_system() {
        for (own, wanted, builds) in [
            ("x86_64-linux", "x86_64-linux", true),
            ("x86_64-linux", "i686-linux", true),
            ("i686-linux", "x86_64-linux", false),
            ("x86_64-linux", "aarch64-linux", false),
            ("aarch64-linux", "armhf-linux", true),
        ] {
            assert_eq!(builds_for(own, wanted), builds, "{wanted} on {own}");
        }
    }

    #[test]
    fn who_is_full_is_waited_for_and_who_is_dead_only_where_nobody_else_builds() {
        let refused = |reasons: &[Reason]| {
            let named = reasons
                .iter()
                .map(|reason| ("m".to_owned(), reason.clone()));
            Refusals(named.collect())
        };
        let full = Reason::Full { max_jobs: 2 };
        let off = Reason::Full { max_jobs: 0 };
        let dead = Reason::Failed("cannot be reached".to_owned());
        let loaded = Reason::Overloaded("is overloaded".to_owned());
        let other = Reason::MissingFeatures(vec!["kvm".to_owned()]);
        for local_slot in [false, true] {
            let reply = |reasons: &[Reason]| follow(&refused(reasons), local_slot);
            assert_eq!(reply(&[dead.clone(), full.clone()]), Reply::Postpone);
            assert_eq!(reply(&[other.clone(), off.clone()]), Reply::Decline);
            assert_eq!(reply(&[]), Reply::Decline);
            let troubled = match local_slot {
                true => Reply::Decline,
                false => Reply::Postpone,
            };
            assert_eq!(reply(&[other.clone(), dead.clone()]), troubled);
            assert_eq!(reply(std::slice::from_ref(&loaded)), troubled);
        }
    }
}
