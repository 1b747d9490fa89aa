//! The pairs that all tests share, one for each Guix at hand, and what is asked of them.

use std::{
    path::Path,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use testbed::{
    Distribution, GuixMachine, Host, HostOptions, Missing, Mount, Output, Pair, PairOptions,
    StoreKind,
};

/// Where the coordinator has our program.
const OURS: &str = "/opt/offload";

/// How long a process may outlive its build.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// How long a command may take: Guile is slow to start on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Ends a test that nobody asked for: the roots take minutes to make, so that `./test` does without. Where they were
/// asked for, a test that cannot run is left out loudly.
macro_rules! require {
    () => {
        if std::env::var_os(testbed::ROOTS_VARIABLE).is_none() {
            eprintln!("not asked for: {} is not set", testbed::ROOTS_VARIABLE);
            return;
        }
        testbed::require!($crate::bed::requirements());
    };
}
pub(crate) use require;

/// What the tests need: root folders of distributions with Guix, and a static busybox.
pub(crate) fn requirements() -> Result<(), String> {
    testbed::requirements().map_err(|missing: Missing| missing.to_string())?;
    match testbed::roots_with("usr/bin/guix-daemon") {
        Ok(None) => return Err(format!("{} is not set", testbed::ROOTS_VARIABLE)),
        Ok(Some(_)) => {}
        Err(missing) => return Err(missing.to_string()),
    }
    match busybox() {
        Some(_) => Ok(()),
        None => Err("no busybox (package busybox-static)".to_owned()),
    }
}

fn busybox() -> Option<&'static Path> {
    ["/usr/bin/busybox", "/bin/busybox"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.is_file())
}

/// A coordinator with our program as `GUIX`, and a builder, both of one Guix.
pub(crate) struct Bed {
    pub(crate) pair: Pair,
    pub(crate) version: String,
}

/// The beds, with the builder as their only machine. Tests take turns.
pub(crate) fn beds() -> MutexGuard<'static, Vec<Bed>> {
    static BEDS: LazyLock<Mutex<Vec<Bed>>> = LazyLock::new(|| {
        let roots = testbed::roots_with("usr/bin/guix-daemon");
        let roots = roots.expect("it was looked for").expect("it is set");
        Mutex::new(roots.iter().map(|root| start(root)).collect())
    });
    let beds = BEDS.lock().unwrap_or_else(PoisonError::into_inner);
    for bed in beds.iter() {
        bed.use_machines(&[bed.pair.guix_machine()]);
    }
    beds
}

fn start(root: &Path) -> Bed {
    let busybox = Mount::new(busybox().expect("it is required"), "/opt/busybox");
    let host = HostOptions {
        distribution: Distribution::at(root),
        kind: StoreKind::Guix,
        mounts: vec![busybox],
        ..HostOptions::default()
    };
    let coordinator = HostOptions {
        mounts: [
            host.mounts.clone(),
            vec![
                // Another distribution's C library may be older than the one it was built with.
                Mount::new(env!("CARGO_BIN_EXE_offload"), "/opt/ours"),
                Mount::new("/usr/lib/x86_64-linux-gnu", "/opt/machine"),
            ],
        ]
        .concat(),
        daemon_environment: vec![format!("GUIX={OURS}"), "OFFLOAD_GUIX=/usr/bin/guix".into()],
        ..host.clone()
    };
    let pair = Pair::start(PairOptions {
        coordinator,
        builder: host,
        ..PairOptions::default()
    });
    let pair = pair.unwrap_or_else(|error| panic!("the bed starts: {error}"));
    let linker = "exec /opt/machine/ld-linux-x86-64.so.2 --library-path /opt/machine";
    let script = format!("#!/bin/sh\n{linker} /opt/ours \"$@\"\n");
    let coordinator = &pair.coordinator;
    coordinator.write_file(OURS, script).expect("it is written");
    let program = include_str!("program.scm");
    coordinator
        .write_file("/root/program.scm", program)
        .expect("it is written");
    let shell = "chmod 755 /opt/offload && mkdir -p /opt/shell/bin && cd /opt/shell/bin && \
                 for name in $(/opt/busybox --list); do ln -s ../busybox $name; done && cp /opt/busybox ..";
    run(coordinator, &["sh", "-c", shell]);
    pair.exchange_guix_keys().expect("keys are exchanged");
    let version = run(coordinator, &["guix-daemon", "--version"]);
    let version = version.lines().next().unwrap_or_default().to_owned();
    eprintln!("{}: {version}", root.display());
    Bed { pair, version }
}

fn run(host: &Host, command: &[&str]) -> String {
    let output = host.exec_within(LIMIT, command);
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let Output { stdout, stderr, .. } = output;
    assert!(
        output.status.success(),
        "{}: {command:?}: {stdout}{stderr}\n{}",
        host.name(),
        host.logs()
    );
    stdout.trim_end_matches('\n').to_owned()
}

/// What a build of `program.scm` came to.
#[derive(Debug)]
pub(crate) struct Build {
    /// Status and message, if it failed.
    pub(crate) failure: Option<(u32, String)>,
    pub(crate) derivation: String,
    /// Names and paths of the outputs that are valid on the coordinator.
    pub(crate) outputs: Vec<(String, String)>,
    /// All that the client was told on the way, and the build's log in it.
    pub(crate) said: String,
}

impl Build {
    fn parse(output: &Output) -> Self {
        let lines = || output.stdout.lines();
        let after = |start: &'static str| lines().filter_map(move |line| line.strip_prefix(start));
        let failure = after("FAILED ").next().and_then(|rest| {
            let (status, message) = rest.split_once(' ')?;
            Some((status.parse().ok()?, message.to_owned()))
        });
        let pair = |text: &str| {
            let (name, path) = text.split_once(' ').expect("a name and a path");
            (name.to_owned(), path.to_owned())
        };
        Self {
            failure,
            derivation: after("DRV ").next_back().unwrap_or_default().to_owned(),
            outputs: after("OUT ").map(pair).collect(),
            said: format!("{}{}", output.stderr, output.stdout),
        }
    }

    /// The one output.
    pub(crate) fn out(&self) -> &str {
        assert_eq!(self.failure, None, "{}", self.said);
        let found = self.outputs.iter().find(|(name, _)| name == "out");
        &found.unwrap_or_else(|| panic!("{}", self.said)).1
    }

    /// Whether the client was told that it was built on another machine.
    pub(crate) fn was_remote(&self) -> bool {
        self.said
            .contains(&format!("@ build-remote {} ", self.derivation))
    }
}

impl Bed {
    pub(crate) fn hosts(&self) -> [&Host; 2] {
        [&self.pair.coordinator, &self.pair.builder]
    }

    /// From now on these machines are all of `machines.scm`.
    pub(crate) fn use_machines(&self, machines: &[GuixMachine]) {
        self.pair
            .coordinator
            .write_file("/etc/guix/machines.scm", GuixMachine::list(machines))
            .expect("the file is written");
    }

    /// Builds `script` as `name`; `options` are those of `program.scm`.
    pub(crate) fn build(&self, name: &str, script: &str, options: &[&str]) -> Build {
        let command = ["guix", "repl", "--", "/root/program.scm", name, script];
        let output = self
            .pair
            .coordinator
            .exec_within(LIMIT, &[&command, options].concat())
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        let build = Build::parse(&output);
        assert!(
            output.status.success() && !build.derivation.is_empty(),
            "{}\n{}",
            build.said,
            self.logs()
        );
        build
    }

    /// Runs what has to succeed on the coordinator.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        run(&self.pair.coordinator, command)
    }

    /// Runs what has to succeed on the builder.
    pub(crate) fn run_there(&self, command: &[&str]) -> String {
        run(&self.pair.builder, command)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        self.pair
            .coordinator
            .read_file(path)
            .expect("the file is there")
    }

    pub(crate) fn logs(&self) -> String {
        self.hosts().map(Host::logs).concat()
    }

    /// Asserts that both stores hold what their databases say, and that nothing of a build is left.
    pub(crate) fn assert_clean(&self) {
        for host in self.hosts() {
            let verified = host
                .exec_within(LIMIT, &["guix", "gc", "--verify=contents"])
                .expect("it ends");
            let said = format!("{}{}", verified.stdout, verified.stderr);
            assert!(verified.status.success(), "{}: {said}", host.name());
            let bad = ["is not valid", "modified", "disappeared", "error"];
            assert!(
                !bad.iter().any(|word| said.contains(word)),
                "{}: {said}",
                host.name()
            );
            let strays = host
                .strays_after(GONE_WITHIN)
                .expect("processes can be listed");
            assert!(strays.is_empty(), "left on {}: {strays:#?}", host.name());
        }
    }
}
