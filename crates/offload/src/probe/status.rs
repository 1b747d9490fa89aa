//! How a machine stands.

use std::time::Duration;

use super::load::{self, Disk, Host, Load};
use super::{Probe, Trouble, no_log, place};
use crate::health::{self, Knowledge, Outage};
use crate::machines::Machine;
use crate::remote::Way;

/// How long the command that tells a machine's load may take.
const VITALS: Duration = Duration::from_secs(10);

/// How a machine stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The machine, as its list calls it.
    pub machine: String,
    /// Whether it is reached.
    pub state: Result<Up, Trouble>,
    /// The builds that it may run at a time.
    pub slots: u32,
    /// How many of them run, as far as this host knows: where the locks can be looked at.
    pub used: Option<u32>,
    /// That builds could not reach it when they last tried, as of before this look.
    pub outage: Option<Outage>,
}

/// A machine that is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Up {
    /// How its store daemon is reached.
    pub way: Way,
    /// What the daemon says of itself: `nix 2.8.0, protocol 1.34`.
    pub daemon: String,
    /// The minor number of the worker protocol's version, where that is spoken.
    pub protocol: Option<u8>,
    /// Whether the daemon trusts the user, where it tells.
    pub trusted: Option<bool>,
    /// Its load; `None` where no command may be run, or it does not tell. So with the others.
    pub load: Option<Load>,
    /// Its processors.
    pub cores: Option<u32>,
    /// Room for its store.
    pub disk: Option<Disk>,
    /// What it runs on.
    pub host: Option<Host>,
    /// By how many seconds its clock is before this host's; those behind are negative. Includes half of the time
    /// that the answer took.
    pub clock: Option<i64>,
}

impl Probe {
    /// Asks a machine how it stands. `known` and `used` are what this host knows.
    pub async fn status(&self, machine: &Machine, known: &Knowledge, used: Option<u32>) -> Status {
        Status {
            machine: machine.name.clone(),
            state: self.look(machine, known).await,
            slots: machine.max_jobs,
            used,
            outage: known.outage.clone(),
        }
    }

    async fn look(&self, machine: &Machine, known: &Knowledge) -> Result<Up, Trouble> {
        let way = self.plan(machine)?;
        let target = &way.target;
        let connected = self.connect(machine, target, known, &mut no_log()).await;
        let remote = connected.map_err(|failure| {
            let (step, _) = place(&failure);
            self.trouble(step, &failure, machine, Some(target))
        })?;
        let command = load::command(&self.store_dir);
        let output = remote.output_of(&command, b"", VITALS).await;
        let now = health::now();
        let vitals = load::parse(&output.unwrap_or_default());
        let up = Up {
            way: remote.way(),
            daemon: remote.description(),
            protocol: remote.protocol(),
            trusted: remote.trusted(),
            load: vitals.load,
            cores: vitals.cores,
            disk: vitals.disk,
            host: vitals.host,
            clock: vitals
                .time
                .map(|time| time.saturating_sub(now.cast_signed())),
        };
        remote.close().await;
        Ok(up)
    }
}
