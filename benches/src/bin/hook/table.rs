//! What was measured, as ratios.

use std::time::Duration;

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

/// A case with all that was measured.
pub(crate) struct Results<'a> {
    case: &'static Case,
    contenders: &'a [Contender],
    samples: Vec<Vec<Sample>>,
}

/// One line of the table.
struct Line {
    measure: Measure,
    /// By contender.
    medians: Vec<Option<f64>>,
    /// Ours to what the target is about.
    ratio: Option<f64>,
    target: Target,
}

impl Line {
    fn reached(&self, ours: Option<f64>) -> Option<bool> {
        match self.target {
            Target::OfBest(bound)
            | Target::BrokerOfBest(bound)
            | Target::OfSsh(bound)
            | Target::EndpointOfSshNg(bound) => self.ratio.map(|ratio| ratio <= bound),
            Target::AtMost(bound) => ours.map(|ours| ours <= bound),
            Target::None => None,
        }
    }
}

impl<'a> Results<'a> {
    pub(crate) fn new(
        case: &'static Case,
        contenders: &'a [Contender],
        samples: Vec<Vec<Sample>>,
    ) -> Self {
        Results {
            case,
            contenders,
            samples,
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        self.case.targets.iter().map(|&(measure, target)| {
            let medians: Vec<_> = (self.samples.iter())
                .map(|samples| median(samples.iter().filter_map(|s| s.value(measure)).collect()))
                .collect();
            let stock = (self.contenders.iter().zip(&medians))
                .filter(|(contender, _)| contender.front == Front::Stock)
                .filter(|(contender, _)| match target {
                    Target::OfSsh(_) => contender.name == "stock ssh",
                    Target::EndpointOfSshNg(_) => contender.name == "stock ssh-ng",
                    _ => true,
                })
                .filter_map(|(_, median)| *median)
                .min_by(f64::total_cmp);
            let front = match target {
                Target::EndpointOfSshNg(_) => Front::Endpoint,
                Target::BrokerOfBest(_) => Front::Brokered,
                _ => Front::Hook,
            };
            let ratio = self
                .of(front, &medians)
                .zip(stock)
                .map(|(ours, stock)| ours / stock);
            Line {
                measure,
                medians,
                ratio,
                target,
            }
        })
    }

    fn of(&self, front: Front, medians: &[Option<f64>]) -> Option<f64> {
        let mut contenders = self.contenders.iter();
        let index = contenders.position(|contender| contender.front == front)?;
        medians[index]
    }

    /// Whether our hook or the endpoint, whichever it is about, has reached what the line is to reach.
    fn reached(&self, line: &Line) -> Option<bool> {
        line.reached(self.of(Front::Hook, &line.medians))
    }

    /// The case's lines of the table, with their head.
    pub(crate) fn print(&self) {
        print!("{:<12} {:<12}", self.case.name, "");
        for contender in self.contenders {
            print!("{:>14}", contender.name);
        }
        println!("{:>8}  to reach", "ratio");
        for line in self.lines() {
            let number = |value: Option<f64>, digits| {
                value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
            };
            print!("{:<12} {:<12}", "", line.measure.name());
            for median in &line.medians {
                print!("{:>14}", number(*median, 1));
            }
            let target = match line.target {
                Target::OfBest(bound) => format!("{bound}"),
                Target::OfSsh(bound) => format!("{bound} of ssh"),
                Target::BrokerOfBest(bound) => format!("broker: {bound}"),
                Target::EndpointOfSshNg(bound) => format!("endpoint: {bound} of ssh-ng"),
                Target::AtMost(bound) => format!("at most {bound}"),
                Target::None => String::new(),
            };
            let verdict = match self.reached(&line) {
                Some(true) => ": yes",
                Some(false) => ": NO",
                None => "",
            };
            println!("{:>8}  {target}{verdict}", number(line.ratio, 3));
        }
        println!();
    }

    pub(crate) fn to_json(&self) -> Value {
        let lines = self.lines().map(|line| {
            let named = self.contenders.iter().zip(&line.medians);
            let medians =
                named.map(|(contender, median)| (contender.name.to_owned(), json!(median)));
            let target = match line.target {
                Target::OfBest(bound) => json!({ "of-best": bound }),
                Target::OfSsh(bound) => json!({ "of-ssh": bound }),
                Target::BrokerOfBest(bound) => json!({ "broker-of-best": bound }),
                Target::EndpointOfSshNg(bound) => json!({ "endpoint-of-ssh-ng": bound }),
                Target::AtMost(bound) => json!({ "at-most": bound }),
                Target::None => Value::Null,
            };
            json!({
                "measure": line.measure.name(),
                "medians": medians.collect::<serde_json::Map<_, _>>(),
                "ratio": line.ratio,
                "target": target,
                "reached": self.reached(&line),
            })
        });
        let samples = self
            .contenders
            .iter()
            .zip(&self.samples)
            .map(|(contender, samples)| {
                let walls: Vec<_> = samples
                    .iter()
                    .map(|sample| sample.value(Measure::Wall))
                    .collect();
                let cpu = |sample: &Sample| {
                    let cpu = sample.cpu?;
                    Some(cpu.map(|time| time.as_secs_f64() * 1000.0))
                };
                let cpus: Vec<_> = samples.iter().map(cpu).collect();
                (
                    contender.name.to_owned(),
                    json!({ "wall-ms": walls, "cpu-ms": cpus }),
                )
            });
        json!({
            "case": self.case.name,
            "what": self.case.what,
            "lines": lines.collect::<Vec<_>>(),
            "samples": samples.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
