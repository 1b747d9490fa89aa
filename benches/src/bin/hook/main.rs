//! Whole builds: offloaded through our hook, through the distribution's own with our store endpoint as its machine, and
//! through the distribution's own alone, in turn, between the same two hosts.
//!
//! ```text
//! cargo run --release -p benches --bin hook -- [--case chain --case input-1g ..] [--rounds 5] [--json]
//! ```
//! What is measured of a build: wall time as the client sees it, processor time of all processes on both hosts, round
//! trips over a link with a delay, the most memory that the hook itself ever had. Derivations and inputs are made
//! before the clock starts; what is large is deleted before the next run. Each ratio is that of our hook's
//! median to the better one of stock's two medians (`ssh-ng://` and `ssh://`), or else of the endpoint's to `ssh-ng://`.

mod bed;
mod cases;
mod reply;
mod table;

use std::{path::PathBuf, process::ExitCode};

use benches::contest::{self, AnyError, Options, Results};
use clap::Parser;

use crate::{
    bed::{Bed, Contender},
    cases::{CASES, Case, Kind},
    table::Sample,
};

/// Builds through our hook and through stock build-remote, and prints the table of ratios.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Only this case; may be given several times. All names are in the table.
    #[arg(long = "case", value_name = "NAME", value_parser = case)]
    cases: Vec<&'static Case>,
    #[command(flatten)]
    options: Options,
    /// Only the contenders whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The coordinator's distribution: a root folder as `crates/testbed/make-roots` makes them.
    #[arg(long, value_name = "ROOT")]
    coordinator: Option<PathBuf>,
    /// The builder's distribution.
    #[arg(long, value_name = "ROOT")]
    builder: Option<PathBuf>,
    /// Stock's hook, as a path on the coordinator.
    #[arg(long, default_value = "/usr/libexec/nix/build-remote")]
    stock: String,
}

fn case(name: &str) -> Result<&'static Case, String> {
    contest::position(name, &CASES.map(|case| case.name)).map(|index| &CASES[index])
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.cases.is_empty() {
        arguments.cases = CASES.iter().collect();
    }
    contest::end("hook", run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), AnyError> {
    testbed::requirements()?;
    let contenders = bed::contenders(arguments)?;
    let bed = Bed::start(arguments, &contenders)?;
    let mut all = Vec::new();
    for &case in &arguments.cases {
        if !arguments.options.json {
            eprintln!("{}: {}", case.name, case.what);
        }
        let samples = measure(&bed, case, &contenders, arguments.options.rounds)?;
        let results = table::results(case, &contenders, &samples);
        if !arguments.options.json {
            println!("{}", results.text());
        }
        all.push(results);
    }
    if arguments.options.json {
        let cases: Vec<_> = all.iter().map(Results::to_json).collect();
        let (coordinator, builder) = bed.versions()?;
        let whole = serde_json::json!({
            "rounds": arguments.options.rounds, "coordinator": coordinator, "builder": builder, "cases": cases,
        });
        println!("{whole}");
    }
    Ok(())
}

fn measure(
    bed: &Bed,
    case: &Case,
    contenders: &[Contender],
    rounds: u32,
) -> Result<Vec<Vec<Sample>>, AnyError> {
    if let Kind::Builds(builds) = &case.kind {
        (builds.make)(bed)?;
    }
    contest::take_turns(contenders.len(), 0, rounds, |index, _| match &case.kind {
        Kind::Builds(builds) => bed.build(case, builds, &contenders[index]),
        Kind::Reply => reply::measure(bed, &contenders[index]),
    })
}
