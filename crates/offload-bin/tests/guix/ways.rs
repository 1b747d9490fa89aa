//! The ways to a machine's daemon.

use std::{thread, time::Duration};

use testbed::GuixMachine;

use crate::bed::{ASKED, Bed, OURS, beds, require};

/// Builds what needs an input that only the coordinator has, which goes there signed.
fn builds(bed: &Bed, name: &str) -> String {
    let script = "echo some $inputs > $out";
    bed.build(name, script, &["offload=no"]).out();
    let build = bed.build(name, script, &["chain=2"]);
    assert!(build.was_remote(), "{}", build.said);
    assert!(bed.read(build.out()).starts_with("some /gnu/store/"));
    build.said
}

#[test]
fn where_sshd_forwards_no_sockets_guile_does() {
    require!();
    for bed in beds().iter() {
        let machine = bed.pair.extra_guix_machine(Bed::NO_SOCKETS);
        bed.use_machines(&[machine]);
        for round in ["first", "second"] {
            builds(bed, &format!("no-sockets-{round}"));
        }
        let known = bed.run(&["sh", "-c", "cat /var/guix/offload/knowledge/*.json"]);
        assert!(known.contains("guix-repl"), "{known}");
        let steps = bed.run(&[OURS, "test", "--guix"]);
        assert!(
            steps.contains("by \"guix repl -t machine\" to /var/guix"),
            "{steps}"
        );
        let there = &bed.pair.extra_builders[Bed::NO_SOCKETS];
        bed.assert_whole(&[&bed.pair.coordinator, there]);
    }
}

#[test]
fn a_machine_without_any_way_is_told_why() {
    require!();
    for bed in beds().iter() {
        let machine = GuixMachine {
            daemon_socket: Some("/no/such/socket".into()),
            ..bed.pair.guix_machine()
        };
        bed.use_machines(&[machine]);
        let tested = bed
            .pair
            .coordinator
            .exec(&[OURS, "test", "--guix"])
            .unwrap();
        assert_eq!(tested.status.code(), Some(1), "{}", tested.stdout);
        let said = &tested.stdout;
        assert!(
            said.contains("no store daemon is reached: socket /no/such/socket"),
            "{said}"
        );
        assert!(
            said.contains("guix repl -t machine") && said.contains("No such file"),
            "{said}"
        );
    }
}

/// A machine's daemon starts a Guile to ask its own build hook, which declines where there is nobody to hand a build on
/// to.
#[test]
fn only_a_machine_with_machines_of_its_own_asks_its_own_hook() {
    require!();
    for bed in beds().iter() {
        let there = &bed.pair.extra_builders[Bed::SECOND];
        bed.use_machines(&[bed.pair.extra_guix_machine(Bed::SECOND)]);
        let asked = |name: &str| {
            there.write_file(ASKED, "").expect("it is written");
            assert!(bed.build(name, "echo > $out", &[]).was_remote());
            there.read_file(ASKED).expect("it was written")
        };
        asked("met");
        assert_eq!(asked("alone"), "authenticate\n", "{}", bed.version);

        let list = "/etc/guix/machines.scm";
        there.write_file(list, "(list)\n").expect("it is written");
        // Longer than what a machine has said of itself is believed.
        thread::sleep(Duration::from_secs(6));
        asked("seen");
        let with_list = asked("not-alone");
        assert_eq!(with_list, "offload\nauthenticate\n", "{}", bed.version);
        there.run(&["rm", list]).expect("it is removed");
        bed.assert_whole(&[&bed.pair.coordinator, there]);
    }
}
