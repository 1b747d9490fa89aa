//! Disks that are full, on either side.

use testbed::{Host, MachineLine, Output};

use crate::{
    bed::{Bed, derivation, ours},
    registration::Registration,
};

/// What each of the two stores may hold, in megabytes.
const STORE_MB: u32 = 64;

/// What is left of that when a disk is full.
const LEFT_MB: u32 = 4;

/// Takes up the rest.
const BALLAST: &str = "/nix/store/.ballast";

/// A bed of its own, whose stores are small.
fn bed() -> Bed {
    Bed::start("", Some(u64::from(STORE_MB) << 20))
}

fn run(host: &Host, command: &[&str]) {
    host.run(command).unwrap_or_else(|error| panic!("{error}"));
}

fn fill(host: &Host) {
    let left = LEFT_MB << 10;
    let free = "df --output=avail --block-size=1K /nix/store | tail -1";
    let fill = format!("fallocate --length $(( $({free}) - {left} ))K {BALLAST}");
    run(host, &["sh", "-c", &fill]);
}

fn empty(host: &Host) {
    run(host, &["rm", BALLAST]);
}

/// A build that needs `input` megabytes and makes `output` megabytes.
fn expression(bed: &Bed, name: &str, input: u32, output: u32) -> String {
    let file = format!("/root/input-{name}");
    let make = format!("head -c {input}M /dev/urandom >{file}");
    bed.run(&["sh", "-c", &make]);
    let script = format!("head -c {output}M /dev/zero >$out");
    derivation(name, &script, &format!("input = {file};"))
}

fn build(bed: &Bed, machines: &[MachineLine], expression: &str) -> (Output, String) {
    let lines: Vec<_> = machines.iter().map(ToString::to_string).collect();
    bed.use_machines(&lines);
    let mark = bed.mark();
    let output = bed.build(expression, &[]);
    let said = bed.said_since(mark, &output);
    (output, said)
}

/// With a full disk on `host` the build fails and says so; nothing of it is registered or in the way of the next try.
fn fails_while_full(bed: &Bed, host: &Host, expression: &str) -> String {
    let [_, out] = bed.instantiated(expression);
    let only = [bed.pair.machine_line()];
    fill(host);
    let (output, said) = build(bed, &only, expression);
    empty(host);
    assert!(!output.status.success(), "{said}");
    assert_eq!(Registration::read(&bed.pair.coordinator, &out), None);
    let left = bed.pair.coordinator.exec(&["test", "-e", &out]);
    assert!(!left.expect("it ends").status.success(), "{out} is left");
    bed.assert_idle();
    let (output, after) = build(bed, &only, expression);
    assert!(output.status.success(), "{after}");
    bed.assert_same_on_both(&out);
    bed.assert_clean();
    said
}

/// With a full disk on the first machine another one builds it.
fn goes_elsewhere(bed: &Bed, expression: &str) {
    let first = MachineLine {
        speed_factor: "10".into(),
        ..bed.pair.machine_line()
    };
    let machines = [first, bed.pair.extra_machine_line(Bed::SECOND)];
    fill(&bed.pair.builder);
    let (output, said) = build(bed, &machines, expression);
    empty(&bed.pair.builder);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("127.0.0.1 cannot build"), "{said}");
    let second = &bed.pair.extra_builders[Bed::SECOND];
    run(
        second,
        &["nix-store", "--check-validity", output.stdout.trim()],
    );
    bed.assert_clean();
    bed.assert_whole(&[second]);
}

#[test]
fn the_builders_disk_is_full_while_inputs_are_sent() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let said = fails_while_full(
        &bed,
        &bed.pair.builder,
        &expression(&bed, "no-room-for-inputs", 8, 1),
    );
    assert!(
        said.contains("127.0.0.1") && said.contains("No space left"),
        "{said}"
    );
    goes_elsewhere(&bed, &expression(&bed, "no-room-for-more-inputs", 8, 1));
}

#[test]
fn the_builders_disk_is_full_while_it_builds() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let said = fails_while_full(
        &bed,
        &bed.pair.builder,
        &expression(&bed, "no-room-to-build", 1, 8),
    );
    assert!(
        said.contains("127.0.0.1") && said.contains("No space left"),
        "{said}"
    );
    goes_elsewhere(&bed, &expression(&bed, "no-more-room-to-build", 1, 8));
}

/// No machine is to blame, so no other one is tried.
#[test]
fn the_coordinators_disk_is_full() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let said = fails_while_full(
        &bed,
        &bed.pair.coordinator,
        &expression(&bed, "no-room-for-outputs", 1, 8),
    );
    assert!(said.contains("No space left"), "{said}");
    assert!(!said.contains("no other machine"), "{said}");
}
