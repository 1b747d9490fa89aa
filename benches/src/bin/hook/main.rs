//! Whole builds: offloaded through our hook, through the distribution's own with our store endpoint as its machine, and
//! through the distribution's own alone, in turn, between the same two hosts.
//!
//! ```text
//! cargo run --release -p benches --bin hook -- [--case chain --case input-1g ..] [--rounds 5] [--json]
//! ```
//! What is measured of a build: wall time as the client sees it, processor time of all processes on both hosts, round
//! trips over a link with a delay, the most memory that the hook itself ever had. Derivations and inputs are made
//! before the clock starts; whatever a run brought is deleted before the next one. Each ratio is that of our hook's
//! median to the better one of stock's two medians (`ssh-ng://` and `ssh://`), or else of the endpoint's to `ssh-ng://`.

mod bed;
mod cases;
mod reply;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    bed::{Bed, Contender},
    cases::{CASES, Case, Kind},
    table::{Results, Sample},
};

/// Builds through our hook and through stock build-remote, and prints the table of ratios.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Only this case; may be given several times. All names are in the table.
    #[arg(long = "case", value_name = "NAME", value_parser = case)]
    cases: Vec<&'static Case>,
    /// How many rounds count; in each, every contender does the case once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Only the contenders whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The coordinator's distribution: a root folder as `crates/testbed/make-roots` makes them.
    #[arg(long, value_name = "ROOT")]
    coordinator: Option<PathBuf>,
    /// The builder's distribution.
    #[arg(long, value_name = "ROOT")]
    builder: Option<PathBuf>,
    /// Our hook; if not given, it is built by cargo, with optimisations.
    #[arg(long)]
    hook: Option<PathBuf>,
    /// Stock's hook, as a path on the coordinator.
    #[arg(long, default_value = "/usr/libexec/nix/build-remote")]
    stock: String,
}

fn case(name: &str) -> Result<&'static Case, String> {
    let names = || CASES.map(|case| case.name).join(", ");
    let found = CASES.iter().find(|case| case.name == name);
    found.ok_or_else(|| format!("there are {}", names()))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.cases.is_empty() {
        arguments.cases = CASES.iter().collect();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hook: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    testbed::requirements()?;
    let contenders = bed::contenders(arguments)?;
    let bed = Bed::start(arguments, &contenders)?;
    let mut all = Vec::new();
    for &case in &arguments.cases {
        if !arguments.json {
            eprintln!("{}: {}", case.name, case.what);
        }
        all.push(measure(&bed, case, &contenders, arguments.rounds)?);
        if !arguments.json {
            all.last().into_iter().for_each(Results::print);
        }
    }
    if arguments.json {
        let cases: Vec<_> = all.iter().map(Results::to_json).collect();
        let (coordinator, builder) = bed.versions()?;
        let whole = serde_json::json!({
            "rounds": arguments.rounds, "coordinator": coordinator, "builder": builder, "cases": cases,
        });
        println!("{whole}");
    }
    Ok(())
}

fn measure<'a>(
    bed: &Bed,
    case: &'static Case,
    contenders: &'a [Contender],
    rounds: u32,
) -> Result<Results<'a>, Box<dyn Error>> {
    let mut samples = vec![Vec::<Sample>::new(); contenders.len()];
    if let Kind::Builds(builds) = &case.kind {
        (builds.make)(bed)?;
    }
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Whoever begins changes from round to round.
            let index = (turn + round as usize) % contenders.len();
            let contender = &contenders[index];
            let sample = match &case.kind {
                Kind::Builds(builds) => bed.build(case, builds, contender)?,
                Kind::Reply => reply::measure(bed, contender)?,
            };
            samples[index].push(sample);
        }
    }
    Ok(Results::new(case, contenders, samples))
}
