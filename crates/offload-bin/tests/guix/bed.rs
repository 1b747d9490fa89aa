//! The pairs that all tests share, one for each Guix at hand, and what is asked of them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use testbed::{
    Distribution, GuixMachine, Host, HostOptions, Missing, Mount, Output, Pair, PairOptions, Pool,
    StoreKind, Taken,
};

/// Where the coordinator has our program.
pub(crate) const OURS: &str = "/opt/offload";

/// The `guix` of the second builder's daemon, which writes down what it is asked for: see [`ASKED`].
const ASKED_GUIX: &str = "/opt/asked-guix";

/// Where the second builder has the names of the commands that its daemon has started, each on a line.
pub(crate) const ASKED: &str = "/var/log/asked";

/// The file on the coordinator that has our program's `OFFLOAD_LIMITS`.
pub(crate) const LIMITS: &str = "/opt/limits";

/// How long a process may outlive its build.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// How long a command may take: Guile is slow to start on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

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

/// Whether the tests that take minutes were asked for, too.
pub(crate) fn is_heavy() -> bool {
    std::env::var("OFFLOAD_TEST_HEAVY").is_ok_and(|value| value == "1")
}

/// Ends a test that takes minutes and was not asked for.
macro_rules! require_heavy {
    () => {
        $crate::bed::require!();
        if !$crate::bed::is_heavy() {
            eprintln!("not asked for: OFFLOAD_TEST_HEAVY is not 1");
            return;
        }
    };
}
pub(crate) use require_heavy;

/// The environment variable that names the pairs of coordinator and builder that tests run with, as root folders:
/// `bullseye:sid sid:bullseye`. All tests but those of one host's own run with each, the faults included.
const PAIRS_VARIABLE: &str = "OFFLOAD_TEST_PAIRS";

/// The root folders with a Guix, the oldest first as their names happen to be.
pub(crate) fn roots() -> Vec<PathBuf> {
    let roots = testbed::roots_with("usr/bin/guix-daemon");
    roots.expect("it was looked for").expect("it is set")
}

/// Whether pairs were named.
pub(crate) fn are_pairs_named() -> bool {
    std::env::var_os(PAIRS_VARIABLE).is_some()
}

/// The root folders of coordinator and builder, for each pair that tests run with: those that were named; where none
/// were, each Guix at hand with itself, and where heavy tests were asked for each with each.
pub(crate) fn pairs() -> Vec<[PathBuf; 2]> {
    let roots = roots();
    if let Ok(named) = std::env::var(PAIRS_VARIABLE) {
        let root = |name: &str| {
            let found = roots.iter().find(|root| root.ends_with(name));
            let found = found.unwrap_or_else(|| panic!("{PAIRS_VARIABLE}: no Guix in {name:?}"));
            found.clone()
        };
        let pair = |pair: &str| match pair.split_once(':') {
            Some((coordinator, builder)) => [coordinator, builder].map(root),
            None => panic!("{PAIRS_VARIABLE}: COORDINATOR:BUILDER, not {pair:?}"),
        };
        return named.split_whitespace().map(pair).collect();
    }
    let all = roots
        .iter()
        .flat_map(|here| roots.iter().map(|there| [here.clone(), there.clone()]));
    all.filter(|[here, there]| here == there || is_heavy())
        .collect()
}

/// A coordinator with our program as `GUIX`, and builders.
pub(crate) struct Bed {
    pub(crate) pair: Pair,
    pub(crate) version: String,
}

/// What a bed is to be.
pub(crate) struct BedOptions<'a> {
    pub(crate) coordinator: &'a Path,
    pub(crate) builder: &'a Path,
    /// `NAME=VALUE` for the coordinator's daemon.
    pub(crate) environment: &'a [&'a str],
    /// How many bytes the stores of the coordinator and the first builder can hold.
    pub(crate) store_size: Option<u64>,
}

impl<'a> BedOptions<'a> {
    /// Of one Guix.
    pub(crate) fn of(root: &'a Path) -> Self {
        Self::new(root, root)
    }

    /// Of coordinator and builder.
    pub(crate) fn between([coordinator, builder]: &'a [PathBuf; 2]) -> Self {
        Self::new(coordinator, builder)
    }

    fn new(coordinator: &'a Path, builder: &'a Path) -> Self {
        BedOptions {
            coordinator,
            builder,
            environment: &[],
            store_size: None,
        }
    }
}

/// The beds, with the builder as their only machine, one for each of the [`pairs`]. Tests take turns.
pub(crate) fn beds() -> Taken<'static, Vec<Bed>> {
    static BEDS: Pool<Vec<Bed>> = Pool::new(2, || {
        let pairs = pairs();
        let beds = pairs
            .iter()
            .map(|pair| Bed::start(&BedOptions::between(pair)));
        beds.collect()
    });
    let beds = BEDS.take();
    for bed in beds.iter() {
        bed.use_machines(&[bed.pair.guix_machine()]);
    }
    beds
}

impl Bed {
    /// The index of the extra builder that is as good as the first.
    pub(crate) const SECOND: usize = 0;
    /// The index of the extra builder whose sshd forwards no sockets.
    pub(crate) const NO_SOCKETS: usize = 1;

    pub(crate) fn start(options: &BedOptions<'_>) -> Self {
        let pair = start(options);
        let version = |host: &Host| {
            let text = run(host, &["guix-daemon", "--version"]);
            let line = text.lines().next().unwrap_or_default();
            line.rsplit(' ').next().unwrap_or_default().to_owned()
        };
        let [here, there] = [&pair.coordinator, &pair.builder].map(version);
        let version = format!("guix {here} -> {there}");
        // Past the test harness's capture: a distribution moves on.
        let told = writeln!(std::io::stderr(), "{version}");
        told.expect("standard error is open");
        Bed { pair, version }
    }
}

fn start(options: &BedOptions<'_>) -> Pair {
    let busybox = Mount::new(busybox().expect("it is required"), "/opt/busybox");
    let host = |root: &Path| HostOptions {
        distribution: Distribution::at(root),
        kind: StoreKind::Guix,
        mounts: vec![busybox.clone()],
        ..HostOptions::default()
    };
    let mut coordinator = HostOptions {
        store_size: options.store_size,
        ..host(options.coordinator)
    };
    coordinator.mounts.extend([
        Mount::new(env!("CARGO_BIN_EXE_offload"), "/opt/ours"),
        // Another distribution's C library may be older than the one it was built with.
        Mount::new("/usr/lib/x86_64-linux-gnu", "/opt/machine"),
    ]);
    let own = [format!("GUIX={OURS}"), "OFFLOAD_GUIX=/usr/bin/guix".into()];
    let more = options.environment.iter().map(|&pair| pair.to_owned());
    coordinator.daemon_environment = own.into_iter().chain(more).collect();
    let builder = HostOptions {
        store_size: options.store_size,
        ..host(options.builder)
    };
    let second = HostOptions {
        daemon_environment: vec![format!("GUIX={ASKED_GUIX}")],
        ..host(options.builder)
    };
    let no_sockets = HostOptions {
        sshd_config: vec!["AllowStreamLocalForwarding no".into()],
        ..host(options.builder)
    };
    let pair = Pair::start(PairOptions {
        coordinator,
        builder,
        extra_builders: vec![second, no_sockets],
        ..PairOptions::default()
    });
    let pair = pair.unwrap_or_else(|error| panic!("the bed starts: {error}"));
    prepare(&pair.coordinator);
    let second = &pair.extra_builders[Bed::SECOND];
    let script = format!("#!/bin/sh\necho $1 >>{ASKED}\nexec /usr/bin/guix \"$@\"\n");
    second
        .write_file(ASKED_GUIX, script)
        .expect("it is written");
    run(second, &["chmod", "755", ASKED_GUIX]);
    pair.exchange_guix_keys().expect("keys are exchanged");
    pair
}

/// Gives the coordinator our program, and what [`Bed::build`] needs.
fn prepare(coordinator: &Host) {
    let linker = "exec /opt/machine/ld-linux-x86-64.so.2 --library-path /opt/machine";
    let limits = format!("[ ! -e {LIMITS} ] || export OFFLOAD_LIMITS=$(cat {LIMITS})");
    let script = format!("#!/bin/sh\n{limits}\n{linker} /opt/ours \"$@\"\n");
    coordinator.write_file(OURS, script).expect("it is written");
    let program = include_str!("program.scm");
    coordinator
        .write_file("/root/program.scm", program)
        .expect("it is written");
    let shell = "chmod 755 /opt/offload && mkdir -p /opt/shell/bin && cd /opt/shell/bin && \
                 for name in $(/opt/busybox --list); do ln -s ../busybox $name; done && cp /opt/busybox ..";
    run(coordinator, &["sh", "-c", shell]);
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

/// Builds `script` as `name` by the daemon of `coordinator`; `options` are those of `program.scm`.
pub(crate) fn build_on(
    coordinator: &Host,
    name: &str,
    script: &str,
    options: &[&str],
) -> Result<Output, testbed::Error> {
    let command = ["guix", "repl", "--", "/root/program.scm", name, script];
    coordinator.exec_within(LIMIT, &[&command, options].concat())
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
    pub(crate) fn parse(output: &Output) -> Self {
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
    /// The coordinator and the first builder.
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
        let output = build_on(&self.pair.coordinator, name, script, options);
        let output = output.unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
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

    /// Reads a file of the coordinator's store, which may be mounted there.
    pub(crate) fn read_store(&self, path: &str) -> String {
        self.run(&["cat", path]) + "\n"
    }

    pub(crate) fn logs(&self) -> String {
        self.hosts().map(Host::logs).concat()
    }

    /// Asserts that both stores hold what their databases say, and that nothing of a build is left.
    pub(crate) fn assert_clean(&self) {
        self.assert_whole(&self.hosts());
    }

    /// Asserts that the stores of these hosts hold what their databases say, and that nothing of a build is left there.
    pub(crate) fn assert_whole(&self, hosts: &[&Host]) {
        for host in hosts {
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
        }
        self.assert_no_strays(hosts);
    }

    /// Asserts that no process of a build is left there.
    pub(crate) fn assert_no_strays(&self, hosts: &[&Host]) {
        for host in hosts {
            let strays = host
                .strays_after(GONE_WITHIN)
                .expect("processes can be listed");
            assert!(strays.is_empty(), "left on {}: {strays:#?}", host.name());
        }
    }
}
