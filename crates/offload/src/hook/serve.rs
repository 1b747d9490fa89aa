//! Serves one daemon: reads its offers, answers them, builds what was accepted.

use std::path::PathBuf;

use derivation::Derivation;
use store_path::StorePath;
use tokio::io::AsyncRead;

use super::Settings;
use super::accepted::{ExitCode, run};
use super::nix::{Conversation, Event, Inputs, Offer};
use super::requests::{Requests, ServeError, job, read_derivation};
use crate::fleet::{Answer, Fleet, Lease, Patience};
use crate::job::BuildOptions;
use crate::link::{Identity, Timeouts};
use crate::local::{
    HostBounds, LocalStore, NixPrograms, NixStore, StoreDirectories, StoreLocation,
};
use crate::log::{Level, Log};
use crate::machines::read_builders;
use crate::remote::{Question, Remote, Terms};
use crate::schedule::Demand;
use crate::slots::{SlotDirectory, SlotError};

/// What the hook takes from around it, so that nothing here reads the environment.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where the daemon's stores are by default.
    pub directories: StoreDirectories,
    /// The folder of Nix's own programs; see [`NixPrograms::folder`].
    pub programs: PathBuf,
    /// Whose keys are used.
    pub identity: Identity,
    /// Bounds for connecting.
    pub timeouts: Timeouts,
    /// Bounds for others on this host.
    pub bounds: HostBounds,
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
    let mut requests = Requests::new(requests);
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

async fn converse<R: AsyncRead + Unpin>(
    requests: &mut Requests<R, Conversation>,
    log: &mut Log,
    surroundings: &Surroundings,
) -> Result<ExitCode, ServeError> {
    let Some(Event::Settings(settings)) = requests.next().await? else {
        return Err(ServeError::OutOfTurn);
    };
    let settings = Settings::from(settings);
    let (options, mut fleet, mut store) = match open(&settings, surroundings, log) {
        Ok(open) => open,
        // Without a reply the daemon would fail all that its client asks for.
        Err(error) => {
            let message = format!("offload: no build is offloaded: {error}");
            log.daemon.message(Level::Error, &message);
            if requests.next().await?.is_some() {
                log.daemon.reply("decline-permanently", None);
            }
            return Ok(ExitCode::Done);
        }
    };
    while let Some(event) = requests.next().await? {
        let Event::Offer(offer) = event else {
            return Err(ServeError::OutOfTurn);
        };
        let (path, derivation) = match read_derivation(&store.local, &offer.derivation) {
            Ok(read) => read,
            Err(error) => {
                decline(&settings, &offer, &error.to_string(), log);
                continue;
            }
        };
        let build = Offered {
            offer,
            path,
            derivation,
        };
        let answer = answer(&mut fleet, &settings, &build, &store.local, options, log).await;
        let Some(lease) = answer else {
            if fleet.is_empty() {
                return Ok(ExitCode::Done);
            }
            continue;
        };
        accept(&lease, &build.offer, log);
        requests.accepted();
        let Some(Event::Inputs(inputs)) = requests.next().await? else {
            return Err(ServeError::OutOfTurn);
        };
        let Offered {
            offer,
            path,
            derivation,
        } = build;
        let derivation = (path, derivation);
        let Inputs { inputs, wanted } = inputs;
        let job = job(&store.local, derivation, &inputs, &wanted, options)?;
        let work = async |remote: &mut Remote, log: &mut Log| {
            crate::build::build(remote, &mut store, &job, log).await
        };
        let demand = demand(&offer);
        return Ok(run(
            lease,
            &mut fleet,
            &demand,
            &job,
            &offer.derivation,
            log,
            work,
        )
        .await);
    }
    Ok(ExitCode::Done)
}

/// All that offers are answered from.
fn open(
    settings: &Settings,
    surroundings: &Surroundings,
    log: &mut Log,
) -> Result<(BuildOptions, Fleet, NixStore), ServeError> {
    let options = BuildOptions {
        silence: settings.max_silent_time()?,
        time: settings.timeout()?,
        log_size: settings.max_build_log_size()?,
        keep_failed: settings.keep_failed()?,
        use_substitutes: settings.builders_use_substitutes()?,
        trace: false,
    };
    let location = StoreLocation::from_setting(settings.store(), &surroundings.directories)?;
    let fleet = open_fleet(settings, &location, surroundings, log)?;
    let programs = NixPrograms::new(surroundings.programs.clone(), settings.store());
    let mut store = NixStore::open(location, programs, surroundings.bounds)?;
    store.auto_optimise = settings.auto_optimise_store()?;
    store.fsync = settings.fsync_store_paths()?;
    if let Some(why) = store.why_by_programs() {
        let message = format!("offload: {why}; nix-store and nix-daemon are asked instead");
        log.daemon.message(Level::Talkative, &message);
    }
    Ok((options, fleet, store))
}

/// A build that is offered, and what its derivation says.
struct Offered {
    offer: Offer,
    path: StorePath,
    derivation: Derivation<'static>,
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
        &surroundings.directories.state.join("offload"),
        surroundings.identity.clone(),
        surroundings.timeouts,
        location.store_dir.clone(),
    ))
}

/// Looks for a machine. If there is none now, replies so and returns nothing.
async fn answer(
    fleet: &mut Fleet,
    settings: &Settings,
    build: &Offered,
    store: &LocalStore,
    options: BuildOptions,
    log: &mut Log,
) -> Option<Box<Lease>> {
    if fleet.is_empty() {
        log.daemon.reply("decline-permanently", None);
        return None;
    }
    let offer = &build.offer;
    // What cannot be foreseen is asked for once the daemon has told it.
    let foresee = || Question {
        inputs: store.inputs_of(&build.derivation).unwrap_or_default(),
        terms: Terms::Nix {
            use_substitutes: options.use_substitutes,
        },
    };
    match fleet
        .lease(&demand(offer), foresee, Patience::None, log)
        .await
    {
        Ok(Answer::Leased(lease)) => return Some(lease),
        Ok(Answer::Busy(refusals)) => postpone(settings, offer, &refusals.to_string(), log),
        Ok(Answer::None(refusals)) => decline(settings, offer, &refusals.to_string(), log),
        Err(error @ SlotError::Held { .. }) => postpone(settings, offer, &error.to_string(), log),
        Err(error) => decline(settings, offer, &error.to_string(), log),
    }
    None
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

fn postpone(settings: &Settings, offer: &Offer, why: &str, log: &mut Log) {
    let derivation = &offer.derivation;
    if falls_back(settings, offer) {
        let message = format!("offload: all machines are busy, left to this host: {derivation}");
        log.daemon.message(Level::Talkative, &message);
        log.daemon.reply("decline", None);
    } else {
        let message = format!("offload: waiting for a machine to build {derivation}: {why}");
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
        lease.slot().map_or(0, |slot| slot + 1),
        lease.remote.description(),
        lease.remote.place(),
    );
    log.daemon.message(Level::Talkative, &message);
    log.accept(Some(lease.machine.uri.as_str()));
}
