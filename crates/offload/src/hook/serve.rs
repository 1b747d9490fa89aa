//! Serves one daemon: reads its offers, answers them, builds what was accepted.

use std::collections::BTreeSet;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::nix::{self, Conversation, Event, Inputs, Offer};
use super::{Settings, SettingsError};
use crate::build::{Built, build};
use crate::failure::Consequence;
use crate::fleet::{Answer, Fleet, Identity, Lease, Refusals};
use crate::job::{Job, JobError, Limits, parse_path};
use crate::link::Timeouts;
use crate::local::{LocalError, LocationError, NixStore, StoreDirectories, StoreLocation};
use crate::log::{Level, Log};
use crate::machines::read_builders;
use crate::schedule::Demand;
use crate::slots::{SlotDirectory, SlotError};

/// How a hook ends. The numbers are those that Nix's daemon knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: the build's outputs are registered, or the daemon hung up without a build.
    Done = 0,
    /// 1: no machine could do it, or the coordinator is in trouble; the daemon may try again.
    Failed = 1,
    /// 100: the build itself failed.
    Permanent = 100,
    /// 101: the build took too long.
    TimedOut = 101,
}

/// What the hook takes from around it, so that nothing here reads the environment.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where the daemon's stores are by default.
    pub directories: StoreDirectories,
    /// Whose keys are used.
    pub identity: Identity,
    /// Bounds for connecting.
    pub timeouts: Timeouts,
}

/// Why the hook ends without having accepted a build.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("failed to read the daemon's request: {0}")]
    Read(#[from] std::io::Error),
    #[error("the daemon's request makes no sense: failed to {0}")]
    Conversation(#[from] nix::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Slots(#[from] SlotError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("the daemon asked for something out of turn")]
    OutOfTurn,
}

/// Serves the daemon that writes to `requests` until it hangs up or a build is done.
///
/// Never hangs: every wait has a bound, but for waiting for the daemon itself, which ends this
/// process when it goes away. Slots and connections are released in all cases.
pub async fn serve<R: AsyncRead + Unpin>(
    requests: R,
    log: &mut Log,
    surroundings: &Surroundings,
) -> ExitCode {
    let mut requests = Requests {
        stream: requests,
        conversation: Conversation::new(),
    };
    let code = match converse(&mut requests, log, surroundings).await {
        Ok(code) => code,
        Err(error) => {
            log.daemon
                .message(Level::Error, &format!("offload: {error}"));
            ExitCode::Failed
        }
    };
    log.build.drain();
    code
}

/// The daemon's side of the conversation.
struct Requests<R> {
    stream: R,
    conversation: Conversation,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    /// The next event, or `None` when the daemon hung up where it may.
    async fn next(&mut self) -> Result<Option<Event>, ServeError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(event) = self.conversation.poll()? {
                return Ok(Some(event));
            }
            match self.stream.read(&mut buffer).await? {
                0 => {
                    self.conversation.handle_end()?;
                    return Ok(None);
                }
                length => self.conversation.handle(&buffer[..length]),
            }
        }
    }
}

async fn converse<R: AsyncRead + Unpin>(
    requests: &mut Requests<R>,
    log: &mut Log,
    surroundings: &Surroundings,
) -> Result<ExitCode, ServeError> {
    let Some(Event::Settings(settings)) = requests.next().await? else {
        return Err(ServeError::OutOfTurn);
    };
    let settings = Settings::from(settings);
    let limits = Limits {
        silence: settings.max_silent_time()?,
        time: settings.timeout()?,
        use_substitutes: settings.builders_use_substitutes()?,
    };
    let location = StoreLocation::from_setting(settings.store(), &surroundings.directories)?;
    let mut fleet = open_fleet(&settings, &location, surroundings, log)?;
    let mut store = NixStore::open(location)?;
    while let Some(event) = requests.next().await? {
        let Event::Offer(offer) = event else {
            return Err(ServeError::OutOfTurn);
        };
        let Some(lease) = answer(&mut fleet, &settings, &offer, log).await? else {
            if fleet.is_empty() {
                return Ok(ExitCode::Done);
            }
            continue;
        };
        accept(&lease, &offer, log);
        requests.conversation.accepted();
        let Some(Event::Inputs(inputs)) = requests.next().await? else {
            return Err(ServeError::OutOfTurn);
        };
        let job = job(&store, &offer, inputs, limits)?;
        return Ok(run(lease, &mut fleet, &mut store, &offer, &job, log).await);
    }
    Ok(ExitCode::Done)
}

fn open_fleet(
    settings: &Settings,
    location: &StoreLocation,
    surroundings: &Surroundings,
    log: &mut Log,
) -> Result<Fleet, ServeError> {
    let list = read_builders(settings.builders(), settings.system());
    for problem in &list.problems {
        log.daemon
            .message(Level::Warning, &format!("offload: {problem}"));
    }
    // Slot locks are the host's, not one store's: stock keeps them in the daemon's own state
    // directory whatever the store.
    let slots = SlotDirectory::open(surroundings.directories.state.join("current-load"))?;
    Ok(Fleet::new(
        list.machines,
        slots,
        surroundings.identity.clone(),
        surroundings.timeouts,
        location.store_dir.clone(),
    ))
}

/// Looks for a machine. If there is none now, replies so and returns nothing.
async fn answer(
    fleet: &mut Fleet,
    settings: &Settings,
    offer: &Offer,
    log: &mut Log,
) -> Result<Option<Box<Lease>>, ServeError> {
    if fleet.is_empty() {
        log.daemon.reply("decline-permanently", None);
        return Ok(None);
    }
    let demand = demand(offer);
    if demand
        .required_features
        .iter()
        .any(|feature| feature == "ca-derivations")
    {
        let why = "its output paths are not known before it is built, which is not yet offloaded";
        decline(settings, offer, why, log);
        return Ok(None);
    }
    match fleet.lease(&demand, log).await? {
        Answer::Leased(lease) => return Ok(Some(lease)),
        Answer::Busy(refusals) => postpone(settings, offer, &refusals, log),
        Answer::None(refusals) => decline(settings, offer, &refusals.to_string(), log),
    }
    Ok(None)
}

fn demand(offer: &Offer) -> Demand {
    Demand {
        system: offer.system.clone(),
        required_features: offer.required_features.clone(),
    }
}

/// Whether the daemon will build it itself when it is declined.
fn falls_back(settings: &Settings, offer: &Offer) -> bool {
    offer.am_willing && settings.can_build_locally(&offer.system, &offer.required_features)
}

fn postpone(settings: &Settings, offer: &Offer, refusals: &Refusals, log: &mut Log) {
    let derivation = &offer.derivation;
    if falls_back(settings, offer) {
        let message = format!("offload: all machines are busy, left to this host: {derivation}");
        log.daemon.message(Level::Talkative, &message);
        log.daemon.reply("decline", None);
    } else {
        let message = format!("offload: waiting for a machine to build {derivation}: {refusals}");
        log.daemon.message(Level::Talkative, &message);
        log.daemon.reply("postpone", None);
    }
}

fn decline(settings: &Settings, offer: &Offer, why: &str, log: &mut Log) {
    let level = match falls_back(settings, offer) {
        true => Level::Talkative,
        false => Level::Warning,
    };
    let features = match offer.required_features.as_slice() {
        [] => String::new(),
        features => format!(" with {}", features.join(", ")),
    };
    let message = format!(
        "offload: no machine builds {} (for {}{features}): {why}",
        offer.derivation, offer.system
    );
    log.daemon.message(level, &message);
    log.daemon.reply("decline", None);
}

fn accept(lease: &Lease, offer: &Offer, log: &mut Log) {
    let message = format!(
        "offload: building {} on {} ({}; slot {}; {}; {})",
        offer.derivation,
        lease.machine.uri,
        lease.reason,
        lease.slot().index() + 1,
        lease.remote.description(),
        lease.remote.way(),
    );
    log.daemon.message(Level::Talkative, &message);
    log.daemon.reply("accept", Some(lease.machine.uri.as_str()));
}

fn job(store: &NixStore, offer: &Offer, inputs: Inputs, limits: Limits) -> Result<Job, ServeError> {
    let store_dir = store.store_dir();
    let derivation = parse_path(store_dir, &offer.derivation)?;
    let text = store.read_derivation(&derivation)?;
    let Inputs { inputs, wanted } = inputs;
    let inputs: BTreeSet<_> = inputs
        .iter()
        .map(|path| parse_path(store_dir, path))
        .collect::<Result<_, _>>()?;
    Ok(Job::new(
        store_dir, derivation, &text, inputs, &wanted, limits,
    )?)
}

/// Builds on the leased machine, and on others when it gets into trouble: after an accept the
/// daemon counts every failure of the hook as the build's.
async fn run(
    mut lease: Box<Lease>,
    fleet: &mut Fleet,
    store: &mut NixStore,
    offer: &Offer,
    job: &Job,
    log: &mut Log,
) -> ExitCode {
    loop {
        let failure = match build(&mut lease.remote, store, job, log).await {
            Ok(built) => {
                report(&lease, offer, &built, log);
                lease.remote.close().await;
                return ExitCode::Done;
            }
            Err(failure) => failure,
        };
        let uri = lease.machine.uri.clone();
        let derivation = &offer.derivation;
        let consequence = failure.consequence();
        fleet.give_up(*lease).await;
        if consequence != Consequence::TryAnother {
            let message = format!("build of {derivation} on {uri} failed: {failure}");
            log.daemon.message(Level::Error, &message);
            return exit_code(consequence);
        }
        let message = format!("offload: {uri} cannot build {derivation}: {failure}");
        log.daemon.message(Level::Warning, &message);
        match another(fleet, offer, log).await {
            Some(next) => lease = next,
            None => return ExitCode::Failed,
        }
    }
}

async fn another(fleet: &mut Fleet, offer: &Offer, log: &mut Log) -> Option<Box<Lease>> {
    let why = match fleet.lease(&demand(offer), log).await {
        Ok(Answer::Leased(lease)) => {
            let message = format!("offload: trying {} instead", lease.machine.uri);
            log.daemon.message(Level::Warning, &message);
            return Some(lease);
        }
        Ok(Answer::Busy(refusals) | Answer::None(refusals)) => refusals.to_string(),
        Err(error) => error.to_string(),
    };
    let message = format!("no other machine builds {}: {why}", offer.derivation);
    log.daemon.message(Level::Error, &message);
    None
}

fn exit_code(consequence: Consequence) -> ExitCode {
    match consequence {
        Consequence::Permanent => ExitCode::Permanent,
        Consequence::TimedOut => ExitCode::TimedOut,
        Consequence::TryAnother | Consequence::GiveUp => ExitCode::Failed,
    }
}

fn report(lease: &Lease, offer: &Offer, built: &Built, log: &mut Log) {
    let traffic = lease.remote.traffic();
    let message = format!(
        "offload: built {} on {}: {} inputs sent, {} outputs received, {} bytes out, {} bytes in",
        offer.derivation,
        lease.machine.uri,
        built.sent_inputs,
        built.outputs.len(),
        traffic.sent(),
        traffic.received(),
    );
    log.daemon.message(Level::Talkative, &message);
}
