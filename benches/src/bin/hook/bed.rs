//! The two hosts, who contends there, and one run of a case.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use benches::contest::{self, AnyError};
use testbed::{Distribution, Host, HostOptions, Link, MachineLine, Mount, Pair, PairOptions};

use crate::{
    Arguments,
    cases::{Builds, Case, EXPRESSION, Measure},
    table::Sample,
};

/// The delay of the cases that have one.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// How long one run may take. The slowest takes half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(900);

/// Pause between two looks at the hook's memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where the coordinator finds our hook.
const OURS: &str = "/opt/offload";

/// The same, started with the libraries of the machine that it was built on.
const OURS_WITH_LIBRARIES: &str = "/opt/offload-with-libraries";

/// Who hands out the builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Our hook.
    Hook,
    /// The same, whose connections a broker keeps.
    Brokered,
    /// Stock's hook, whose only machine is our store endpoint.
    Endpoint,
    /// Stock's hook.
    Stock,
}

/// A front end and the scheme that it is given.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) front: Front,
    /// Stock's path; ours may depend on the coordinator.
    hook: String,
    scheme: &'static str,
}

/// Those whose name was asked for.
pub(crate) fn contenders(arguments: &Arguments) -> Result<Vec<Contender>, AnyError> {
    let contender = |name, front, hook: &str, scheme| Contender {
        name,
        front,
        hook: hook.to_owned(),
        scheme,
    };
    let mut all = vec![
        contender("offload", Front::Hook, OURS, "ssh-ng"),
        contender("broker", Front::Brokered, OURS, "ssh-ng"),
        contender("endpoint", Front::Endpoint, &arguments.stock, "ssh-ng"),
        contender("stock ssh-ng", Front::Stock, &arguments.stock, "ssh-ng"),
        contender("stock ssh", Front::Stock, &arguments.stock, "ssh"),
    ];
    all.retain(|contender| contender.name.contains(&arguments.only));
    match all.is_empty() {
        true => Err(format!("no contender's name contains {:?}", arguments.only).into()),
        false => Ok(all),
    }
}

/// The two hosts, and a second, slow way from one to the other.
pub(crate) struct Bed {
    pub(crate) pair: Pair,
    link: Link,
    ours: &'static str,
    runs: Cell<u32>,
}

impl Bed {
    pub(crate) fn start(arguments: &Arguments, contenders: &[Contender]) -> Result<Self, AnyError> {
        let distribution = |root: &Option<PathBuf>| {
            let root = root.as_ref();
            root.map_or_else(Distribution::machine, Distribution::at)
        };
        let mut mounts = Vec::new();
        let with_ours = contenders
            .iter()
            .any(|contender| contender.front != Front::Stock);
        if with_ours {
            mounts.push(Mount::new(arguments.options.hook()?, OURS));
            mounts.push(Mount::new("/usr/lib/x86_64-linux-gnu", "/opt/machine"));
        }
        let nix_conf = vec![
            "max-jobs = 0".into(),
            "builders = @/etc/nix/machines".into(),
        ];
        let pair = Pair::start(PairOptions {
            coordinator: HostOptions {
                distribution: distribution(&arguments.coordinator),
                nix_conf,
                mounts,
                ..HostOptions::default()
            },
            builder: HostOptions {
                distribution: distribution(&arguments.builder),
                ..HostOptions::default()
            },
            ..PairOptions::default()
        })?;
        let link = pair.open_link(ROUND_TRIP)?;
        let mut bed = Bed {
            pair,
            link,
            ours: OURS,
            runs: Cell::new(0),
        };
        bed.pair
            .coordinator
            .write_file("/root/bench.nix", EXPRESSION)?;
        if with_ours {
            bed.ours = bed.runnable()?;
        }
        bed.warm_up(contenders)?;
        Ok(bed)
    }

    /// Our hook itself, unless the coordinator's C library is older than the one that it was built with.
    fn runnable(&self) -> Result<&'static str, AnyError> {
        let coordinator = &self.pair.coordinator;
        if coordinator.exec(&[OURS, "--version"])?.status.success() {
            return Ok(OURS);
        }
        let script = format!(
            "#!/bin/sh\nexec /opt/machine/ld-linux-x86-64.so.2 --library-path /opt/machine {OURS} \"$@\"\n"
        );
        coordinator.write_file(OURS_WITH_LIBRARIES, script)?;
        coordinator.run(&["chmod", "755", OURS_WITH_LIBRARIES])?;
        Ok(OURS_WITH_LIBRARIES)
    }

    /// Each contender builds something over each way once, so that nobody pays for what is done once.
    fn warm_up(&self, contenders: &[Contender]) -> Result<(), AnyError> {
        for far in [false, true] {
            for contender in contenders {
                self.use_machine(contender, far)?;
                let drv = self.instantiate("chain", None)?;
                self.realise(contender, &drv)?;
            }
        }
        Ok(())
    }

    /// The versions of Nix on coordinator and builder.
    pub(crate) fn versions(&self) -> Result<(String, String), AnyError> {
        let version = |host: &Host| host.run(&["nix-store", "--version"]);
        let number = |said: String| said.split_whitespace().last().unwrap_or("?").to_owned();
        Ok((
            number(version(&self.pair.coordinator)?),
            number(version(&self.pair.builder)?),
        ))
    }

    /// The path of a contender's hook on the coordinator.
    pub(crate) fn hook<'a>(&'a self, contender: &'a Contender) -> &'a str {
        match contender.front {
            Front::Hook | Front::Brokered => self.ours,
            Front::Endpoint | Front::Stock => &contender.hook,
        }
    }

    /// The value of `builders` that a contender needs, where the machine file alone does not do.
    fn builders(&self, contender: &Contender) -> Result<Option<String>, AnyError> {
        if contender.front != Front::Endpoint {
            return Ok(None);
        }
        let line = self.on_coordinator(&format!("{} store --print-builders", self.ours))?;
        // It names itself, or else the dynamic linker that started it.
        let (_, rest) = line.split_once(' ').ok_or("the line has no words")?;
        let program = format!("ssh-ng://localhost?remote-program={}", self.ours);
        Ok(Some(format!("{program} {rest}")))
    }

    /// The builder's line, as a contender is to be given it.
    pub(crate) fn line(&self, contender: &Contender, far: bool) -> MachineLine {
        let line = self.pair.machine_line();
        let near = self
            .pair
            .builder
            .address()
            .map(|address| address.to_string());
        let uri = match far {
            true => format!("ssh-ng://root@{}", self.link.address()),
            false => format!("ssh-ng://root@{}", near.unwrap_or_default()),
        };
        MachineLine {
            uri: uri.replacen("ssh-ng", contender.scheme, 1),
            ..line
        }
    }

    fn use_machine(&self, contender: &Contender, far: bool) -> Result<(), AnyError> {
        let line = self.line(contender, far);
        let coordinator = &self.pair.coordinator;
        Ok(coordinator.write_file("/etc/nix/machines", format!("{line}\n"))?)
    }

    /// Runs a shell's words on the coordinator, and returns what they printed.
    pub(crate) fn on_coordinator(&self, script: &str) -> Result<String, AnyError> {
        let output = self
            .pair
            .coordinator
            .exec_within(LIMIT, &["bash", "-c", script])?;
        match output.status.success() {
            true => Ok(output.stdout.trim_end().to_owned()),
            false => Err(format!("{script}: {}", output.stderr).into()),
        }
    }

    /// That so many GiB are free where the hosts' files are.
    pub(crate) fn need_room(&self, gib: u64) -> Result<(), AnyError> {
        let root = self.pair.coordinator.root();
        let df = Command::new("df")
            .args(["--output=avail", "-B1"])
            .arg(&root)
            .output()?;
        let said = String::from_utf8_lossy(&df.stdout);
        let free: u64 = said.lines().last().unwrap_or_default().trim().parse()?;
        match free >> 30 >= gib {
            true => Ok(()),
            false => Err(format!(
                "{gib} GiB are needed, {} are free: {}",
                free >> 30,
                root.display()
            )
            .into()),
        }
    }

    /// The derivations of an attribute, never the same twice.
    pub(crate) fn instantiate(
        &self,
        attribute: &str,
        input: Option<&str>,
    ) -> Result<Vec<String>, AnyError> {
        self.runs.set(self.runs.get() + 1);
        let id = self.runs.get().to_string();
        let mut command = vec![
            "nix-instantiate",
            "bench.nix",
            "-A",
            attribute,
            "--argstr",
            "id",
            &id,
        ];
        let added;
        if let Some(input) = input {
            // Changed a little, because the builder has the last one.
            let change = "f=$1; [ -f $f ] || f=$f/1/1; printf %016d $2 | dd of=$f conv=notrunc status=none; \
                          nix-store --add $1";
            let shell = ["bash", "-c", change, "bash", input, &id];
            let output = self.pair.coordinator.exec_within(LIMIT, &shell)?;
            added = output.stdout.trim().to_owned();
            if !output.status.success() {
                return Err(output.stderr.into());
            }
            command.extend(["--argstr", "input", &added]);
        }
        let drvs = self.pair.coordinator.run(&command)?;
        Ok(drvs.lines().map(str::to_owned).collect())
    }

    fn realise(&self, contender: &Contender, drvs: &[String]) -> Result<Duration, AnyError> {
        let hook = self.hook(contender);
        let builders = self.builders(contender)?;
        let mut command = vec!["nix-store", "--option", "build-hook", hook];
        command.extend(
            builders
                .iter()
                .flat_map(|line| ["--option", "builders", line]),
        );
        command.push("--realise");
        command.extend(drvs.iter().map(String::as_str));
        let output = self.pair.coordinator.exec_within(LIMIT, &command)?;
        match output.status.success() {
            true => Ok(output.elapsed),
            false => Err(format!(
                "{}: {}\n{}",
                contender.name,
                output.stderr,
                self.pair.coordinator.logs()
            )
            .into()),
        }
    }

    /// One contender does a case once.
    pub(crate) fn build(
        &self,
        case: &Case,
        builds: &Builds,
        contender: &Contender,
    ) -> Result<Sample, AnyError> {
        let drvs = self.instantiate(builds.attribute, builds.input)?;
        self.use_machine(contender, builds.far)?;
        let hosts = [&self.pair.coordinator, &self.pair.builder];
        let broker = match contender.front {
            Front::Brokered => Some(self.start_broker(contender)?),
            _ => None,
        };
        // A broker's own time counts, but not that of its first connection.
        let before = match broker {
            Some(_) => contest::cpu(hosts),
            None => contest::quiet_cpu(hosts)?,
        };
        self.link.reset();
        let watches = case
            .targets
            .iter()
            .any(|(measure, _)| *measure == Measure::PeakMemory);
        let over = AtomicBool::new(false);
        let (wall, peak) = thread::scope(|scope| {
            let (coordinator, over) = (&self.pair.coordinator, &over);
            let names: &[_] = match contender.front {
                Front::Hook | Front::Brokered | Front::Endpoint => &["offload"],
                Front::Stock => &["build-remote", "nix"],
            };
            let watch = move || peak_memory(coordinator, names, over);
            let watcher = watches.then(|| scope.spawn(watch));
            let wall = self
                .realise(contender, &drvs)
                .map_err(|error| error.to_string());
            over.store(true, Ordering::Relaxed);
            let peak = watcher.map(|watcher| watcher.join().expect("the watcher does not panic"));
            (wall, peak)
        });
        let wall = wall?;
        let round_trips = self.link.round_trips();
        if let Some(broker) = broker {
            self.pair.coordinator.run(&["kill", &broker])?;
        }
        let after = contest::quiet_cpu(hosts)?;
        let count = builds.count;
        let sample = Sample {
            wall: wall / count,
            cpu: before
                .zip(after)
                .map(|(before, after)| [0, 1].map(|host| (after[host] - before[host]) / count)),
            round_trips: builds.far.then(|| round_trips as f64 / f64::from(count)),
            peak_memory: peak.filter(|peak| *peak > 0),
        };
        if builds.heavy {
            for host in [&self.pair.coordinator, &self.pair.builder] {
                host.run(&["nix-store", "--gc", "--quiet"])?;
            }
        }
        Ok(sample)
    }

    /// Starts a broker, has it connect by a build, and returns its process's number on the coordinator.
    fn start_broker(&self, contender: &Contender) -> Result<String, AnyError> {
        let begin = format!(
            "{} broker >/var/log/broker.log 2>&1 </dev/null & echo $!; \
             for _ in $(seq 100); do [ -S /run/offload/broker.sock ] && exit; sleep 0.1; done; exit 1",
            self.ours
        );
        let broker = self.on_coordinator(&begin)?;
        let drv = self.instantiate("trivial", None)?;
        self.realise(contender, &drv)?;
        Ok(broker)
    }
}

/// The most memory that any process of those names on the host has had, in bytes: looked at until all is over. The
/// kernel keeps the highest value of each process, so only what one takes in its last moments can be missed.
fn peak_memory(host: &Host, names: &[&str], over: &AtomicBool) -> u64 {
    let mut peak = 0;
    let mut hook = None;
    while !over.load(Ordering::Relaxed) {
        let of = |pid: u32| high_water(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        match hook.and_then(of) {
            Some(bytes) => peak = peak.max(bytes),
            None => {
                let processes = host.processes().unwrap_or_default();
                let is_hook = |name: &str| names.contains(&name);
                let found = processes.iter().find(|process| is_hook(&process.name));
                hook = found.map(|process| process.pid);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    peak
}

/// `VmHWM:\t   12345 kB`
fn high_water(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
