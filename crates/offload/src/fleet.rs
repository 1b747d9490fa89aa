//! The machines together: finds one for a build, and takes a slot and a connection on it.

use std::cell::OnceCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::Duration;

use store_path::StoreDir;
use tokio::time::Instant;
use worker_protocol::Dialect;

use crate::build::LOW_DISK;
use crate::failure::Failure;
use crate::health::{self, Health};
use crate::link::{Destination, Identity, LinkError, SshSettings, SshTarget, Timeouts};
use crate::log::{Level, Log};
use crate::machines::Machine;
use crate::queue::QueueDirectory;
use crate::remote::{Question, Remote, Seen};
use crate::schedule::{self, Demand, Order, Reason, State};
use crate::slots::{SSH_PORT, Slot, SlotDirectory, SlotError};

/// How long a machine that could not be reached is left alone. A hook whose builds are postponed
/// lives on and is asked every few seconds, so the answer must not be for ever.
const UNREACHABLE_FOR: Duration = Duration::from_secs(60);

/// How long an overloaded machine is left alone: a load is a mean of a minute.
const OVERLOADED_FOR: Duration = Duration::from_secs(4);

/// How long those who only have enough to do already are waited for, where nobody else is left.
const OVERLOAD_PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks for a free slot, of the one whose turn it is.
const SLOT_PAUSE: Duration = Duration::from_millis(20);

/// How often somebody is told that a build waits. A guix-daemon takes a hook that says nothing for a silent build.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A wait that is told: to a guix-daemon again and again, to a nix-daemon once, to who wants details.
struct Waiting {
    dialect: Dialect,
    told: Option<Instant>,
}

impl Waiting {
    fn new(dialect: Dialect) -> Self {
        Waiting {
            dialect,
            told: None,
        }
    }

    fn tell(&mut self, what: &str, log: &mut Log) {
        let (level, is_due) = match (self.dialect, self.told) {
            (Dialect::Guix, Some(told)) => (Level::Notice, told.elapsed() >= TELL_EVERY),
            (Dialect::Guix, None) => (Level::Notice, true),
            (_, told) => (Level::Talkative, told.is_none()),
        };
        if is_due {
            self.told = Some(Instant::now());
            let message = format!("offload: waiting {what}");
            log.daemon.message(level, &message);
        }
    }
}

/// What was found out about a machine. The whole reason was told at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It could not be reached; worth another try from this moment on.
    Unreachable { until: Instant },
    /// It failed in the middle of the build that is under way.
    Failed,
    /// It has enough to do already; worth another look from this moment on.
    Overloaded { until: Instant },
}

impl Trouble {
    /// Why it is not tried now, if it is not.
    fn excludes(self, now: Instant) -> Option<State> {
        let failed = |reason: &str| State::Failed(reason.to_owned());
        match self {
            Trouble::Unreachable { until } => (now < until).then(|| failed("cannot be reached")),
            Trouble::Failed => Some(failed("has just failed")),
            Trouble::Overloaded { until } => {
                (now < until).then(|| State::Overloaded("is overloaded".to_owned()))
            }
        }
    }
}

/// The machines, and what was found out about them.
#[derive(Debug)]
pub struct Fleet {
    machines: Vec<Machine>,
    /// While this process lives.
    troubles: Vec<Option<Trouble>>,
    /// By this process or another.
    health: Health,
    queues: QueueDirectory,
    slots: SlotDirectory,
    identity: Identity,
    /// What the identity's files say; they are read when the first machine is connected to.
    settings: OnceCell<SshSettings>,
    timeouts: Timeouts,
    store_dir: StoreDir,
    dialect: Dialect,
}

/// A machine that is ours for one build: its slot is held until this is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Which one.
    pub machine: Machine,
    /// The conversation with its store daemon.
    pub remote: Remote,
    /// Why this machine and no other: `load 0 of 8, best of 2 machines that would do`.
    pub reason: String,
    index: usize,
    slot: Option<Slot>,
}

impl Lease {
    /// The number of the slot that is held, from 0.
    #[must_use]
    pub fn slot(&self) -> Option<u32> {
        self.slot.as_ref().map(Slot::index)
    }

    /// Gives the slot to whoever waits for it: nothing more is built here.
    pub fn release_slot(&mut self) {
        self.slot = None;
    }
}

/// What is done when all machines that would do are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// [`Answer::Busy`] is returned.
    None,
    /// A slot is waited for, first come first served.
    Waits,
}

/// Whether there is a machine for a build.
#[derive(Debug)]
pub enum Answer {
    /// Yes, this one.
    Leased(Box<Lease>),
    /// Not now: those that would do are full.
    Busy(Refusals),
    /// No.
    None(Refusals),
}

/// Why each machine was refused, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(pub Vec<(String, Reason)>);

impl Refusals {
    /// Whether some machine would do if only one of its slots were free, which takes no longer than a build.
    #[must_use]
    pub fn any_full(&self) -> bool {
        let is_full =
            |reason: &Reason| matches!(reason, Reason::Full { max_jobs } if *max_jobs > 0);
        self.0.iter().any(|(_, reason)| is_full(reason))
    }
}

impl std::fmt::Display for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no machine");
        }
        for (index, (machine, reason)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{machine} {reason}")?;
        }
        Ok(())
    }
}

impl Fleet {
    /// A fleet of `machines`, whose builds are for the store at `store_dir`. What is learnt about
    /// them, and who waits for them, is kept in `knowledge`, a directory.
    #[must_use]
    pub fn new(
        machines: Vec<Machine>,
        mut slots: SlotDirectory,
        knowledge: &Path,
        identity: Identity,
        timeouts: Timeouts,
        store_dir: StoreDir,
    ) -> Self {
        let mut queues = QueueDirectory::new(knowledge.join("queues"));
        slots.lock_wait = timeouts.lock;
        queues.lock_wait = timeouts.lock;
        Fleet {
            troubles: vec![None; machines.len()],
            machines,
            health: Health::open(knowledge),
            queues,
            slots,
            identity,
            settings: OnceCell::new(),
            timeouts,
            store_dir,
            dialect: Dialect::Nix,
        }
    }

    /// The same machines with guix-daemons, which are asked how they are doing before they get a
    /// build.
    #[must_use]
    pub fn of_guix(self) -> Self {
        Fleet {
            dialect: Dialect::Guix,
            ..self
        }
    }

    /// Whether there is no machine at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// What the machines' daemons speak.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Finds the best machine for `demand`, takes one of its slots, connects, and asks the question
    /// that `foresee` gives. A machine that cannot be reached is passed over, here and for a while;
    /// one that another process could not reach is tried only if no other would do.
    ///
    /// # Errors
    /// When the slots cannot be looked at.
    pub async fn lease(
        &mut self,
        demand: &Demand,
        foresee: impl Fn() -> Question,
        patience: Patience,
        log: &mut Log,
    ) -> Result<Answer, SlotError> {
        let asked = Instant::now();
        let mut overloaded_since = None;
        loop {
            let choice = match patience {
                Patience::None => self.choose(demand, asked).await?,
                Patience::Waits => {
                    let overloaded = &mut overloaded_since;
                    self.choose_in_turn(demand, overloaded, log).await?
                }
            };
            let (index, slot, reason) = match choice {
                Ok(chosen) => chosen,
                Err(answer) => return Ok(answer),
            };
            if self.dialect == Dialect::Guix {
                let (process, slot) = (std::process::id(), slot.path().display());
                let message = format!("process {process} acquired build slot '{slot}'");
                log.daemon.message(Level::Info, &message);
            }
            match self.connect(index, &foresee(), log).await {
                Ok(remote) => {
                    if self.is_overloaded(index, &remote, log) {
                        remote.close().await;
                        continue;
                    }
                    let machine = &self.machines[index];
                    return Ok(Answer::Leased(Box::new(Lease {
                        machine: machine.clone(),
                        remote,
                        reason,
                        index,
                        slot: Some(slot),
                    })));
                }
                // A broker that went away between two questions says nothing of the machine.
                Err(failure)
                    if matches!(failure, Failure::Link(LinkError::Broker { .. }))
                        && self.identity.broker.take().is_some() =>
                {
                    let message = format!("offload: {failure}; connecting without it");
                    log.daemon.message(Level::Talkative, &message);
                }
                Err(failure) => {
                    let machine = &self.machines[index];
                    let uri = &machine.uri;
                    let message = format!("offload: failed to reach {uri}: {failure}");
                    log.daemon.message(Level::Warning, &message);
                    self.health.failed(machine, &failure.to_string());
                    let until = Instant::now() + UNREACHABLE_FOR;
                    self.troubles[index] = Some(Trouble::Unreachable { until });
                }
            }
        }
    }

    /// Connects to the machine of that URI for something else than a build: no slot is held.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub async fn reach(&mut self, uri: &str, log: &mut Log) -> Result<Box<Lease>, String> {
        let index = self
            .machines
            .iter()
            .position(|machine| machine.uri.as_str() == uri);
        let index = index.ok_or_else(|| format!("{uri} is no machine any more"))?;
        let question = Question::default();
        let remote = self.connect(index, &question, log).await;
        let remote = remote.map_err(|failure| format!("failed to reach {uri}: {failure}"))?;
        Ok(Box::new(Lease {
            machine: self.machines[index].clone(),
            remote,
            reason: "it has what is asked for".to_owned(),
            index,
            slot: None,
        }))
    }

    async fn connect(
        &mut self,
        index: usize,
        question: &Question,
        log: &mut Log,
    ) -> Result<Remote, Failure> {
        let mut target = self.target(index, log)?;
        let machine = &self.machines[index];
        let known = self.health.of(machine);
        target.round_trip = known.round_trip.map(Duration::from_millis);
        let (store_dir, dialect) = (self.store_dir.clone(), self.dialect);
        let connecting =
            Remote::connect(machine, &target, store_dir, dialect, &known, question, log);
        let remote = connecting.await?;
        self.health
            .reached(machine, remote.way(), remote.protocol());
        if let Some(round_trip) = remote.round_trip() {
            self.health.measured(machine, round_trip);
        }
        Ok(remote)
    }

    /// Whether a machine with a guix-daemon has enough to do already, or too little disk. What it
    /// does not tell is no reason to pass it over.
    fn is_overloaded(&mut self, index: usize, remote: &Remote, log: &mut Log) -> bool {
        if self.dialect != Dialect::Guix {
            return false;
        }
        let machine = &self.machines[index];
        let condition = match remote.seen() {
            Some(Seen::Now(condition)) => {
                self.health.observed(machine, condition);
                condition
            }
            Some(Seen::Lately(condition)) => condition,
            None => return false,
        };
        let name = &machine.name;
        if let Some(load) = condition.load {
            let message = format!("normalized load on machine '{name}' is {load:.2}");
            log.daemon.message(Level::Info, &message);
        }
        let load = condition.load.zip(machine.overload_threshold);
        let is_loaded = load.is_some_and(|(load, threshold)| load >= threshold);
        let is_full = condition.free_disk.is_some_and(|free| free < LOW_DISK);
        if is_full {
            let least = LOW_DISK >> 20;
            let message = format!("offload: {name} has less than {least} MiB of disk left");
            log.daemon.message(Level::Warning, &message);
        }
        if is_loaded || is_full {
            let until = Instant::now() + OVERLOADED_FOR;
            self.troubles[index] = Some(Trouble::Overloaded { until });
        }
        is_loaded || is_full
    }

    /// Another build begins: whoever failed in the middle of one before may be tried again.
    pub fn begin_build(&mut self) {
        for trouble in &mut self.troubles {
            trouble.take_if(|trouble| *trouble == Trouble::Failed);
        }
    }

    /// Gives a machine back that got into trouble; it is not tried again for the build that is under way. Where the
    /// broker may have been in trouble instead, the broker is not.
    pub async fn give_up(&mut self, lease: Lease) {
        match lease.remote.has_lost_its_broker() && self.identity.broker.is_some() {
            true => self.identity.broker = None,
            false => self.troubles[lease.index] = Some(Trouble::Failed),
        }
        lease.remote.close().await;
    }

    /// As [`Fleet::choose`], but waits for a slot, behind those that waited before: busy only where all that is
    /// left has had enough to do for long, since `overloaded_since`.
    async fn choose_in_turn(
        &mut self,
        demand: &Demand,
        overloaded_since: &mut Option<Instant>,
        log: &mut Log,
    ) -> Result<Result<(usize, Slot, String), Answer>, SlotError> {
        let idle = vec![State::Used(0); self.machines.len()];
        let possible = schedule::rank(&self.machines, &idle, demand, Order::Load).candidates;
        let mut waiting = Waiting::new(self.dialect);
        let turn = self
            .queues
            .join(possible.iter().map(|&index| &self.machines[index]))
            .await?;
        let mut wait = std::pin::pin!(turn.wait_for_turn());
        loop {
            tokio::select! {
                waited = &mut wait => break waited?,
                () = tokio::time::sleep(TELL_EVERY) => waiting.tell("for those that came before", log),
            }
        }
        loop {
            // It may be long until a slot is free: what was found out of machines is over by then.
            match self.choose(demand, Instant::now()).await? {
                Err(Answer::Busy(refusals)) => {
                    if refusals.any_full() {
                        *overloaded_since = None;
                    } else {
                        let since = overloaded_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= OVERLOAD_PATIENCE {
                            return Ok(Err(Answer::Busy(refusals)));
                        }
                    }
                    waiting.tell(&format!("for a machine: {refusals}"), log);
                    tokio::time::sleep(SLOT_PAUSE).await;
                }
                choice => return Ok(choice),
            }
        }
    }

    async fn choose(
        &mut self,
        demand: &Demand,
        asked: Instant,
    ) -> Result<Result<(usize, Slot, String), Answer>, SlotError> {
        let own = self.states(asked);
        let mut remembered = own.clone();
        let now = health::now();
        for (machine, state) in self.machines.iter().zip(&mut remembered) {
            let outage = self.health.of(machine).outage;
            if *state == State::Used(0)
                && let Some(outage) = outage.filter(|outage| outage.lasts(now))
            {
                let ago = now.saturating_sub(outage.last);
                *state = State::Failed(format!("could not be reached {ago} s ago"));
            }
        }
        match self.choose_from(remembered.clone(), demand).await? {
            // Whom nobody could reach a while ago is better than nobody.
            Err(Answer::None(_)) if remembered != own => self.choose_from(own, demand).await,
            choice => Ok(choice),
        }
    }

    /// What this process found out, as of when the machine was asked for: nobody is tried twice for
    /// one question.
    fn states(&self, asked: Instant) -> Vec<State> {
        let state = |trouble: &Option<Trouble>| match trouble.and_then(|t| t.excludes(asked)) {
            Some(state) => state,
            None => State::Used(0),
        };
        self.troubles.iter().map(state).collect()
    }

    async fn choose_from(
        &self,
        mut states: Vec<State>,
        demand: &Demand,
    ) -> Result<Result<(usize, Slot, String), Answer>, SlotError> {
        // Slots are only looked at where they could be used.
        let ties: Vec<u64> = self.machines.iter().map(|_| random()).collect();
        let order = match self.dialect {
            Dialect::Nix => Order::Load,
            Dialect::Guix => Order::Speed { ties: &ties },
        };
        let possible = schedule::rank(&self.machines, &states, demand, order);
        let lock = self.slots.lock_choice().await?;
        let mut free: Vec<Option<Slot>> = self.machines.iter().map(|_| None).collect();
        for &index in &possible.candidates {
            match self.slots.occupancy(&self.machines[index], &lock) {
                Ok(occupancy) => {
                    states[index] = State::Used(occupancy.used);
                    free[index] = occupancy.free;
                }
                // A name that is too long for a file: the others may do.
                Err(error) => states[index] = State::Failed(error.to_string()),
            }
        }
        let ranking = schedule::rank(&self.machines, &states, demand, order);
        let best = ranking.candidates.first();
        let best = best.and_then(|&index| Some((index, free[index].take()?)));
        drop(free);
        if let Some((index, slot)) = best
            && slot.is_held()?
        {
            let reason = reason(
                &self.machines[index],
                &states[index],
                ranking.candidates.len(),
            );
            return Ok(Ok((index, slot, reason)));
        }
        let temporary = ranking.may_become_possible();
        let named = ranking.rejected.into_iter().map(|(index, reason)| {
            let uri = self.machines[index].uri.to_string();
            (uri, reason)
        });
        let refusals = Refusals(named.collect());
        Ok(Err(match temporary {
            true => Answer::Busy(refusals),
            false => Answer::None(refusals),
        }))
    }

    /// How a machine is reached. Tells what of the SSH configuration is not honoured, once and not
    /// with every build.
    fn target(&mut self, index: usize, log: &mut Log) -> Result<SshTarget, LinkError> {
        let settings = self
            .settings
            .get_or_init(|| SshSettings::read(&self.identity));
        let machine = &self.machines[index];
        let plan = settings.plan(&Destination::from(machine), self.timeouts)?;
        if !plan.warnings.is_empty() {
            let warnings = plan.warnings.iter().map(ToString::to_string).collect();
            for warning in self.health.untold(machine, warnings) {
                let message = format!("offload: {warning}");
                log.daemon.message(Level::Warning, &message);
            }
        }
        Ok(SshTarget {
            broker: self.identity.broker.clone(),
            ..plan.target
        })
    }
}

impl From<&Machine> for Destination {
    fn from(machine: &Machine) -> Self {
        let uri = &machine.uri;
        Destination {
            host: uri.host().to_owned(),
            port: match machine.is_complete {
                true => Some(uri.port().unwrap_or(SSH_PORT)),
                false => uri.port(),
            },
            user: uri.user().map(str::to_owned),
            key: machine.ssh_key.clone(),
            host_key: machine.host_key.clone(),
            compress: match machine.is_complete {
                true => Some(machine.compression.is_some()),
                false => machine.compression.is_some().then_some(true),
            },
        }
    }
}

/// Nothing secret: among machines that are as good as each other, hosts with the same list choose different ones.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Why the first of `candidates` machines was chosen, for people.
fn reason(machine: &Machine, state: &State, candidates: usize) -> String {
    let used = match state {
        State::Used(used) => *used,
        State::Failed(_) | State::Overloaded(_) => 0,
    };
    let choice = match candidates {
        1 => "the only machine that would do".to_owned(),
        count => format!("best of {count} machines that would do"),
    };
    format!("load {used} of {}, {choice}", machine.max_jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{BuildLog, DaemonLog};

    #[test]
    fn an_unreachable_machine_is_tried_again_and_a_failed_one_is_not() {
        let now = Instant::now();
        let until = now + UNREACHABLE_FOR;
        let unreachable = Trouble::Unreachable { until };
        let failed = |reason: &str| Some(State::Failed(reason.to_owned()));
        assert_eq!(unreachable.excludes(now), failed("cannot be reached"));
        assert_eq!(unreachable.excludes(until), None);
        assert_eq!(Trouble::Failed.excludes(until), failed("has just failed"));
    }

    /// How many lines come of 25 s of waiting.
    async fn lines(log: impl FnOnce(std::fs::File) -> DaemonLog, dialect: Dialect) -> usize {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = || file.reopen().unwrap();
        let mut log = Log {
            daemon: log(sink()),
            build: BuildLog::new(std::io::sink()),
        };
        let mut waiting = Waiting::new(dialect);
        for _ in 0..25 {
            waiting.tell("for a machine", &mut log);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let said = std::fs::read_to_string(file.path()).unwrap();
        said.lines()
            .filter(|line| line.contains("offload: waiting for a machine"))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_guix_daemon_hears_of_a_wait_again_and_again() {
        assert_eq!(lines(DaemonLog::guix, Dialect::Guix).await, 3);
        assert_eq!(lines(DaemonLog::new, Dialect::Nix).await, 1);
    }
}
