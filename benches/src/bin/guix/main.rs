//! Whole builds between two hosts with Guix: offloaded through our program, with a broker and without, and through
//! stock `guix offload`, in turn.
//!
//! ```text
//! OFFLOAD_ROOTS=DIR cargo run --release -p benches --bin guix -- [--case trivial ..] [--rounds 5] [--json] [--hook PROGRAM]
//! ```
//! `DIR` holds root folders of distributions with Guix, as `crates/testbed/make-roots` makes them; each of them is
//! measured. Wall time is what a client waits for the build, without its own start; processor time is that of all
//! processes on both hosts, less what a client takes that builds nothing. Both of ours and stock's are medians; each
//! ratio is ours to stock's. What is large is deleted before the next run.

mod bed;
mod cases;

use std::process::ExitCode;

use benches::contest::{self, AnyError, Line, Options, Results, Target, median};
use clap::Parser;
use serde_json::json;

use crate::{
    bed::{Bed, Who},
    cases::{CASES, Case},
};

/// Builds through our program and through stock's, and prints the table of ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this case; may be given several times. All names are in the table.
    #[arg(long = "case", value_name = "NAME", value_parser = case)]
    cases: Vec<&'static Case>,
    #[command(flatten)]
    options: Options,
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
    let hook = arguments.options.hook()?;
    let mut all = Vec::new();
    for root in roots {
        for far in [false, true] {
            let cases = arguments.cases.iter().filter(|case| case.far == far);
            let cases: Vec<_> = cases.collect();
            if cases.is_empty() {
                continue;
            }
            let mut beds = Vec::new();
            for who in Who::ALL {
                beds.push(Bed::start(&root, &hook, who, far)?);
            }
            for case in cases {
                // The first round does not count: machines are met, Guile's files are read.
                let turn = |index: usize, round| beds[index].build(case, round);
                let samples = contest::take_turns(beds.len(), 1, arguments.options.rounds, turn)?;
                let results = results(case, &samples);
                if !arguments.options.json {
                    println!("{}: {}\n{}", beds[0].version, case.what, results.text());
                }
                let mut result = results.to_json();
                result["version"] = json!(beds[0].version);
                all.push(result);
            }
        }
    }
    if arguments.options.json {
        println!(
            "{}",
            json!({ "rounds": arguments.options.rounds, "cases": all })
        );
    }
    Ok(())
}

/// What one run took, per build, in seconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    wall: f64,
    cpu: f64,
}

fn results(case: &Case, samples: &[Vec<Sample>]) -> Results {
    let line = |who, measure, of: fn(&Sample) -> f64, bound: Option<f64>| {
        let milliseconds = |samples: &Vec<Sample>| samples.iter().map(|s| of(s) * 1000.0).collect();
        let medians: Vec<_> = samples
            .iter()
            .map(|all| median(milliseconds(all)))
            .collect();
        let [ours, stock] = [who, Who::Stock].map(|who| medians[who as usize]);
        let ratio = ours.zip(stock).map(|(ours, stock)| ours / stock);
        Line {
            measure,
            medians,
            ratio,
            target: bound.map(|bound| Target {
                text: match who {
                    Who::Brokered => format!("broker: {bound}"),
                    _ => bound.to_string(),
                },
                json: json!({ "who": who.name(), "of-stock": bound }),
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
        contenders: Who::ALL.map(Who::name).to_vec(),
        lines: vec![
            line(Who::Ours, "wall ms", |sample| sample.wall, Some(case.wall)),
            line(
                Who::Brokered,
                "wall ms",
                |sample| sample.wall,
                Some(case.wall),
            ),
            line(Who::Ours, "CPU ms", |sample| sample.cpu, case.cpu),
            line(Who::Brokered, "CPU ms", |sample| sample.cpu, case.cpu),
        ],
        samples: samples.iter().map(all).collect(),
    }
}
