//! Contenders who do the same in turn on this machine, and what they take beside each other.

use std::{
    error::Error,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{Args, value_parser};
use serde_json::{Map, Value, json};
use testbed::Host;

/// What a benchmark may stumble over.
pub type AnyError = Box<dyn Error>;

/// How long a host may take to grow quiet after a run.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// How a contest of whole builds is held, as its command line says.
#[derive(Debug, Args)]
pub struct Options {
    /// How many rounds count; in each, every contender does the case once.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Our program; if not given, it is built by cargo, with optimisations.
    #[arg(long)]
    hook: Option<PathBuf>,
}

impl Options {
    /// Our program: the one that is named, or one that is built now, so that what is measured is the source as it stands.
    ///
    /// # Errors
    /// When there is none, or it cannot be built.
    pub fn hook(&self) -> Result<PathBuf, AnyError> {
        if let Some(hook) = &self.hook {
            let found = hook.canonicalize();
            return Ok(found.map_err(|error| format!("{}: {error}", hook.display()))?);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let command = [
            "build",
            "--quiet",
            "--release",
            "--package",
            "offload-bin",
            "--manifest-path",
        ];
        let status = Command::new(cargo).args(command).arg(manifest).status()?;
        if !status.success() {
            return Err(format!("building our hook ended with {status}").into());
        }
        // This program is in the same target folder, whatever its profile.
        let this = std::env::current_exe()?;
        let target = this.parent().and_then(|profile| profile.parent());
        let target = target.ok_or("this program is in no target folder")?;
        Ok(target.join("release/offload"))
    }
}

/// The case of that name, among `names` in the order of the cases.
///
/// # Errors
/// Names those that there are.
pub fn position(name: &str, names: &[&str]) -> Result<usize, String> {
    let found = names.iter().position(|known| *known == name);
    found.ok_or_else(|| format!("there are {}", names.join(", ")))
}

/// What `main` returns; says what went wrong, if anything did.
pub fn end(program: &str, result: Result<(), AnyError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has each of so many contenders take its `turn` in each round, and returns their samples. `turn` is given the number
/// of the contender and of the round, from 0; the first `unmeasured` rounds leave no sample. Whoever begins changes from
/// round to round.
///
/// # Errors
/// As `turn` does.
pub fn take_turns<S>(
    contenders: usize,
    unmeasured: u32,
    rounds: u32,
    mut turn: impl FnMut(usize, u32) -> Result<S, AnyError>,
) -> Result<Vec<Vec<S>>, AnyError> {
    let mut samples: Vec<_> = (0..contenders).map(|_| Vec::new()).collect();
    for round in 0..unmeasured + rounds {
        for number in 0..contenders {
            let contender = (number + round as usize) % contenders;
            let sample = turn(contender, round)?;
            if round >= unmeasured {
                samples[contender].push(sample);
            }
        }
    }
    Ok(samples)
}

/// The processor time that each host has taken for all it ever did, once everything there has ended. `None` where it
/// cannot be measured.
///
/// # Errors
/// If a host does not grow quiet.
pub fn quiet_cpu(hosts: [&Host; 2]) -> Result<Option<[Duration; 2]>, AnyError> {
    for host in hosts {
        if let Some(stray) = host.strays_after(QUIET_WITHIN)?.first() {
            return Err(format!("{} does not grow quiet: {stray}", host.name()).into());
        }
    }
    Ok(cpu(hosts))
}

/// The processor time of both hosts by now, where it can be measured.
pub fn cpu(hosts: [&Host; 2]) -> Option<[Duration; 2]> {
    let [here, there] = hosts.map(|host| host.cpu_time().ok().map(|time| time.total()));
    here.zip(there).map(|(here, there)| [here, there])
}

/// The middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

/// What there is to reach, if anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// For people: `0.5`, `at most 12`.
    pub text: String,
    /// For programs: `{"of-best": 0.5}`.
    pub json: Value,
}

/// Something that was measured of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What, with its unit: `wall ms`.
    pub measure: &'static str,
    /// Of each contender, in their order.
    pub medians: Vec<Option<f64>>,
    /// That of ours to that of the one whom the target is about.
    pub ratio: Option<f64>,
    /// What is to be reached.
    pub target: Option<Target>,
    /// Whether it is.
    pub reached: Option<bool>,
}

impl Line {
    fn to_json(&self, contenders: &[&str]) -> Value {
        let medians = contenders.iter().zip(&self.medians);
        let medians = medians.map(|(name, median)| ((*name).to_owned(), json!(median)));
        json!({
            "measure": self.measure,
            "medians": medians.collect::<Map<_, _>>(),
            "ratio": self.ratio,
            "target": self.target.as_ref().map(|target| &target.json),
            "reached": self.reached,
        })
    }
}

/// All that was measured of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The case's name.
    pub case: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// The names of the contenders.
    pub contenders: Vec<&'static str>,
    /// One for each measure.
    pub lines: Vec<Line>,
    /// Of each contender, for programs: each of its samples.
    pub samples: Vec<Value>,
}

impl Results {
    /// The lines of a table, with their head.
    pub fn text(&self) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let columns = |columns: Vec<String>| {
            let columns = columns.iter().map(|column| format!("{column:>14}"));
            columns.collect::<String>()
        };
        let names = self.contenders.iter().map(|name| (*name).to_owned());
        let names = columns(names.collect());
        let mut text = format!("{:<28}{names}{:>8}  to reach\n", self.case, "ratio");
        for line in &self.lines {
            let medians = line.medians.iter().map(|median| number(*median, 1));
            let medians = columns(medians.collect());
            let target = line.target.as_ref().map_or("", |target| &target.text);
            let verdict = match line.reached {
                Some(true) => ": yes",
                Some(false) => ": NO",
                None => "",
            };
            let (measure, ratio) = (line.measure, number(line.ratio, 3));
            text += &format!(
                "{:<16}{measure:<12}{medians}{ratio:>8}  {target}{verdict}\n",
                ""
            );
        }
        text
    }

    /// The same, and all samples, for programs.
    pub fn to_json(&self) -> Value {
        let lines = self.lines.iter().map(|line| line.to_json(&self.contenders));
        let samples = self.contenders.iter().zip(&self.samples);
        let samples = samples.map(|(name, samples)| ((*name).to_owned(), samples.clone()));
        json!({
            "case": self.case,
            "what": self.what,
            "lines": lines.collect::<Vec<_>>(),
            "samples": samples.collect::<Map<_, _>>(),
        })
    }
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

    #[test]
    fn whoever_begins_changes_and_the_first_rounds_do_not_count() {
        let mut order = Vec::new();
        let samples = take_turns(2, 1, 2, |contender, round| {
            order.push(contender);
            Ok(round)
        });
        assert_eq!(samples.unwrap(), [[1, 2], [1, 2]]);
        assert_eq!(order, [0, 1, 1, 0, 0, 1]);
    }

    #[test]
    fn a_table_says_what_is_reached() {
        let line = |measure, medians: [Option<f64>; 2], reached| Line {
            measure,
            ratio: medians[0].zip(medians[1]).map(|(ours, stock)| ours / stock),
            medians: medians.to_vec(),
            target: Some(Target {
                text: "0.5".to_owned(),
                json: json!({ "of-best": 0.5 }),
            }),
            reached,
        };
        let results = Results {
            case: "chain",
            what: "trivial builds",
            contenders: vec!["offload", "stock"],
            lines: vec![
                line("wall ms", [Some(10.0), Some(100.0)], Some(true)),
                line("CPU ms", [Some(60.0), Some(100.0)], Some(false)),
                line("peak MiB", [Some(10.0), None], None),
            ],
            samples: vec![json!([10.0]), json!([100.0])],
        };
        let text = results.text();
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "chain offload stock ratio to reach",
                "wall ms 10.0 100.0 0.100 0.5: yes",
                "CPU ms 60.0 100.0 0.600 0.5: NO",
                "peak MiB 10.0 - - 0.5",
            ]
        );
        let json = results.to_json();
        assert_eq!(json["lines"][1]["medians"]["stock"], json!(100.0));
        assert_eq!(json["lines"][1]["reached"], json!(false));
        assert_eq!(json["samples"]["offload"], json!([10.0]));
    }
}
