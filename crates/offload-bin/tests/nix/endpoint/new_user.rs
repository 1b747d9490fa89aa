//! What the README tells a new user to do, on a host with nothing but Nix: the `builders` line that the program prints.

use testbed::{HostOptions, Mount, Pair, PairOptions};

use super::starts_programs;
use crate::{
    bed::{derivation, distribution, ours},
    registration::Registration,
};

/// Where the program is. The README has it in /usr/local/bin, which is the distribution's here.
const PROGRAM: &str = "/opt/offload";

#[test]
fn one_line_is_enough() {
    testbed::require!();
    testbed::require!(ours());
    let mut coordinator = HostOptions {
        distribution: distribution("OFFLOAD_TEST_COORDINATOR"),
        ..HostOptions::default()
    };
    coordinator.mounts = vec![Mount::new(env!("CARGO_BIN_EXE_offload"), PROGRAM)];
    let builder = HostOptions {
        distribution: distribution("OFFLOAD_TEST_BUILDER"),
        ..HostOptions::default()
    };
    let options = PairOptions {
        coordinator,
        builder,
        ..PairOptions::default()
    };
    let mut pair = Pair::start(options).unwrap_or_else(|error| panic!("the bed starts: {error}"));
    testbed::require!(known starts_programs(&pair.coordinator));

    // No machine: nothing to print.
    let print = format!(
        "set -e; line=$({PROGRAM} store --print-builders); echo \"builders = $line\" >> /etc/nix/nix.conf"
    );
    let nothing = pair
        .coordinator
        .exec(&["sh", "-c", &print])
        .expect("it ends");
    assert!(!nothing.status.success());
    assert!(
        nothing.stderr.contains("there is no machine to build on"),
        "{}",
        nothing.stderr
    );

    let line = pair.machine_line();
    let written = pair
        .coordinator
        .write_file("/etc/nix/machines", format!("{line}\n"));
    written.expect("the file is written");
    pair.coordinator
        .run(&["sh", "-c", &print])
        .expect("it prints");
    // As `systemctl restart nix-daemon` does, and more.
    pair.coordinator.crash().expect("it can be killed");
    pair.coordinator.boot().expect("it comes up again");

    let expression = derivation(
        "endpoint-of-a-new-user",
        "echo said >&2; echo done > $out",
        "",
    );
    let output = pair
        .coordinator
        .exec(&["nix-build", "--no-out-link", "-E", &expression])
        .expect("it ends");
    let said = output.stderr;
    assert!(
        output.status.success(),
        "{said}\n{}",
        pair.coordinator.logs()
    );
    assert!(said.contains(&format!("on '{}'", line.uri)), "{said}");
    assert!(said.contains("said"), "{said}");
    let out = output.stdout.trim();
    let there = Registration::read(&pair.builder, out).expect("it was built there");
    assert_eq!(there.ultimate, Some(1));
    let here = Registration::read(&pair.coordinator, out).expect("it is here");
    assert_eq!(here.ultimate, None);
}

/// Whoever puts the line into the file that the endpoint reads has it told, and no endless row of endpoints.
#[test]
fn the_endpoint_is_no_machine_of_its_own() {
    testbed::require!();
    testbed::require!(ours());
    let bed = crate::bed::bed();
    testbed::require!(known starts_programs(&bed.pair.coordinator));
    let own = format!("ssh-ng://localhost?remote-program={PROGRAM} x86_64-linux - 9 1 - - -");
    let other = bed.pair.machine_line();
    bed.use_machines(&[own, other.to_string()]);
    let printed = bed
        .pair
        .coordinator
        .exec(&[PROGRAM, "store", "--print-builders"]);
    let printed = printed.expect("it ends");
    let complaint =
        "offload: /etc/nix/machines:1: this entry is the endpoint itself, and is left out\n";
    assert_eq!(printed.stderr, complaint);
    let program = format!("ssh-ng://localhost?remote-program={PROGRAM}");
    assert_eq!(
        printed.stdout,
        format!("{program} x86_64-linux - 72 1 - - -\n")
    );
    let queue = [PROGRAM, "store", "--print-builders", "--queue", "3"];
    let printed = bed.run(&queue);
    assert_eq!(printed, format!("{program} x86_64-linux - 11 1 - - -"));
}
