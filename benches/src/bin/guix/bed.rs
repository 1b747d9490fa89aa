//! Two hosts with one Guix, and one run of a case.

use std::{path::Path, time::Duration};

use benches::contest::{self, AnyError};
use testbed::{Distribution, GuixMachine, Host, HostOptions, Mount, Pair, PairOptions, StoreKind};

use crate::{
    Sample,
    cases::{Case, INPUT},
};

/// How long one run may take. The slowest takes half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(900);

/// The delay of the cases that have one.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Who hands out the builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    /// Ours, whose connections a broker keeps.
    Brokered,
    Stock,
}

impl Who {
    pub(crate) const ALL: [Who; 3] = [Who::Ours, Who::Brokered, Who::Stock];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Ours => "offload",
            Who::Brokered => "broker",
            Who::Stock => "stock",
        }
    }
}

/// Two hosts of one Guix; the coordinator's daemon has our program as `GUIX`, or none.
pub(crate) struct Bed {
    pair: Pair,
    pub(crate) version: String,
    who: Who,
}

impl Bed {
    pub(crate) fn start(root: &Path, hook: &Path, who: Who, far: bool) -> Result<Self, AnyError> {
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
        let daemon_environment = match who {
            Who::Ours | Who::Brokered => vec![
                "GUIX=/opt/offload".into(),
                "OFFLOAD_GUIX=/usr/bin/guix".into(),
            ],
            Who::Stock => Vec::new(),
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
            who,
            pair,
        })
    }

    pub(crate) fn build(&self, case: &Case, round: u32) -> Result<Sample, AnyError> {
        let name = format!("{}-{}-{round}", case.name, self.who.name());
        let coordinator = &self.pair.coordinator;
        if let Some(make) = case.input {
            let make = format!("ID={name}; {make}");
            coordinator.exec_within(LIMIT, &["bash", "-c", &make])?;
        }
        let (_, alone) = self.client(&format!("{name}-none"), 0, case)?;
        let (wall, cpu) = match self.who {
            Who::Brokered => self.client_of_broker(&name, case)?,
            Who::Ours | Who::Stock => self.client(&name, case.builds, case)?,
        };
        if case.heavy {
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
        let wall = self.wait(name, builds, case)?;
        Ok((wall, self.spent()?.saturating_sub(before)))
    }

    /// The same with a broker that is connected. Its own time counts, but not that of its first connection.
    fn client_of_broker(&self, name: &str, case: &Case) -> Result<(f64, Duration), AnyError> {
        let begin = "/opt/offload broker >/var/log/broker.log 2>&1 </dev/null & echo $!; \
                     for _ in $(seq 100); do [ -S /run/offload/broker.sock ] && exit; sleep 0.1; done; exit 1";
        let broker = self.pair.coordinator.run(&["sh", "-c", begin])?;
        let first = Case {
            script: "echo x > $out",
            input: None,
            ..*case
        };
        self.wait(&format!("{name}-first"), 1, &first)?;
        let before = contest::cpu(self.hosts()).map(|both| both.into_iter().sum());
        let before: Duration = before.unwrap_or_default();
        let wall = self.wait(name, case.builds, case)?;
        self.pair.coordinator.run(&["kill", broker.trim()])?;
        Ok((wall, self.spent()?.saturating_sub(before)))
    }

    /// How long a client says that it waited, in seconds.
    fn wait(&self, name: &str, builds: u32, case: &Case) -> Result<f64, AnyError> {
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
        Ok(wall.map_err(|_| format!("{name}: {}{}", output.stdout, output.stderr))?)
    }

    fn hosts(&self) -> [&Host; 2] {
        [&self.pair.coordinator, &self.pair.builder]
    }

    /// The processor time of both hosts once everything there has ended.
    fn spent(&self) -> Result<Duration, AnyError> {
        let spent = contest::quiet_cpu(self.hosts())?;
        let spent = spent.ok_or("the processor time of the hosts cannot be measured")?;
        Ok(spent.into_iter().sum())
    }
}
