//! What was measured, as ratios.

use std::time::Duration;

use benches::contest::{self, Line, Results, median};
use serde_json::{Value, json};

use crate::{
    bed::{Contender, Front},
    cases::{Case, Measure, Target},
};

/// What one run took, per build.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// Coordinator's and builder's; `None` where it cannot be measured.
    pub(crate) cpu: Option<[Duration; 2]>,
    pub(crate) round_trips: Option<f64>,
    /// In bytes.
    pub(crate) peak_memory: Option<u64>,
}

impl Sample {
    /// In milliseconds, MiB, or as a number.
    fn value(&self, measure: Measure) -> Option<f64> {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        match measure {
            Measure::Wall => Some(milliseconds(self.wall)),
            Measure::Cpu => self.cpu.map(|[here, there]| milliseconds(here + there)),
            Measure::RoundTrips => self.round_trips,
            Measure::PeakMemory => self
                .peak_memory
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
        }
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Measure::Wall => "wall ms",
            Measure::Cpu => "CPU ms",
            Measure::RoundTrips => "round trips",
            Measure::PeakMemory => "peak MiB",
        }
    }
}

impl Target {
    /// What is told of it, for people and programs.
    fn told(self) -> Option<contest::Target> {
        let (text, json) = match self {
            Target::OfBest(bound) => (format!("{bound}"), json!({ "of-best": bound })),
            Target::OfSsh(bound) => (format!("{bound} of ssh"), json!({ "of-ssh": bound })),
            Target::EndpointOfSshNg(bound) => (
                format!("endpoint: {bound} of ssh-ng"),
                json!({ "endpoint-of-ssh-ng": bound }),
            ),
            Target::BrokerOfBest(bound) => (
                format!("broker: {bound}"),
                json!({ "broker-of-best": bound }),
            ),
            Target::AtMost(bound) => (format!("at most {bound}"), json!({ "at-most": bound })),
            Target::None => return None,
        };
        Some(contest::Target { text, json })
    }
}

/// A case with all that was measured.
pub(crate) fn results(case: &Case, contenders: &[Contender], samples: &[Vec<Sample>]) -> Results {
    let lines = case
        .targets
        .iter()
        .map(|&(measure, target)| line(contenders, samples, measure, target));
    Results {
        case: case.name,
        what: case.what,
        contenders: contenders.iter().map(|contender| contender.name).collect(),
        lines: lines.collect(),
        samples: samples.iter().map(|samples| all(samples)).collect(),
    }
}

fn line(
    contenders: &[Contender],
    samples: &[Vec<Sample>],
    measure: Measure,
    target: Target,
) -> Line {
    let values = |samples: &Vec<Sample>| samples.iter().filter_map(|s| s.value(measure)).collect();
    let medians: Vec<_> = samples.iter().map(|all| median(values(all))).collect();
    let of = |front: Front| {
        let index = contenders.iter().position(|them| them.front == front)?;
        medians[index]
    };
    let is_meant = |contender: &Contender| match target {
        Target::OfSsh(_) => contender.name == "stock ssh",
        Target::EndpointOfSshNg(_) => contender.name == "stock ssh-ng",
        _ => contender.front == Front::Stock,
    };
    let stock = (contenders.iter().zip(&medians))
        .filter(|(contender, _)| is_meant(contender))
        .filter_map(|(_, median)| *median)
        .min_by(f64::total_cmp);
    let ours = match target {
        Target::EndpointOfSshNg(_) => of(Front::Endpoint),
        Target::BrokerOfBest(_) => of(Front::Brokered),
        _ => of(Front::Hook),
    };
    let ratio = ours.zip(stock).map(|(ours, stock)| ours / stock);
    let reached = match target {
        Target::OfBest(bound)
        | Target::OfSsh(bound)
        | Target::BrokerOfBest(bound)
        | Target::EndpointOfSshNg(bound) => ratio.map(|ratio| ratio <= bound),
        Target::AtMost(bound) => ours.map(|ours| ours <= bound),
        Target::None => None,
    };
    Line {
        measure: measure.name(),
        medians,
        ratio,
        target: target.told(),
        reached,
    }
}

/// Each sample's times.
fn all(samples: &[Sample]) -> Value {
    let walls: Vec<_> = samples
        .iter()
        .map(|sample| sample.value(Measure::Wall))
        .collect();
    let cpu = |sample: &Sample| {
        let cpu = sample.cpu?;
        Some(cpu.map(|time| time.as_secs_f64() * 1000.0))
    };
    let cpus: Vec<_> = samples.iter().map(cpu).collect();
    json!({ "wall-ms": walls, "cpu-ms": cpus })
}
