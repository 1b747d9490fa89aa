//! Which machine gets a build: a pure function from machines, their load and the demand to a
//! ranking with reasons.
//!
//! The order is stock Nix's, so that a machine list means the same to both: least load per speed
//! first, then the faster, then the less loaded, then the list's own order.

use std::cmp::Ordering;
use std::fmt;

use crate::machines::Machine;

/// What a derivation asks of the machine that builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// `x86_64-linux`, or `builtin`.
    pub system: String,
    /// `requiredSystemFeatures`.
    pub required_features: Vec<String>,
}

/// What is known of a machine at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Reachable as far as is known, with so many of its slots taken.
    Used(u32),
    /// Found to be in trouble a moment ago; the text is for people.
    Failed(String),
    /// Found to have enough to do already a moment ago; the text is for people.
    Overloaded(String),
}

/// Why a machine does not get the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It builds for other systems.
    System {
        /// The systems it builds for.
        has: Vec<String>,
    },
    /// It lacks features that the derivation requires.
    MissingFeatures(Vec<String>),
    /// It only takes derivations that ask for these features.
    MandatoryFeatures(Vec<String>),
    /// All its slots are taken.
    Full {
        /// How many it has.
        max_jobs: u32,
    },
    /// It was found to be in trouble.
    Failed(String),
    /// It was found to have enough to do already.
    Overloaded(String),
}

impl Reason {
    /// Whether the machine would do if only it were free: the build may be asked for again later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Reason::Full { max_jobs } => *max_jobs > 0,
            Reason::Overloaded(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::System { has } => write!(f, "builds for {} only", has.join(", ")),
            Reason::MissingFeatures(names) => write!(f, "lacks feature {}", names.join(", ")),
            Reason::MandatoryFeatures(names) => {
                write!(f, "only takes builds that require {}", names.join(", "))
            }
            Reason::Full { max_jobs: 0 } => write!(f, "is disabled, its number of builds is 0"),
            Reason::Full { max_jobs } => write!(f, "is full, {max_jobs} of {max_jobs} slots taken"),
            Reason::Failed(reason) | Reason::Overloaded(reason) => f.write_str(reason),
        }
    }
}

/// The outcome of [`rank`]; indices are those of the machines given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranking {
    /// Machines that can take the build now, best first.
    pub candidates: Vec<usize>,
    /// The others, in list order, each with the reason.
    pub rejected: Vec<(usize, Reason)>,
}

impl Ranking {
    /// Whether waiting can help: some machine is only full.
    #[must_use]
    pub fn may_become_possible(&self) -> bool {
        self.rejected
            .iter()
            .any(|(_, reason)| reason.is_temporary())
    }
}

/// Which of the machines that would do is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// As in stock Nix: the one with the least load by its speed, then the fastest, then the one with the least load;
    /// then by the list.
    Load,
    /// As in stock Guix: the fastest. Among equals the one with the fewest slots taken, then the one with the least
    /// of these numbers, one per machine, random where hosts with the same list are not to choose the same; then by
    /// the list. Stock makes no difference by slots.
    Speed {
        /// Missing ones count as 0.
        ties: &'a [u64],
    },
}

/// Ranks `machines` for `demand`. `states[i]` is what is known of `machines[i]`.
///
/// # Panics
/// When the two slices differ in length.
#[must_use]
pub fn rank(machines: &[Machine], states: &[State], demand: &Demand, order: Order<'_>) -> Ranking {
    assert_eq!(machines.len(), states.len(), "one state per machine");
    let mut candidates = Vec::new();
    let mut rejected = Vec::new();
    for (index, (machine, state)) in machines.iter().zip(states).enumerate() {
        match judge(machine, state, demand) {
            Ok(used) => candidates.push((index, used)),
            Err(reason) => rejected.push((index, reason)),
        }
    }
    candidates.sort_by(|&(a, used_a), &(b, used_b)| match order {
        Order::Load => by_load((&machines[a], used_a), (&machines[b], used_b)),
        Order::Speed { ties } => {
            let speed = |index: usize| machines[index].speed_factor;
            let by_speed = speed(b).total_cmp(&speed(a));
            by_speed
                .then(used_a.cmp(&used_b))
                .then_with(|| ties.get(a).cmp(&ties.get(b)))
        }
    });
    Ranking {
        candidates: candidates.into_iter().map(|(index, _)| index).collect(),
        rejected,
    }
}

/// The number of slots in use where the machine can take the build, else why not.
fn judge(machine: &Machine, state: &State, demand: &Demand) -> Result<u32, Reason> {
    if !machine.supports_system(&demand.system) {
        let has = machine.systems.iter().cloned().collect();
        return Err(Reason::System { has });
    }
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let missing = machine.missing_features(&demand.required_features);
    if !missing.is_empty() {
        return Err(Reason::MissingFeatures(owned(missing)));
    }
    let unmet = machine.unmet_mandatory_features(&demand.required_features);
    if !unmet.is_empty() {
        return Err(Reason::MandatoryFeatures(owned(unmet)));
    }
    match state {
        State::Failed(reason) => Err(Reason::Failed(reason.clone())),
        State::Overloaded(reason) => Err(Reason::Overloaded(reason.clone())),
        State::Used(used) if *used >= machine.max_jobs => Err(Reason::Full {
            max_jobs: machine.max_jobs,
        }),
        State::Used(used) => Ok(*used),
    }
}

fn by_load((a, used_a): (&Machine, u32), (b, used_b): (&Machine, u32)) -> Ordering {
    let load = |machine: &Machine, used: u32| f64::from(used) / machine.speed_factor;
    load(a, used_a)
        .total_cmp(&load(b, used_b))
        .then(b.speed_factor.total_cmp(&a.speed_factor))
        .then(used_a.cmp(&used_b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    /// `list` is a machine list, `used` the slots in use or `x` for a machine in trouble.
    #[track_caller]
    fn ranking(list: &str, used: &str, system: &str, features: &str) -> String {
        let list = read_builders(list, "x86_64-linux");
        assert_eq!(list.problems, []);
        let states: Vec<State> = used
            .split(' ')
            .map(|text| match text.parse() {
                Ok(used) => State::Used(used),
                Err(_) => State::Failed("did not answer".to_owned()),
            })
            .collect();
        let demand = Demand {
            system: system.to_owned(),
            required_features: features.split_whitespace().map(str::to_owned).collect(),
        };
        let ranking = rank(&list.machines, &states, &demand, Order::Load);
        let name = |index: usize| list.machines[index].uri.host();
        let mut lines = vec![
            ranking
                .candidates
                .iter()
                .map(|&index| name(index))
                .collect::<Vec<_>>()
                .join(" > "),
        ];
        lines.extend(
            ranking
                .rejected
                .iter()
                .map(|(index, reason)| format!("{} {reason}", name(*index))),
        );
        lines.join("\n")
    }

    #[test]
    fn guix_takes_the_fastest_and_among_equals_the_idlest() {
        let list = read_builders("slow - - 4; a - - 4 2; b - - 4 2", "x86_64-linux");
        let best = |used: [u32; 3], ties: &[u64]| {
            let demand = Demand {
                system: "x86_64-linux".to_owned(),
                required_features: Vec::new(),
            };
            let states = used.map(State::Used);
            let ranking = rank(&list.machines, &states, &demand, Order::Speed { ties });
            let names = ranking.candidates.iter();
            let names = names.map(|&index| list.machines[index].uri.host());
            names.collect::<Vec<_>>().join(" > ")
        };
        assert_eq!(best([0, 3, 3], &[]), "a > b > slow");
        assert_eq!(best([0, 3, 2], &[]), "b > a > slow");
        assert_eq!(best([0, 1, 1], &[0, 8, 7]), "b > a > slow");
        assert_eq!(best([0, 1, 1], &[9, 7, 8]), "a > b > slow");
        assert_eq!(best([0, 4, 1], &[]), "b > slow");
    }

    #[test]
    fn least_load_per_speed_then_speed_then_load_then_order() {
        let linux = "x86_64-linux";
        assert_eq!(ranking("a - - 4; b - - 4", "0 0", linux, ""), "a > b");
        assert_eq!(ranking("a - - 4; b - - 4", "1 0", linux, ""), "b > a");
        assert_eq!(ranking("a - - 4; b - - 4 2", "0 0", linux, ""), "b > a");
        assert_eq!(ranking("a - - 4; b - - 4 2", "1 2", linux, ""), "b > a");
        assert_eq!(ranking("a - - 4; b - - 4 2", "1 3", linux, ""), "a > b");
        assert_eq!(
            ranking("a - - 4 0.5; b - - 9 1; c - - 9 2", "0 1 2", linux, ""),
            "a > c > b"
        );
    }

    #[test]
    fn every_rejection_has_its_reason() {
        insta::assert_snapshot!(
            ranking(
                "arm aarch64-linux,armv7l-linux; plain; bench - - 1 1 kvm,big benchmark; \
                 full - - 2 1 kvm,big; off - - 0 1 kvm,big; down - - 1 1 kvm,big; fine - - 1 1 kvm big",
                "0 0 0 2 0 x 0",
                "x86_64-linux",
                "kvm big"
            ),
            @r"
        fine
        arm builds for aarch64-linux, armv7l-linux only
        plain lacks feature kvm, big
        bench only takes builds that require benchmark
        full is full, 2 of 2 slots taken
        off is disabled, its number of builds is 0
        down did not answer
        "
        );
    }

    #[test]
    fn builtin_is_every_machines_system() {
        assert_eq!(ranking("a aarch64-linux", "0", "builtin", ""), "a");
    }
}
