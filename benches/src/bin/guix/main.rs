//! Whole builds between two hosts with Guix: offloaded through our program and through stock `guix offload`, in turn.
//!
//! ```text
//! OFFLOAD_ROOTS=DIR cargo run --release -p benches --bin guix -- [--case trivial ..] [--rounds 3] [--json] [--hook PROGRAM]
//! ```
//! `DIR` holds root folders of distributions with Guix, as `crates/testbed/make-roots` makes them; each of them is
//! measured. Wall time is what a client waits for the build, without its own start; processor time is that of all
//! processes on both hosts, less what a client takes that builds nothing. Both of ours and stock's are medians; each
//! ratio is ours to stock's. What a run brought is deleted before the next one.

mod bed;
mod cases;

use std::{path::PathBuf, process::ExitCode};

use benches::contest::{self, AnyError, Line, Results, Target, median};
use clap::Parser;
use serde_json::json;

use crate::{
    bed::Bed,
    cases::{CASES, Case},
};

/// Builds through our program and through stock's, and prints the table of ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this case; may be given several times. All names are in the table.
    #[arg(long = "case", value_name = "NAME", value_parser = case)]
    cases: Vec<&'static Case>,
    /// How many rounds count; in each, both do the case once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Our program, built with optimisations.
    #[arg(long, default_value = "target/release/offload")]
    hook: PathBuf,
}

fn case(name: &str) -> Result<&'static Case, String> {
    contest::position(name, &CASES.map(|case| case.name)).map(|index| &CASES[index])
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.cases.is_empty() {
        arguments.cases = CASES.iter().collect();
    }
    contest::end("guix", run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), AnyError> {
    testbed::requirements()?;
    let roots = testbed::roots_with("usr/bin/guix-daemon")?.ok_or(testbed::ROOTS_VARIABLE)?;
    let mut all = Vec::new();
    for root in roots {
        for far in [false, true] {
            let cases = arguments.cases.iter().filter(|case| case.far == far);
            let cases: Vec<_> = cases.collect();
            if cases.is_empty() {
                continue;
            }
            let ours = Bed::start(&root, &arguments.hook, true, far)?;
            let stock = Bed::start(&root, &arguments.hook, false, far)?;
            for case in cases {
                // The first round does not count: machines are met, Guile's files are read.
                let turn = |index: usize, round| [&ours, &stock][index].build(case, round);
                let samples = contest::take_turns(2, 1, arguments.rounds, turn)?;
                let results = results(case, &samples);
                if !arguments.json {
                    println!("{}: {}\n{}", ours.version, case.what, results.text());
                }
                let mut result = results.to_json();
                result["version"] = json!(ours.version);
                all.push(result);
            }
        }
    }
    if arguments.json {
        println!("{}", json!({ "rounds": arguments.rounds, "cases": all }));
    }
    Ok(())
}

/// What one run took, per build, in seconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    wall: f64,
    cpu: f64,
}

/// Of ours and stock's, in this order.
fn results(case: &Case, samples: &[Vec<Sample>]) -> Results {
    let line = |measure, of: fn(&Sample) -> f64, bound: Option<f64>| {
        let milliseconds = |samples: &Vec<Sample>| samples.iter().map(|s| of(s) * 1000.0).collect();
        let medians: Vec<_> = samples
            .iter()
            .map(|all| median(milliseconds(all)))
            .collect();
        let ratio = medians[0].zip(medians[1]).map(|(ours, stock)| ours / stock);
        Line {
            measure,
            medians,
            ratio,
            target: bound.map(|bound| Target {
                text: bound.to_string(),
                json: json!({ "of-stock": bound }),
            }),
            reached: ratio.zip(bound).map(|(ratio, bound)| ratio <= bound),
        }
    };
    let all = |samples: &Vec<Sample>| {
        let milliseconds = |of: fn(&Sample) -> f64| -> Vec<_> {
            samples.iter().map(|sample| of(sample) * 1000.0).collect()
        };
        json!({ "wall-ms": milliseconds(|s| s.wall), "cpu-ms": milliseconds(|s| s.cpu) })
    };
    Results {
        case: case.name,
        what: case.what,
        contenders: vec!["offload", "stock"],
        lines: vec![
            line("wall ms", |sample| sample.wall, Some(case.wall)),
            line("CPU ms", |sample| sample.cpu, case.cpu),
        ],
        samples: samples.iter().map(all).collect(),
    }
}
