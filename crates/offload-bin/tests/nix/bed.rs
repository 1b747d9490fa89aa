//! The pair that all tests share, and what is asked of it again and again.

use std::time::Duration;

use testbed::{
    Distribution, Host, HostOptions, MachineLine, Mount, Output, Pair, PairOptions, Pool, Process,
    StoreDaemon, Taken,
};

use crate::registration::Registration;

/// Where Debian's nix-bin has its own hook.
pub(crate) const STOCK_HOOK: &str = "/usr/libexec/nix/build-remote";

/// How long a process may outlive its build. A daemon takes about a second to end a build that nobody waits for.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// `Err` where the tests run with the distribution's own hook, for tests of what only ours does.
pub(crate) fn ours() -> Result<(), &'static str> {
    match std::env::var("OFFLOAD_TEST_HOOK") {
        Ok(hook) if hook == "stock" => Err("runs with the distribution's own hook"),
        _ => Ok(()),
    }
}

pub(crate) struct Bed {
    pub(crate) pair: Pair,
}

/// A bed, with the builder's line as the only machine. Tests take turns: they look at all processes, and change the
/// machine file.
pub(crate) fn bed() -> Taken<'static, Bed> {
    static BEDS: Pool<Bed> = Pool::new(2, || Bed::start("", None));
    let bed = BEDS.take();
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    bed
}

/// What the coordinator's daemon starts: a script that starts [`OURS`].
pub(crate) const OUR_HOOK: &str = "/opt/hook";

/// Root's, on the coordinator.
pub(crate) const KNOWN_HOSTS: &str = "/root/.ssh/known_hosts";

/// Where the coordinator has our hook itself.
const OURS: &str = "/opt/offload";

/// Nix 2.3.7 has the setting, and nothing that it could turn on.
const EXPERIMENTAL: &str = "experimental-features = nix-command ca-derivations";

/// By which a test chooses a machine: the machine lines say who has which.
const FEATURES: &str =
    "system-features = benchmark big-parallel ca-derivations first kvm nixos-test second";

/// What is different about a bed.
#[derive(Default)]
pub(crate) struct Difference<'a> {
    /// What the hook finds in its environment: `NAME=VALUE`, separated by blanks.
    pub(crate) variables: &'a str,
    /// The stores of coordinator and first builder are file systems of so many bytes.
    pub(crate) store_size: Option<u64>,
    /// What the daemons find in their environment, `NAME=VALUE`.
    pub(crate) environment: &'a [&'a str],
    /// Nobody has told the coordinator's daemon of a hook yet.
    pub(crate) without_hook: bool,
    /// More lines of the builders' nix.conf.
    pub(crate) builder_conf: &'a [&'a str],
}

fn start(difference: &Difference<'_>) -> Pair {
    let Difference {
        variables,
        store_size,
        environment,
        without_hook,
        builder_conf,
    } = *difference;
    let hook = if ours().is_ok() { OUR_HOOK } else { STOCK_HOOK };
    let setting = (!without_hook).then(|| format!("build-hook = {hook}"));
    let mut coordinator = HostOptions {
        distribution: distribution("OFFLOAD_TEST_COORDINATOR"),
        nix_conf: [
            "max-jobs = 0",
            "builders = @/etc/nix/machines",
            EXPERIMENTAL,
        ]
        .map(String::from)
        .into_iter()
        .chain(setting)
        .collect(),
        store_size,
        daemon_environment: environment.iter().map(ToString::to_string).collect(),
        ..HostOptions::default()
    };
    let elsewhere = coordinator.distribution != Distribution::machine();
    coordinator.mounts = vec![Mount::new(env!("CARGO_BIN_EXE_offload"), OURS)];
    let mut start = OURS.to_owned();
    if elsewhere {
        // That of the machine that the hook was built on; the other distribution's C library may be older.
        let libraries = "/opt/machine";
        coordinator
            .mounts
            .push(Mount::new("/usr/lib/x86_64-linux-gnu", libraries));
        start = format!("{libraries}/ld-linux-x86-64.so.2 --library-path {libraries} {OURS}");
    }
    if elsewhere && !without_hook {
        // Nix 2.25 to 2.33 forget the build-hook of nix.conf.
        coordinator.daemon_arguments = ["--option", "build-hook", hook].map(Into::into).into();
    }
    let builder = HostOptions {
        distribution: distribution("OFFLOAD_TEST_BUILDER"),
        nix_conf: [EXPERIMENTAL, FEATURES]
            .iter()
            .chain(builder_conf)
            .map(ToString::to_string)
            .chain([format!("secret-key-files = {SIGNING_KEY}")])
            .collect(),
        daemon_environment: coordinator.daemon_environment.clone(),
        ..HostOptions::default()
    };
    let without_store = HostOptions {
        store: StoreDaemon::Absent,
        ..builder.clone()
    };
    let second = match std::env::var_os("OFFLOAD_TEST_SECOND") {
        Some(root) => HostOptions {
            distribution: Distribution::at(root),
            ..builder.clone()
        },
        None => builder.clone(),
    };
    let builder = HostOptions {
        store_size,
        ..builder
    };
    let options = PairOptions {
        coordinator,
        extra_builders: vec![second, without_store],
        builder,
        ..PairOptions::default()
    };
    let pair = Pair::start(options).unwrap_or_else(|error| panic!("the bed starts: {error}"));
    for builder in [&pair.builder, &pair.extra_builders[Bed::SECOND]] {
        make_signing_key(builder);
    }
    write_hook(&pair.coordinator, variables, &start);
    pair
}

/// Our hook as a script that sets `variables` and then becomes what `start` says.
fn write_hook(coordinator: &Host, variables: &str, start: &str) {
    let script = format!("#!/bin/sh\n{variables} exec {start} \"$@\"\n");
    let written = coordinator.write_file(OUR_HOOK, script);
    written.expect("the file is written");
    let made = coordinator.run(&["chmod", "755", OUR_HOOK]);
    made.expect("it is there");
}

/// With which a builder signs what it builds.
const SIGNING_KEY: &str = "/etc/nix/signing-key";

/// The daemon reads it when it has something to sign.
fn make_signing_key(builder: &Host) {
    let public = format!("{SIGNING_KEY}.pub");
    let generate = [
        "nix-store",
        "--generate-binary-cache-key",
        builder.name(),
        SIGNING_KEY,
        &public,
    ];
    builder.run(&generate).expect("the key is made");
}

/// The distribution whose root folder the environment names, or else this machine's.
pub(crate) fn distribution(variable: &str) -> Distribution {
    std::env::var_os(variable).map_or_else(Distribution::machine, Distribution::at)
}

/// A derivation in the Nix language whose builder is `/bin/sh -c SCRIPT`; `attributes` are more of its attributes.
pub(crate) fn derivation(name: &str, script: &str, attributes: &str) -> String {
    format!(
        "derivation {{ name = \"{name}\"; system = builtins.currentSystem; builder = \"/bin/sh\"; \
         PATH = \"/usr/bin:/bin\"; args = [ \"-c\" ''{script}'' ]; {attributes} }}"
    )
}

impl Bed {
    /// A bed whose hook finds these `variables` in its environment, `NAME=VALUE`, separated by blanks. With a
    /// `store_size`, the stores of coordinator and first builder are file systems of so many bytes.
    pub(crate) fn start(variables: &str, store_size: Option<u64>) -> Self {
        Bed::start_with(&Difference {
            variables,
            store_size,
            ..Difference::default()
        })
    }

    /// A bed that is not like the others.
    pub(crate) fn start_with(difference: &Difference<'_>) -> Self {
        Bed {
            pair: start(difference),
        }
    }

    pub(crate) fn hosts(&self) -> [&Host; 2] {
        [&self.pair.coordinator, &self.pair.builder]
    }

    /// The index of the extra builder that is as good as the first.
    pub(crate) const SECOND: usize = 0;

    /// The index of the extra builder without a store daemon.
    pub(crate) const WITHOUT_STORE: usize = 1;

    /// From now on these lines are all of `/etc/nix/machines`.
    pub(crate) fn use_machines(&self, lines: &[String]) {
        self.pair
            .coordinator
            .write_file("/etc/nix/machines", lines.join("\n") + "\n")
            .expect("the file is written");
    }

    /// Does something while the builder's key stands in root's `known_hosts` instead of the machine line.
    pub(crate) fn with_known_hosts<T>(&self, action: impl FnOnce() -> T) -> T {
        self.know_builder();
        let done = action();
        self.use_machines(&[self.pair.machine_line().to_string()]);
        self.run(&["rm", KNOWN_HOSTS]);
        done
    }

    /// From now on the builder's key stands in root's `known_hosts`, and not in the machine line.
    pub(crate) fn know_builder(&self) {
        let key = self
            .pair
            .builder
            .read_file("/etc/ssh/ssh_host_ed25519_key.pub")
            .expect("sshd has a key");
        self.pair
            .coordinator
            .write_file(KNOWN_HOSTS, format!("127.0.0.1 {key}"))
            .expect("the file is written");
        self.use_machines(&[MachineLine {
            host_key: "-".into(),
            ..self.pair.machine_line()
        }
        .to_string()]);
    }

    /// Runs `nix-build` on the coordinator.
    pub(crate) fn build(&self, expression: &str, arguments: &[&str]) -> Output {
        let command = [&["nix-build", "--no-out-link", "-E", expression], arguments].concat();
        self.pair
            .coordinator
            .exec(&command)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// As [`build`](Bed::build) for what has to succeed; returns the output paths.
    pub(crate) fn built(&self, expression: &str) -> Vec<String> {
        let output = self.build(expression, &[]);
        assert!(
            output.status.success(),
            "{}\n{}",
            output.stderr,
            self.logs()
        );
        output.stdout.lines().map(str::to_owned).collect()
    }

    /// Runs what has to succeed on the coordinator, and returns what it printed, without the end of its last line.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let printed = self
            .pair
            .coordinator
            .run(command)
            .unwrap_or_else(|error| panic!("{error}"));
        printed.trim_end_matches('\n').to_owned()
    }

    /// The store derivation of a derivation with one output, and its output path.
    pub(crate) fn instantiated(&self, expression: &str) -> [String; 2] {
        let drv = self.run(&["nix-instantiate", "-E", expression]);
        let out = self.run(&["nix-store", "--query", "--outputs", &drv]);
        [drv, out]
    }

    /// The hook of a build that is under way on the coordinator: ours, or the distribution's own.
    pub(crate) fn hook(&self) -> Option<Process> {
        let processes = self.pair.coordinator.processes();
        let mut processes = processes.expect("processes can be listed").into_iter();
        // The name may be that of the linker that runs it.
        let names = ["offload ", "build-remote "];
        processes.find(|process| names.iter().any(|name| process.command_line.contains(name)))
    }

    pub(crate) fn logs(&self) -> String {
        self.hosts().map(Host::logs).concat()
    }

    /// How much the coordinator's daemon has written by now; for [`said_since`](Bed::said_since).
    pub(crate) fn mark(&self) -> usize {
        self.pair
            .coordinator
            .read_file("/var/log/nix-daemon.log")
            .map_or(0, |log| log.len())
    }

    /// What a person can read about a build that began after `mark`: the client's standard error and the daemon's.
    pub(crate) fn said_since(&self, mark: usize, output: &Output) -> String {
        let log = self
            .pair
            .coordinator
            .read_file("/var/log/nix-daemon.log")
            .expect("the daemon has a log");
        format!("{}{}", output.stderr, &log[mark..])
    }

    /// Asserts that the path is valid on both sides with the same facts, and returns the coordinator's.
    pub(crate) fn assert_same_on_both(&self, path: &str) -> Registration {
        let [here, there] = self.hosts().map(|host| {
            Registration::read(host, path)
                .unwrap_or_else(|| panic!("{path} is not valid on {}", host.name()))
        });
        assert!(here.deriver.is_some(), "{here:?}");
        // "Built here" is what only the builder may say, and only its key may sign.
        assert_eq!((here.ultimate, there.ultimate), (None, Some(1)), "{path}");
        assert_eq!(
            Registration {
                ultimate: there.ultimate,
                ..here.clone()
            },
            there
        );
        here
    }

    /// Asserts that no build left anything: no process, no held slot, no store path that is not what its row says.
    pub(crate) fn assert_clean(&self) {
        self.assert_idle();
        self.assert_whole(&self.hosts());
    }

    /// Asserts that each path of these stores is what its row says.
    pub(crate) fn assert_whole(&self, hosts: &[&Host]) {
        for host in hosts {
            let verified = host
                .exec(&["nix-store", "--verify", "--check-contents"])
                .expect("it ends");
            assert!(
                verified.status.success(),
                "{}: {}",
                host.name(),
                verified.stderr
            );
            let said = verified.stdout + &verified.stderr;
            let complaints: Vec<_> = said.lines().filter(|line| !is_progress(line)).collect();
            assert!(complaints.is_empty(), "{}: {complaints:#?}", host.name());
        }
    }

    /// Asserts that no process of a build is left on any host, and no slot is held.
    pub(crate) fn assert_idle(&self) {
        for host in std::iter::once(&self.pair.coordinator).chain(self.pair.builders()) {
            let strays = host
                .strays_after(GONE_WITHIN)
                .expect("processes can be listed");
            assert!(strays.is_empty(), "left on {}: {strays:#?}", host.name());
        }
        let held = self
            .pair
            .coordinator
            .held_locks("/nix/var/nix/current-load")
            .expect("locks can be tried");
        assert!(held.is_empty(), "{held:?}");
    }
}

fn is_progress(line: &str) -> bool {
    const KNOWN: [&str; 6] = [
        "reading the Nix store...",
        "checking path existence...",
        "checking link hashes...",
        "checking store hashes...",
        // Nix 2.3.7 has fewer words and settings.
        "checking hashes...",
        "warning: unknown setting 'experimental-features'",
    ];
    KNOWN.contains(&line)
}
