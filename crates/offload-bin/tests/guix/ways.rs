//! The ways to a machine's daemon.

use testbed::GuixMachine;

use crate::bed::{Bed, OURS, beds, require};

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
