//! Which machine a build would get at this moment, and why not the others.

use std::path::Path;

use derivation::{Derivation, Kind};
use store_path::StoreDir;

use crate::health::{self, Health};
use crate::job::JobError;
use crate::local::{LocalError, read_derivation};
use crate::machines::Machine;
use crate::schedule::{self, Demand, Order, Ranking, State};
use crate::slots::SlotDirectory;

/// What this host knows of its machines without asking them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowing {
    /// For each machine, how many slots are taken; `None` where the locks cannot be looked at.
    pub used: Vec<Option<u32>>,
    /// For each machine, what was learnt of it.
    pub known: Vec<health::Knowledge>,
}

impl Knowing {
    /// Looks. Waits for nobody for longer than half a minute.
    pub async fn of(machines: &[Machine], slots: &SlotDirectory, health: &mut Health) -> Self {
        // While somebody chooses, a slot that is only looked at seems taken. Who may not take the
        // lock looks all the same.
        let _choice = slots.lock_choice().await.ok();
        Knowing {
            used: machines.iter().map(|m| slots.used(m).ok()).collect(),
            known: machines.iter().map(|m| health.of(m)).collect(),
        }
    }
}

/// What a derivation asks of the machine that builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demanded {
    /// What machines are held against.
    pub demand: Demand,
    /// Why no machine may be asked all the same.
    pub notes: Vec<&'static str>,
}

/// Why it is not known what a derivation asks.
#[derive(Debug, thiserror::Error)]
pub enum DemandError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] LocalError),
    /// It makes no sense.
    #[error(transparent)]
    Derivation(#[from] JobError),
}

impl Demanded {
    /// Reads a `.drv` file of the store `store_dir`.
    ///
    /// # Errors
    /// When it cannot be read, or makes no sense.
    pub fn by(file: &Path, store_dir: &StoreDir) -> Result<Self, DemandError> {
        let text = read_derivation(file)?;
        let path = || file.display().to_string();
        let derivation = Derivation::parse(store_dir, &text);
        let derivation = derivation.map_err(|error| JobError::Derivation {
            path: path(),
            error,
        })?;
        let requirements = derivation.requirements();
        let requirements = requirements.map_err(|error| JobError::Requirements {
            path: path(),
            error,
        })?;
        let mut notes = Vec::new();
        if requirements.prefer_local_build {
            notes.push(
                "it is better built on this host, where that can be: no machine is asked then",
            );
        }
        if requirements.kind == Kind::Impure || derivation.has_dynamic_inputs() {
            notes.push("it is impure or has dynamic inputs, and is built on this host");
        }
        Ok(Demanded {
            demand: Demand {
                system: requirements.system,
                required_features: requirements.features.into_iter().collect(),
            },
            notes,
        })
    }
}

/// A ranking in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The machines that would take it, the best first, each with its load: `load 1 of 8, speed 2`.
    pub candidates: Vec<(String, String)>,
    /// The others, each with the reason: `lacks feature kvm`.
    pub rejected: Vec<(String, String)>,
    /// Whether waiting can help: some of the others are only full.
    pub may_become_possible: bool,
}

/// Ranks `machines` for `demand` in `order` as the hook would at `now`, in seconds since 1970. A machine that
/// could not be reached a while ago comes into question if no other does.
#[must_use]
pub fn explain(
    machines: &[Machine],
    knowing: &Knowing,
    demand: &Demand,
    order: Order<'_>,
    now: u64,
) -> Explanation {
    let own: Vec<_> = knowing
        .used
        .iter()
        .map(|used| State::Used(used.unwrap_or(0)))
        .collect();
    let mut remembered = own.clone();
    for (state, known) in remembered.iter_mut().zip(&knowing.known) {
        if let Some(outage) = known.outage.as_ref().filter(|outage| outage.lasts(now)) {
            let ago = now.saturating_sub(outage.last);
            *state = State::Failed(format!("could not be reached {ago} s ago"));
        }
    }
    let mut ranking = schedule::rank(machines, &remembered, demand, order);
    if ranking.candidates.is_empty() && !ranking.may_become_possible() {
        ranking = schedule::rank(machines, &own, demand, order);
    }
    in_words(machines, knowing, &ranking)
}

fn in_words(machines: &[Machine], knowing: &Knowing, ranking: &Ranking) -> Explanation {
    let load = |index: usize| {
        let machine = &machines[index];
        let used = match knowing.used[index] {
            Some(used) => used.to_string(),
            None => "unknown".to_owned(),
        };
        let (jobs, speed) = (machine.max_jobs, machine.speed_factor);
        (
            machine.name.clone(),
            format!("load {used} of {jobs}, speed {speed}"),
        )
    };
    let rejected = ranking.rejected.iter();
    Explanation {
        candidates: ranking
            .candidates
            .iter()
            .map(|index| load(*index))
            .collect(),
        rejected: rejected
            .map(|(index, reason)| (machines[*index].name.clone(), reason.to_string()))
            .collect(),
        may_become_possible: ranking.may_become_possible(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Knowledge, Outage};
    use crate::machines::read_builders;

    fn explained(used: [Option<u32>; 4], system: &str) -> String {
        let list = "fast - - 4 2; slow - - 4; down - - 8; arm arm-linux";
        let machines = read_builders(list, "x86_64-linux").machines;
        let mut known = vec![Knowledge::default(); 4];
        known[2].outage = Some(Outage {
            failures: 1,
            last: 1000,
            reason: "no answer".to_owned(),
        });
        let knowing = Knowing {
            used: used.to_vec(),
            known,
        };
        let demand = Demand {
            system: system.to_owned(),
            required_features: Vec::new(),
        };
        let explanation = explain(&machines, &knowing, &demand, Order::Load, 1030);
        let lines = explanation.candidates.iter().chain(&explanation.rejected);
        let lines: Vec<_> = lines.map(|(name, why)| format!("{name} {why}")).collect();
        format!("{}\n{}", lines.join("\n"), explanation.may_become_possible)
    }

    #[test]
    fn the_best_and_why_not_the_others() {
        let texts = [
            explained([Some(3), Some(1), Some(0), None], "x86_64-linux"),
            explained([Some(4), Some(4), Some(0), None], "x86_64-linux"),
            explained([None; 4], "riscv64-linux"),
        ];
        insta::assert_snapshot!(texts.join("\n--\n"));
    }
}
