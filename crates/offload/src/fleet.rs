//! The machines together: finds one for a build, and takes a slot and a connection on it.

use std::path::PathBuf;

use store_path::StoreDir;

use crate::link::{Credentials, HostKeys, SshTarget, Timeouts};
use crate::log::{Level, Log};
use crate::machines::Machine;
use crate::remote::Remote;
use crate::schedule::{self, Demand, Reason, State};
use crate::slots::{Slot, SlotDirectory, SlotError};

/// The port of SSH.
const SSH_PORT: u16 = 22;

/// Whose keys and known hosts are used where the machine list names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user name on machines whose URI names none: that of the user who runs this.
    pub user: String,
    /// Key files for machines whose entry names none.
    pub keys: Vec<PathBuf>,
    /// Where host keys are looked up that are not pinned.
    pub known_hosts: Vec<PathBuf>,
}

impl Identity {
    /// What OpenSSH uses for `user` with the home directory `home`, in its order of preference.
    #[must_use]
    pub fn of(user: impl Into<String>, home: &std::path::Path) -> Self {
        let ssh = home.join(".ssh");
        let key = |name| ssh.join(name);
        Identity {
            user: user.into(),
            keys: ["id_rsa", "id_ecdsa", "id_ed25519"].map(key).to_vec(),
            known_hosts: vec![
                ssh.join("known_hosts"),
                PathBuf::from("/etc/ssh/ssh_known_hosts"),
            ],
        }
    }
}

/// The machines, and what was found out about them while this process lives.
#[derive(Debug)]
pub struct Fleet {
    machines: Vec<Machine>,
    /// Why a machine is not tried again, in short: the whole reason was told when it was found out.
    failed: Vec<Option<String>>,
    slots: SlotDirectory,
    identity: Identity,
    timeouts: Timeouts,
    store_dir: StoreDir,
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
    slot: Slot,
}

impl Lease {
    /// The slot that is held.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
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
    /// A fleet of `machines`, whose builds are for the store at `store_dir`.
    #[must_use]
    pub fn new(
        machines: Vec<Machine>,
        slots: SlotDirectory,
        identity: Identity,
        timeouts: Timeouts,
        store_dir: StoreDir,
    ) -> Self {
        Fleet {
            failed: vec![None; machines.len()],
            machines,
            slots,
            identity,
            timeouts,
            store_dir,
        }
    }

    /// Whether there is no machine at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// Finds the best machine for `demand`, takes one of its slots, and connects. A machine that
    /// cannot be reached is passed over, here and until this process ends.
    ///
    /// # Errors
    /// When the slots cannot be looked at.
    pub async fn lease(&mut self, demand: &Demand, log: &mut Log) -> Result<Answer, SlotError> {
        loop {
            let (index, slot, reason) = match self.choose(demand).await? {
                Ok(chosen) => chosen,
                Err(answer) => return Ok(answer),
            };
            let machine = &self.machines[index];
            let target = self.target(machine);
            match Remote::connect(machine, &target, self.store_dir.clone(), log).await {
                Ok(remote) => {
                    return Ok(Answer::Leased(Box::new(Lease {
                        machine: machine.clone(),
                        remote,
                        reason,
                        index,
                        slot,
                    })));
                }
                Err(failure) => {
                    let uri = &machine.uri;
                    let message = format!("offload: failed to reach {uri}: {failure}");
                    log.daemon.message(Level::Warning, &message);
                    self.failed[index] = Some("cannot be reached".to_owned());
                }
            }
        }
    }

    /// Gives a machine back that got into trouble; it is not tried again by this process.
    pub async fn give_up(&mut self, lease: Lease) {
        self.failed[lease.index] = Some("has just failed".to_owned());
        lease.remote.close().await;
    }

    async fn choose(
        &self,
        demand: &Demand,
    ) -> Result<Result<(usize, Slot, String), Answer>, SlotError> {
        let state = |failed: &Option<String>, used| match failed {
            Some(reason) => State::Failed(reason.clone()),
            None => State::Used(used),
        };
        // Slots are only looked at where they could be used.
        let idle: Vec<_> = self.failed.iter().map(|failed| state(failed, 0)).collect();
        let possible = schedule::rank(&self.machines, &idle, demand);
        let lock = self.slots.lock_choice().await?;
        let mut states = idle;
        let mut free: Vec<Option<Slot>> = self.machines.iter().map(|_| None).collect();
        for &index in &possible.candidates {
            let occupancy = self.slots.occupancy(&self.machines[index], &lock)?;
            states[index] = State::Used(occupancy.used);
            free[index] = occupancy.free;
        }
        let ranking = schedule::rank(&self.machines, &states, demand);
        let best = ranking.candidates.first();
        if let Some((index, slot)) = best.and_then(|&index| Some((index, free[index].take()?))) {
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

    fn target(&self, machine: &Machine) -> SshTarget {
        let uri = &machine.uri;
        let named_key = machine.ssh_key.clone();
        let key = named_key.or_else(|| uri.parameter("ssh-key").map(PathBuf::from));
        SshTarget {
            host: uri.host().to_owned(),
            port: uri.port().unwrap_or(SSH_PORT),
            user: uri.user().unwrap_or(&self.identity.user).to_owned(),
            credentials: match key {
                Some(file) => Credentials::KeyFile(file),
                None => Credentials::AnyOf(self.identity.keys.clone()),
            },
            host_keys: match &machine.host_key {
                Some(line) => HostKeys::Pinned(line.clone()),
                None => HostKeys::KnownHosts(self.identity.known_hosts.clone()),
            },
            timeouts: self.timeouts,
        }
    }
}

/// Why the first of `candidates` machines was chosen, for people.
fn reason(machine: &Machine, state: &State, candidates: usize) -> String {
    let used = match state {
        State::Used(used) => *used,
        State::Failed(_) => 0,
    };
    let choice = match candidates {
        1 => "the only machine that would do".to_owned(),
        count => format!("best of {count} machines that would do"),
    };
    format!("load {used} of {}, {choice}", machine.max_jobs)
}
