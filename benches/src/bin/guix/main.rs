//! Whole builds between two hosts with Guix: offloaded through our program and through stock `guix offload`, in turn.
//!
//! ```text
//! OFFLOAD_ROOTS=DIR cargo run --release -p benches --bin guix -- [--case trivial ..] [--rounds 3] [--hook PROGRAM]
//! ```
//! `DIR` holds root folders of distributions with Guix, as `crates/testbed/make-roots` makes them; each of them is
//! measured. Wall time is what a client waits for the build, without its own start; processor time is that of all
//! processes on both hosts, less what a client takes that builds nothing. Both of ours and stock's are medians; each
//! ratio is ours to stock's. What a run brought is deleted before the next one.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use testbed::{Distribution, GuixMachine, Host, HostOptions, Mount, Pair, PairOptions, StoreKind};

type AnyError = Box<dyn Error>;

/// How long one run may take. The slowest takes half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(900);

/// How long a host may take to grow quiet after a run.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// The delay of the cases that have one.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Where an input is made, on the coordinator.
const INPUT: &str = "/root/input";

const TREE: &str = "set -e; rm -rf /root/input; mkdir /root/input; cd /root/input; for d in $(seq 200); do mkdir $d; \
                    for f in $(seq 100); do echo $d $f $ID >$d/$f; done; done";

const TREE_OUT: &str = "mkdir $out; cd $out; d=0; while [ $d -lt 200 ]; do mkdir $d; f=0; while [ $f -lt 100 ]; \
                        do echo $d $f > $d/$f; f=$((f+1)); done; d=$((d+1)); done";

/// Builds that are asked for one after the other; what is measured is divided by their number.
#[derive(Debug)]
struct Case {
    name: &'static str,
    what: &'static str,
    builds: u32,
    /// Over the link with a delay.
    far: bool,
    script: &'static str,
    /// What makes the input anew for each run.
    input: Option<&'static str>,
    /// What of stock's wall time is to be reached, and of its processor time.
    wall: f64,
    cpu: Option<f64>,
}

const CASES: [Case; 8] = [
    Case {
        name: "trivial",
        what: "trivial builds; per build",
        builds: 3,
        far: false,
        script: "echo x > $out",
        input: None,
        wall: 0.05,
        cpu: Some(0.1),
    },
    Case {
        name: "trivial-50ms",
        what: "the same at 50 ms of round trip time",
        builds: 3,
        far: true,
        script: "echo x > $out",
        input: None,
        wall: 0.15,
        cpu: None,
    },
    Case {
        name: "input-512m",
        what: "a build with an input of 512 MiB",
        builds: 1,
        far: false,
        script: "echo $input > $out",
        input: Some("head -c 512M /dev/urandom > /root/input"),
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "output-512m",
        what: "a build with an output of 512 MiB",
        builds: 1,
        far: false,
        script: "head -c 536870912 /dev/zero > $out",
        input: None,
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "tree-in",
        what: "a build with an input of 20,000 files",
        builds: 1,
        far: false,
        script: "echo $input > $out",
        input: Some(TREE),
        wall: 0.7,
        cpu: None,
    },
    Case {
        name: "tree-out",
        what: "a build with an output of 20,000 files",
        builds: 1,
        far: false,
        script: TREE_OUT,
        input: None,
        wall: 0.5,
        cpu: None,
    },
    Case {
        name: "input-64m-50ms",
        what: "a build with an input of 64 MiB at 50 ms",
        builds: 1,
        far: true,
        script: "echo $input > $out",
        input: Some("head -c 64M /dev/urandom > /root/input"),
        wall: 0.4,
        cpu: None,
    },
    Case {
        name: "output-64m-50ms",
        what: "a build with an output of 64 MiB at 50 ms",
        builds: 1,
        far: true,
        script: "head -c 67108864 /dev/zero > $out",
        input: None,
        wall: 0.3,
        cpu: None,
    },
];

/// Builds through our program and through stock's, and prints the table of ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this case; may be given several times. All names are in the table.
    #[arg(long = "case", value_name = "NAME", value_parser = case)]
    cases: Vec<&'static Case>,
    /// How many rounds count; in each, both do the case once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Our program, built with optimisations.
    #[arg(long, default_value = "target/release/offload")]
    hook: PathBuf,
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
            eprintln!("guix: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), AnyError> {
    testbed::requirements()?;
    let roots = testbed::roots_with("usr/bin/guix-daemon")?.ok_or(testbed::ROOTS_VARIABLE)?;
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
                measure(case, &ours, &stock, arguments.rounds)?;
            }
        }
    }
    Ok(())
}

/// What one run took, per build, in seconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    wall: f64,
    cpu: f64,
}

fn measure(case: &Case, ours: &Bed, stock: &Bed, rounds: u32) -> Result<(), AnyError> {
    let mut samples = [Vec::new(), Vec::new()];
    // The first round does not count: machines are met, Guile's files are read.
    for round in 0..=rounds {
        for turn in 0..2 {
            let index = (turn + round as usize) % 2;
            let sample = [ours, stock][index].build(case, round)?;
            if round > 0 {
                samples[index].push(sample);
            }
        }
    }
    let median = |of: fn(&Sample) -> f64| {
        [0, 1].map(|index| {
            let mut values: Vec<f64> = samples[index].iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        })
    };
    println!("{}: {}, {}", ours.version, case.name, case.what);
    println!(
        "{:<16} {:>10} {:>10} {:>7}  to reach",
        "", "offload", "stock", "ratio"
    );
    let lines = [
        ("wall s", median(|sample| sample.wall), Some(case.wall)),
        ("CPU s", median(|sample| sample.cpu), case.cpu),
    ];
    for (name, [ours, stock], target) in lines {
        let ratio = ours / stock;
        let reached = match target {
            Some(target) if ratio <= target => format!("{target}: yes"),
            Some(target) => format!("{target}: NO"),
            None => String::new(),
        };
        println!("{name:<16} {ours:>10.3} {stock:>10.3} {ratio:>7.3}  {reached}");
    }
    Ok(())
}

/// Two hosts of one Guix; the coordinator's daemon has our program as `GUIX`, or none.
struct Bed {
    pair: Pair,
    version: String,
    name: &'static str,
}

impl Bed {
    fn start(root: &Path, hook: &Path, is_ours: bool, far: bool) -> Result<Self, AnyError> {
        let hook = hook
            .canonicalize()
            .map_err(|error| format!("{}: {error}", hook.display()))?;
        let host = HostOptions {
            distribution: Distribution::at(root),
            kind: StoreKind::Guix,
            mounts: vec![
                Mount::new("/bin/busybox", "/opt/busybox"),
                // Another distribution's C library may be older than the one it was built with.
                Mount::new(hook, "/opt/ours"),
                Mount::new("/usr/lib/x86_64-linux-gnu", "/opt/machine"),
            ],
            ..HostOptions::default()
        };
        let daemon_environment = match is_ours {
            true => vec![
                "GUIX=/opt/offload".into(),
                "OFFLOAD_GUIX=/usr/bin/guix".into(),
            ],
            false => Vec::new(),
        };
        let coordinator = HostOptions {
            daemon_environment,
            daemon_arguments: vec!["--max-jobs=0".into()],
            ..host.clone()
        };
        let pair = Pair::start(PairOptions {
            coordinator,
            builder: host,
            round_trip: if far { ROUND_TRIP } else { Duration::ZERO },
            ..PairOptions::default()
        })?;
        let coordinator = &pair.coordinator;
        let linker = "exec /opt/machine/ld-linux-x86-64.so.2 --library-path /opt/machine";
        let program = format!("#!/bin/sh\n{linker} /opt/ours \"$@\"\n");
        coordinator.write_file("/opt/offload", program)?;
        coordinator.write_file("/root/guix.scm", include_str!("guix.scm"))?;
        let shell = "chmod 755 /opt/offload && mkdir -p /opt/shell/bin && cd /opt/shell/bin && \
                     cp /opt/busybox busybox && for name in sh head mkdir; do ln -s busybox $name; done";
        coordinator.run(&["sh", "-c", shell])?;
        pair.exchange_guix_keys()?;
        let machines = GuixMachine::list(&[pair.guix_machine()]);
        coordinator.write_file("/etc/guix/machines.scm", machines)?;
        let version = coordinator.run(&["guix-daemon", "--version"])?;
        Ok(Bed {
            version: version.lines().next().unwrap_or("guix").to_owned(),
            name: if is_ours { "ours" } else { "stock" },
            pair,
        })
    }

    fn build(&self, case: &Case, round: u32) -> Result<Sample, AnyError> {
        let name = format!("{}-{}-{round}", case.name, self.name);
        let coordinator = &self.pair.coordinator;
        if let Some(make) = case.input {
            let make = format!("ID={name}; {make}");
            coordinator.exec_within(LIMIT, &["bash", "-c", &make])?;
        }
        let (_, alone) = self.client(&format!("{name}-none"), 0, case)?;
        let (wall, cpu) = self.client(&name, case.builds, case)?;
        // Trivial builds leave next to nothing, and would send their tools anew.
        if case.builds == 1 {
            for host in self.hosts() {
                host.exec_within(LIMIT, &["guix", "gc"])?;
            }
        }
        let count = f64::from(case.builds);
        Ok(Sample {
            wall: wall / count,
            cpu: cpu.saturating_sub(alone).as_secs_f64() / count,
        })
    }

    /// What a client says that it waited, in seconds, and the processor time of both hosts for all of it.
    fn client(&self, name: &str, builds: u32, case: &Case) -> Result<(f64, Duration), AnyError> {
        let before = self.spent()?;
        let builds = builds.to_string();
        let mut command = vec![
            "guix",
            "repl",
            "--",
            "/root/guix.scm",
            name,
            &builds,
            case.script,
        ];
        command.extend(case.input.map(|_| INPUT));
        let output = self.pair.coordinator.exec_within(LIMIT, &command)?;
        let wall = output.stdout.trim().parse();
        let wall = wall.map_err(|_| format!("{name}: {}{}", output.stdout, output.stderr))?;
        Ok((wall, self.spent()?.saturating_sub(before)))
    }

    fn hosts(&self) -> [&Host; 2] {
        [&self.pair.coordinator, &self.pair.builder]
    }

    /// The processor time of both hosts once everything there has ended.
    fn spent(&self) -> Result<Duration, AnyError> {
        let mut spent = Duration::ZERO;
        for host in self.hosts() {
            if let Some(stray) = host.strays_after(QUIET_WITHIN)?.first() {
                return Err(format!("{} does not grow quiet: {stray}", host.name()).into());
            }
            spent += host.cpu_time()?.total();
        }
        Ok(spent)
    }
}
