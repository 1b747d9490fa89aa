//! Machines that cannot be used: a person reads which and why, nothing is registered or left behind, and the next build
//! goes well.

use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::{MachineLine, Output};

use crate::{
    bed::{Bed, bed, derivation, ours},
    registration::Registration,
};

/// How long a build may take that no machine takes. Every wait for a machine is bounded far below it.
const LIMIT: Duration = Duration::from_secs(90);

/// Builds with only these machines, which has to fail with all of `words` said; then with the good one.
fn refused(bed: &Bed, name: &str, machines: &[MachineLine], words: &[&str]) {
    bed.use_machines(&machines.iter().map(ToString::to_string).collect::<Vec<_>>());
    let expression = derivation(name, "echo > $out", "");
    let [_, out] = bed.instantiated(&expression);
    let mark = bed.mark();
    let output = build_within_limit(bed, &expression);
    let said = bed.said_since(mark, &output);
    assert!(!output.status.success(), "{}", output.stdout);
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in\n{said}");
    }
    assert_eq!(Registration::read(&bed.pair.coordinator, &out), None);
    assert!(!bed.pair.coordinator.outside(&out).exists(), "{out}");
    bed.assert_idle();
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    bed.assert_same_on_both(&bed.built(&expression)[0]);
    bed.assert_clean();
}

fn build_within_limit(bed: &Bed, expression: &str) -> Output {
    let command = ["nix-build", "--no-out-link", "-E", expression];
    bed.pair
        .coordinator
        .exec_within(LIMIT, &command)
        .unwrap_or_else(|error| panic!("{error}\n{}", bed.logs()))
}

/// A key on the coordinator that no builder knows.
pub(crate) fn make_key(bed: &Bed, file: &str, passphrase: &str) {
    bed.run(&["rm", "-f", file]);
    bed.run(&[
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        passphrase,
        "-f",
        file,
    ]);
}

#[test]
fn an_unparsable_line_is_named_and_the_others_work() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    // Not a number that is none: on that, the daemon of Nix 2.3.7 gives up by itself.
    let bad = MachineLine {
        host_key: "no@key".into(),
        ..bed.pair.machine_line()
    };
    bed.use_machines(&[
        "# the fleet".into(),
        bad.to_string(),
        bed.pair.machine_line().to_string(),
    ]);
    let mark = bed.mark();
    let output = build_within_limit(&bed, &derivation("beside-a-bad-line", "echo > $out", ""));
    let said = bed.said_since(mark, &output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("/etc/nix/machines:2") && said.contains("\"no@key\""),
        "{said}"
    );
    bed.assert_clean();
}

#[test]
fn a_key_that_is_not_there() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = MachineLine {
        key: "/root/.ssh/none".into(),
        ..bed.pair.machine_line()
    };
    refused(
        &bed,
        "missing-key",
        &[line],
        &["127.0.0.1", "/root/.ssh/none"],
    );
}

#[test]
fn a_key_with_a_passphrase() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    make_key(&bed, "/root/.ssh/locked", "secret");
    let line = MachineLine {
        key: "/root/.ssh/locked".into(),
        ..bed.pair.machine_line()
    };
    refused(
        &bed,
        "locked-key",
        &[line],
        &["127.0.0.1", "passphrase", "/root/.ssh/locked"],
    );
}

#[test]
fn a_key_that_the_builder_does_not_know() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    make_key(&bed, "/root/.ssh/stranger", "");
    let line = MachineLine {
        key: "/root/.ssh/stranger".into(),
        ..bed.pair.machine_line()
    };
    refused(
        &bed,
        "strangers-key",
        &[line],
        &["127.0.0.1", "refused", "/root/.ssh/stranger"],
    );
}

#[test]
fn a_host_key_that_has_changed() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let others = bed.pair.extra_machine_line(Bed::SECOND).host_key;
    let line = MachineLine {
        host_key: others,
        ..bed.pair.machine_line()
    };
    refused(
        &bed,
        "changed-host-key",
        &[line],
        &["127.0.0.1", "host key has changed"],
    );
}

#[test]
fn a_host_key_that_nobody_knows() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = MachineLine {
        host_key: "-".into(),
        ..bed.pair.machine_line()
    };
    refused(
        &bed,
        "unknown-host-key",
        &[line],
        &["127.0.0.1", "host key", "known_hosts"],
    );
}

#[test]
fn a_host_key_of_known_hosts_will_do() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let expression = derivation("known-host", "echo > $out", "");
    let paths = bed.with_known_hosts(|| bed.built(&expression));
    bed.assert_same_on_both(&paths[0]);
    bed.assert_clean();
}

#[test]
fn a_connection_that_is_refused() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = MachineLine {
        uri: "ssh-ng://root@127.0.0.9".into(),
        ..bed.pair.machine_line()
    };
    refused(&bed, "refused", &[line], &["127.0.0.9", "refused"]);
}

#[test]
fn a_builder_without_a_store_daemon() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = bed.pair.extra_machine_line(Bed::WITHOUT_STORE);
    refused(&bed, "without-store", &[line], &["127.0.0.3"]);
}

#[test]
fn a_machine_that_never_answers() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let silent = &bed.pair.extra_builders[Bed::SECOND];
    let signal = |name: &str| {
        let kill = format!("kill -{name} $(cat /run/sshd.pid)");
        silent.run(&["sh", "-c", &kill]).unwrap();
    };
    signal("STOP");
    let line = bed.pair.extra_machine_line(Bed::SECOND);
    bed.use_machines(&[line.to_string()]);
    let mark = bed.mark();
    let output = build_within_limit(&bed, &derivation("silence", "echo > $out", ""));
    signal("CONT");
    let said = bed.said_since(mark, &output);
    assert!(
        !output.status.success() && said.contains("127.0.0.2"),
        "{said}"
    );
    bed.assert_clean();
}

#[test]
fn another_machine_takes_what_one_cannot() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let down = MachineLine {
        uri: "ssh-ng://root@127.0.0.9".into(),
        speed_factor: "100".into(),
        ..bed.pair.machine_line()
    };
    bed.use_machines(&[down.to_string(), bed.pair.machine_line().to_string()]);
    for round in ["first", "second"] {
        let paths = bed.built(&derivation(
            &format!("elsewhere-{round}"),
            "echo > $out",
            "",
        ));
        bed.assert_same_on_both(&paths[0]);
    }
    bed.assert_clean();
}

/// Begins a build that does not end by itself, waits until the builder is at it, and returns the client's process.
fn begin_endless(bed: &Bed, name: &str) -> String {
    let expression = derivation(name, "exec sleep 600", "");
    let begin = "nix-build --no-out-link -E \"$1\" >client.log 2>&1 & echo $!";
    let client = bed.run(&["sh", "-c", begin, "sh", &expression]);
    let deadline = Instant::now() + LIMIT;
    let is_building = || {
        let processes = bed
            .pair
            .builder
            .processes()
            .expect("processes can be listed");
        processes
            .iter()
            .any(|process| process.command_line == "sleep 600")
    };
    while !is_building() {
        assert!(
            Instant::now() < deadline,
            "{}",
            bed.run(&["cat", "client.log"])
        );
        thread::sleep(Duration::from_millis(10));
    }
    client
}

#[test]
fn a_build_that_nobody_waits_for_any_more() {
    testbed::require!();
    let bed = bed();
    for signal in ["TERM", "KILL"] {
        let client = begin_endless(&bed, &format!("endless-{signal}"));
        bed.run(&["kill", &format!("-{signal}"), &client]);
        bed.assert_idle();
        let after = bed.built(&derivation(
            &format!("after-endless-{signal}"),
            "echo > $out",
            "",
        ));
        bed.assert_same_on_both(&after[0]);
    }
    bed.assert_clean();
}

#[test]
fn a_hook_that_is_killed() {
    testbed::require!();
    let bed = bed();
    begin_endless(&bed, "orphaned");
    let hook = bed.hook().expect("the build is under way");
    bed.run(&["kill", "-KILL", &hook.pid_inside.to_string()]);
    bed.assert_idle();
    let said = bed.run(&["cat", "client.log"]);
    assert!(
        said.contains("-orphaned.drv") && said.contains("error:"),
        "{said}"
    );
    let after = bed.built(&derivation("after-orphaned", "echo > $out", ""));
    bed.assert_same_on_both(&after[0]);
    bed.assert_clean();
}
