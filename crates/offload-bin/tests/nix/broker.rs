//! Builds whose connections a broker keeps: `offload broker` on the coordinator.

use std::{
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use testbed::{Host, Link, MachineLine, Output, Pool, Process, Signal, Taken};

use crate::{
    bed::{Bed, KNOWN_HOSTS, OUR_HOOK, derivation, ours},
    endpoint::service::Service,
};

const SOCKET: &str = "/run/broker.sock";

/// How long a build, or the end of one, may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A bed of its own, whose builder is behind a link that counts connections.
struct Brokered {
    bed: Bed,
    link: Link,
}

fn brokered() -> Taken<'static, Brokered> {
    static BROKERED: Pool<Brokered> = Pool::new(1, || {
        let bed = Bed::start(&format!("OFFLOAD_BROKER={SOCKET}"), None);
        let link = bed.pair.open_link(Duration::ZERO);
        let link = link.expect("the bed has no link yet");
        Brokered { bed, link }
    });
    let brokered = BROKERED.take();
    brokered.link.cut();
    brokered.link.reset();
    brokered.use_builder("ssh-ng", "");
    let builder = &brokered.bed.pair.builder;
    for file in ["/tmp/hold", "/tmp/building"] {
        // Most of the time it is not there.
        std::fs::remove_file(builder.outside(file)).ok();
    }
    brokered
}

/// Takes as long as `/tmp/hold` is there on the builder.
fn held(name: &str) -> String {
    derivation(
        name,
        ": >/tmp/building; while [ -e /tmp/hold ]; do sleep 0.05; done; echo > $out",
        "",
    )
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A build that is under way.
struct Held<'scope> {
    builder: &'scope Host,
    client: ScopedJoinHandle<'scope, Output>,
}

impl Held<'_> {
    /// Until the builder has it; once for each time that it is built.
    fn wait(&self) {
        let mark = self.builder.outside("/tmp/building");
        wait_for("it builds", || {
            assert!(!self.client.is_finished(), "it has ended");
            std::fs::remove_file(&mark).is_ok()
        });
    }

    fn let_go(&self) {
        std::fs::remove_file(self.builder.outside("/tmp/hold")).expect("it is there");
    }
}

impl Brokered {
    fn use_builder(&self, scheme: &str, query: &str) {
        let line = MachineLine {
            uri: format!("{scheme}://root@{}{query}", self.link.address()),
            ..self.bed.pair.machine_line()
        };
        self.bed.use_machines(&[line.to_string()]);
    }

    fn broker(&self, arguments: &str) -> Service<'_> {
        let command = format!("{OUR_HOOK} broker --socket {SOCKET} {arguments}");
        Service::start_as(&self.bed, SOCKET.to_owned(), &command)
    }

    /// Builds, and says how that was told.
    fn built(&self, name: &str) -> String {
        let expression = derivation(name, "echo said by the build; echo > $out", "");
        let mark = self.bed.mark();
        let output = self.bed.build(&expression, &["-vvv"]);
        let said = self.bed.said_since(mark, &output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("said by the build"), "{said}");
        self.bed.assert_same_on_both(output.stdout.trim_end());
        said
    }

    /// Builds something new, and says whether that was by the broker.
    fn built_by_broker(&self, name: &str) -> bool {
        let name = format!("{name}-{}", self.bed.mark());
        self.built(&name).contains("by the broker")
    }

    /// Begins a build, which goes on until it is let go, and does `meanwhile` as soon as the builder has it.
    fn while_it_builds(&self, name: &str, meanwhile: impl FnOnce(&Held<'_>)) -> Output {
        let builder = &self.bed.pair.builder;
        let hold = builder.write_file("/tmp/hold", "");
        hold.expect("the file is written");
        thread::scope(|scope| {
            let client = scope.spawn(|| self.bed.build(&held(name), &["-v"]));
            let held = Held { builder, client };
            held.wait();
            meanwhile(&held);
            held.client.join().expect("the thread does not panic")
        })
    }

    /// The hook of the build that is under way.
    fn hook(&self) -> Process {
        let processes = self.bed.pair.coordinator.processes();
        let mut processes = processes.expect("processes can be listed").into_iter();
        let is_hook = |process: &Process| {
            process.command_line.contains("offload ") && !process.command_line.contains(" broker ")
        };
        processes.find(is_hook).expect("a build is under way")
    }

    /// Ends the broker; nothing is left of it or of its builds.
    fn assert_clean_without(&self, broker: Service<'_>) {
        drop(broker);
        self.bed.assert_clean();
    }
}

#[test]
fn builds_share_a_connection_by_every_way() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    let ways = [
        ("ssh-ng", "", "socket /nix/var/nix/daemon-socket/socket"),
        ("ssh-ng", "?remote-program=nix-daemon", "nix-daemon --stdio"),
        (
            "ssh",
            "?remote-program=nix-store",
            "nix-store --serve --write",
        ),
    ];
    for (n, (scheme, query, way)) in ways.into_iter().enumerate() {
        brokered.use_builder(scheme, query);
        for m in 0..2 {
            let said = brokered.built(&format!("brokered-{n}-{m}"));
            let by = said.lines().find(|line| line.contains("by the broker"));
            assert!(by.is_some_and(|line| line.contains(way)), "{said}");
        }
    }
    // A second one is made where the last hook is not quite gone when the next one asks.
    assert!(brokered.link.connections() <= 3, "{}", broker.said());
    brokered.assert_clean_without(broker);
}

#[test]
fn many_builds_at_once_and_their_failures() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    let one = |n| derivation(&format!("brokered-of-many-{n}"), "echo > $out", "");
    let many: Vec<_> = (0..12).map(one).collect();
    let output = brokered
        .bed
        .build(&format!("[ ({}) ]", many.join(") (")), &["-j0"]);
    assert!(output.status.success(), "{}", output.stderr);
    let failing = derivation("brokered-failing", "echo last words; exit 3", "");
    let output = brokered.bed.build(&failing, &[]);
    assert!(!output.status.success() && output.stderr.contains("last words"));
    assert!(brokered.link.connections() < 12, "{}", broker.said());
    brokered.assert_clean_without(broker);
}

#[test]
fn a_connection_that_broke_is_made_anew() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    brokered.built("brokered-before-the-cut");
    brokered.link.cut();
    brokered.link.reset();
    brokered.built("brokered-behind-the-cut");
    brokered.assert_clean_without(broker);
}

#[test]
fn a_connection_whose_host_key_was_revoked_meanwhile_is_not_used() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    brokered.built("brokered-before-the-revocation");

    let Bed { pair, .. } = &brokered.bed;
    let key = pair.builder.read_file("/etc/ssh/ssh_host_ed25519_key.pub");
    let revoked = format!("@revoked * {}", key.expect("sshd has a key"));
    let written = pair.coordinator.write_file(KNOWN_HOSTS, revoked);
    written.expect("the file is written");
    let name = format!("brokered-revoked-{}", brokered.bed.mark());
    let output = brokered
        .bed
        .build(&derivation(&name, "echo > $out", ""), &["-j0"]);
    brokered.bed.run(&["rm", KNOWN_HOSTS]);
    let why = format!("host key is revoked by {KNOWN_HOSTS}:1");
    assert!(!output.status.success(), "{}", output.stderr);
    assert!(output.stderr.contains(&why), "{}", output.stderr);
    let said = broker.said();
    let closed = said.lines().find(|line| line.contains("closed root@"));
    assert!(closed.is_some_and(|line| line.contains(&why)), "{said}");

    assert!(brokered.built_by_broker("brokered-believed-again"));
    brokered.assert_clean_without(broker);
}

#[test]
fn what_nobody_uses_is_closed() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("--keep 1 --keep-ready 1");
    brokered.built("brokered-once");
    wait_for("nothing is left on the builder", || {
        let strays = brokered.bed.pair.builder.strays();
        strays.expect("processes can be listed").is_empty()
    });
    assert!(
        broker.said().contains("which nobody used"),
        "{}",
        broker.said()
    );
    brokered.built("brokered-once-more");
    brokered.assert_clean_without(broker);
}

#[test]
fn a_broker_that_dies_costs_no_build() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    let output = brokered.while_it_builds("brokered-killed", |build| {
        drop(broker);
        build.wait();
        build.let_go();
    });
    assert!(output.status.success(), "{}", output.stderr);
    brokered.bed.assert_clean();
    // And without one.
    assert!(!brokered.built("brokered-no-more").contains("by the broker"));
}

/// As `systemctl restart` does: the build goes on, and whoever comes meanwhile does without.
#[test]
fn a_broker_that_is_told_to_end_waits_for_its_builds() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    let output = brokered.while_it_builds("brokered-to-its-end", |build| {
        broker.signal(Signal::TERM);
        wait_for("it has heard that", || {
            !brokered.built_by_broker("brokered-meanwhile")
        });
        build.let_go();
    });
    assert!(output.status.success(), "{}", output.stderr);
    wait_for("it has ended", || !broker.runs());
    brokered.assert_clean_without(broker);
}

#[test]
fn a_hook_that_is_killed_takes_its_build_along() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    let output = brokered.while_it_builds("brokered-hook-killed", |_| {
        let hook = brokered.hook();
        hook.signal(Signal::KILL).expect("it is ours to end");
    });
    assert!(!output.status.success());
    wait_for("the build has ended", || {
        !builds(&brokered.bed.pair.builder)
    });
    brokered.assert_clean_without(broker);
}

fn builds(builder: &Host) -> bool {
    let processes = builder.processes().expect("processes can be listed");
    processes
        .iter()
        .any(|process| process.command_line.contains("/tmp/hold"))
}

/// Whoever is served may log in to every machine as root.
#[test]
fn nobody_else_is_served() {
    testbed::require!();
    testbed::require!(ours());
    let brokered = brokered();
    let broker = brokered.broker("");
    assert_eq!(brokered.bed.run(&["stat", "-c", "%a", SOCKET]), "700");
    brokered.bed.run(&["chmod", "777", SOCKET]);
    let perl = format!(
        "use Socket; $> = 65534; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; \
         connect(S, pack_sockaddr_un(\"{SOCKET}\")) or die; print <S>"
    );
    assert_eq!(brokered.bed.run(&["perl", "-e", &perl]), "");
    assert!(broker.said().contains("user 65534 is not served"));
    brokered.assert_clean_without(broker);
}
