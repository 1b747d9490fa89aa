//! Whole builds: a chain of trivial derivations, offloaded through our hook and through the distribution's own, in turn,
//! between the same two hosts.
//!
//! ```text
//! cargo run --release -p benches --bin chain -- --rounds 7 --length 5 [--rtt-ms 50] [--json]
//! ```
//! Each derivation needs the one before it, so the builds come one after the other and what is measured is what one
//! offloaded build costs: wall time as the client sees it, processor time of all processes on both hosts. The
//! derivations are instantiated before the clock starts. The first round warms up and does not count.

use std::{
    error::Error,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::Parser;
use serde_json::json;
use testbed::{Host, HostOptions, MachineLine, Mount, Pair, PairOptions};

/// The chain, in the Nix language.
const CHAIN: &str = r#"{ id, length }:
let link = before: i: derivation {
  name = "chain-${id}-${toString i}"; system = builtins.currentSystem; inherit before;
  builder = "/bin/sh"; args = [ "-c" "echo ${toString i} > $out" ];
}; in builtins.foldl' link "" (builtins.genList (i: i) (builtins.fromJSON length))"#;

/// How long a host may take to grow quiet after a chain.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// Builds a chain of trivial derivations through our hook and through stock build-remote, and compares.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many rounds count; in each, every contender builds one chain.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many builds a chain has.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    length: u32,
    /// The round trip time between coordinator and builder, in milliseconds; 0 is the loopback itself.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    rtt_ms: u64,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Only the contenders whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Our hook; if not given, it is built by cargo, with optimisations.
    #[arg(long)]
    hook: Option<PathBuf>,
    /// Stock's hook, as a path on the coordinator.
    #[arg(long, default_value = "/usr/libexec/nix/build-remote")]
    stock: String,
}

/// A hook and the scheme that it is given.
struct Contender {
    name: &'static str,
    hook: String,
    scheme: &'static str,
    chains: Vec<Chain>,
}

/// What one chain took.
#[derive(Clone, Copy)]
struct Chain {
    wall: Duration,
    /// Coordinator's and builder's; `None` where it cannot be measured.
    cpu: Option<[Duration; 2]>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments) {
        Ok(contenders) => {
            print(&arguments, &contenders);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("chain: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<Vec<Contender>, Box<dyn Error>> {
    testbed::requirements()?;
    let mut contenders = contenders(arguments);
    if contenders.is_empty() {
        return Err(format!("no contender's name contains {:?}", arguments.only).into());
    }
    let ours = contenders.iter().any(|contender| contender.hook == OURS);
    let mounts = if ours {
        vec![Mount::new(our_hook(arguments)?, OURS)]
    } else {
        Vec::new()
    };
    let nix_conf = vec![
        "max-jobs = 0".into(),
        "builders = @/etc/nix/machines".into(),
    ];
    let pair = Pair::start(PairOptions {
        coordinator: HostOptions {
            nix_conf,
            mounts,
            ..HostOptions::default()
        },
        round_trip: Duration::from_millis(arguments.rtt_ms),
        ..PairOptions::default()
    })?;
    pair.coordinator.write_file("/root/chain.nix", CHAIN)?;
    for round in 0..=arguments.rounds {
        // Whoever begins changes from round to round.
        contenders.rotate_left(1);
        for contender in &mut contenders {
            let id = format!("{}-{round}", contender.name.replace(' ', "-"));
            let chain = build(&pair, contender, &id, arguments.length)?;
            if round > 0 {
                contender.chains.push(chain);
            }
        }
    }
    contenders.sort_by_key(|contender| (contender.hook != OURS, contender.name));
    Ok(contenders)
}

/// Where the coordinator finds our hook.
const OURS: &str = "/opt/offload";

fn contenders(arguments: &Arguments) -> Vec<Contender> {
    let contender = |name, hook: &str, scheme| Contender {
        name,
        hook: hook.to_owned(),
        scheme,
        chains: Vec::new(),
    };
    let mut all = vec![
        contender("offload", OURS, "ssh-ng"),
        contender("stock ssh-ng", &arguments.stock, "ssh-ng"),
        contender("stock ssh", &arguments.stock, "ssh"),
    ];
    all.retain(|contender| contender.name.contains(&arguments.only));
    all
}

/// Builds the hook, so that what is measured is the source as it stands.
fn our_hook(arguments: &Arguments) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(hook) = &arguments.hook {
        return Ok(hook
            .canonicalize()
            .map_err(|error| format!("{}: {error}", hook.display()))?);
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
        manifest,
    ];
    let status = Command::new(cargo).args(command).status()?;
    if !status.success() {
        return Err(format!("building our hook ended with {status}").into());
    }
    // This program is in the same target folder, whatever its profile.
    let this = std::env::current_exe()?;
    let target = this
        .parent()
        .and_then(|profile| profile.parent())
        .ok_or("this program is in no target folder")?;
    Ok(target.join("release/offload"))
}

fn build(
    pair: &Pair,
    contender: &Contender,
    id: &str,
    length: u32,
) -> Result<Chain, Box<dyn Error>> {
    let line = pair.machine_line();
    let line = MachineLine {
        uri: line.uri.replacen("ssh-ng", contender.scheme, 1),
        ..line
    };
    pair.coordinator
        .write_file("/etc/nix/machines", format!("{line}\n"))?;
    let length = length.to_string();
    let arguments = ["--argstr", "id", id, "--argstr", "length", &length];
    let drv = pair
        .coordinator
        .run(&[&["nix-instantiate", "chain.nix"], &arguments[..]].concat())?;
    let before = quiet_cpu(pair)?;
    let realise = [
        "nix-store",
        "--realise",
        drv.trim(),
        "--option",
        "build-hook",
        &contender.hook,
    ];
    // A slow link and a long chain take their time.
    let limit = Duration::from_secs(60) + Duration::from_secs(20) * length.parse()?;
    let output = pair.coordinator.exec_within(limit, &realise)?;
    if !output.status.success() {
        return Err(format!(
            "{}: {}\n{}",
            contender.name,
            output.stderr,
            pair.coordinator.logs()
        )
        .into());
    }
    let after = quiet_cpu(pair)?;
    let cpu = before
        .zip(after)
        .map(|(before, after)| [after[0] - before[0], after[1] - before[1]]);
    Ok(Chain {
        wall: output.elapsed,
        cpu,
    })
}

/// The processor time of both hosts once everything there has ended.
fn quiet_cpu(pair: &Pair) -> Result<Option<[Duration; 2]>, Box<dyn Error>> {
    let hosts = [&pair.coordinator, &pair.builder];
    for host in hosts {
        if let Some(stray) = host.strays_after(QUIET_WITHIN)?.first() {
            return Err(format!("{} does not grow quiet: {stray}", host.name()).into());
        }
    }
    let time = |host: &Host| host.cpu_time().map(|time| time.total()).ok();
    Ok(time(hosts[0])
        .zip(time(hosts[1]))
        .map(|(coordinator, builder)| [coordinator, builder]))
}

/// Milliseconds per build.
#[derive(Clone, Copy)]
struct Medians {
    wall: f64,
    /// Coordinator's and builder's.
    cpu: Option<[f64; 2]>,
}

impl Medians {
    fn of(chains: &[Chain], length: u32) -> Self {
        let per_build = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(length);
        let of_host = |host: usize| {
            let times: Option<Vec<_>> = chains
                .iter()
                .map(|chain| chain.cpu.map(|cpu| per_build(cpu[host])))
                .collect();
            times.map(median)
        };
        Self {
            wall: median(chains.iter().map(|chain| per_build(chain.wall)).collect()),
            cpu: of_host(0)
                .zip(of_host(1))
                .map(|(coordinator, builder)| [coordinator, builder]),
        }
    }

    fn cpu_total(self) -> Option<f64> {
        self.cpu.map(|[coordinator, builder]| coordinator + builder)
    }
}

/// The middle value, or the mean of the two in the middle. There is at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

fn print(arguments: &Arguments, contenders: &[Contender]) {
    let medians = |contender: &Contender| Medians::of(&contender.chains, arguments.length);
    let all: Vec<_> = contenders
        .iter()
        .map(|contender| (contender, medians(contender)))
        .collect();
    let ours = all
        .iter()
        .find(|(contender, _)| contender.hook == OURS)
        .map(|(_, medians)| *medians);
    if arguments.json {
        print_json(arguments, &all);
    } else {
        print_table(arguments, &all, ours);
    }
}

fn print_table(arguments: &Arguments, all: &[(&Contender, Medians)], ours: Option<Medians>) {
    let Arguments {
        length,
        rounds,
        rtt_ms,
        ..
    } = arguments;
    println!(
        "chain of {length} trivial builds, {rounds} rounds, {rtt_ms} ms of round trip added; medians per build\n"
    );
    println!(
        "{:<14}{:>10}{:>10}  (coordinator + builder)",
        "", "wall ms", "CPU ms"
    );
    for (contender, medians) in all {
        let cpu = medians
            .cpu
            .map_or("not measured".into(), |[coordinator, builder]| {
                format!(
                    "{:>10.1}  ({coordinator:.1} + {builder:.1})",
                    coordinator + builder
                )
            });
        println!("{:<14}{:>10.1}{cpu}", contender.name, medians.wall);
    }
    let Some(ours) = ours else { return };
    println!();
    for (contender, stock) in all.iter().filter(|(contender, _)| contender.hook != OURS) {
        let cpu = ours
            .cpu_total()
            .zip(stock.cpu_total())
            .map_or("not measured".into(), |(ours, stock)| {
                format!("{:.2}", ours / stock)
            });
        println!(
            "offload / {}: wall {:.2}, CPU {cpu}",
            contender.name,
            ours.wall / stock.wall
        );
    }
}

fn print_json(arguments: &Arguments, all: &[(&Contender, Medians)]) {
    let contenders: Vec<_> = all
        .iter()
        .map(|(contender, medians)| {
            let walls: Vec<_> = contender
                .chains
                .iter()
                .map(|chain| chain.wall.as_secs_f64() * 1000.0)
                .collect();
            json!({
                "name": contender.name,
                "wall_ms_per_build": medians.wall,
                "cpu_ms_per_build": medians.cpu_total(),
                "cpu_ms_per_build_coordinator_builder": medians.cpu,
                "wall_ms_per_chain": walls,
            })
        })
        .collect();
    let Arguments {
        length,
        rounds,
        rtt_ms,
        ..
    } = arguments;
    println!(
        "{}",
        json!({ "length": length, "rounds": rounds, "rtt_ms": rtt_ms, "contenders": contenders })
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(
            (median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])),
            (2.0, 2.5)
        );
    }
}
