//! What the daemon is told when there is no machine, and what it has `guix` do besides.

use testbed::GuixMachine;

use crate::bed::{beds, require};

#[test]
fn without_a_machine_for_it_the_daemon_builds_itself() {
    require!();
    for bed in beds().iter() {
        let machine = bed.pair.guix_machine();
        let other = GuixMachine {
            systems: "aarch64-linux".into(),
            ..machine.clone()
        };
        let dead = GuixMachine {
            port: 9,
            ..machine.clone()
        };
        for (name, machines) in [
            ("none", vec![]),
            ("other", vec![other]),
            ("dead", vec![dead.clone()]),
        ] {
            bed.use_machines(&machines);
            let build = bed.build(&format!("here-{name}"), "echo here > $out", &[]);
            assert!(!build.was_remote(), "{}", build.said);
            assert_eq!(bed.read(build.out()), "here\n");
        }
        bed.use_machines(&[dead, machine]);
        let build = bed.build("there", "echo there > $out", &[]);
        assert!(build.was_remote(), "{}", build.said);
        assert_eq!(bed.read(build.out()), "there\n");
        bed.assert_clean();
    }
}

#[test]
fn the_real_guix_does_the_rest() {
    require!();
    for bed in beds().iter() {
        let out = bed.build("exported", "echo x > $out", &[]).out().to_owned();
        // The daemon has `guix authenticate` sign it.
        let export = format!("guix archive --export {out} | grep -ac sig-val");
        assert_ne!(bed.run(&["sh", "-c", &export]), "0");
        // And `guix gc --list-busy` look for what is in use.
        bed.run(&["guix", "gc", "--list-live"]);
    }
}

#[test]
fn builds_that_come_together_share_the_slots() {
    require!();
    for bed in beds().iter() {
        let machine = GuixMachine {
            parallel_builds: 2,
            ..bed.pair.guix_machine()
        };
        bed.use_machines(&[machine]);
        let build = bed.build("together", "sleep 2; echo x > $out", &["parallel=3"]);
        assert_eq!(build.outputs.len(), 3, "{}", build.said);
        bed.assert_clean();
    }
}
