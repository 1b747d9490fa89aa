//! A machine list that changes while a build waits.

use std::thread;
use std::time::{Duration, Instant};

use testbed::GuixMachine;

use crate::bed::{Bed, LIMIT, OURS, beds, require};

/// A daemon asks the same process again and again until a machine takes its build.
#[test]
fn a_machine_that_is_listed_meanwhile_takes_the_build_that_waits() {
    require!();
    for bed in beds().iter() {
        let first = GuixMachine {
            parallel_builds: 1,
            ..bed.pair.guix_machine()
        };
        let second = bed.pair.extra_guix_machine(Bed::SECOND);
        bed.use_machines(std::slice::from_ref(&first));
        thread::scope(|scope| {
            let long = scope.spawn(|| bed.build("takes-the-slot", "sleep 15; echo > $out", &[]));
            let begun = Instant::now();
            let status = || bed.run(&[OURS, "status", "--guix"]);
            while !status().contains("1 of 1 in use by this host") {
                assert!(begun.elapsed() < LIMIT, "{}", status());
            }
            let waiting = scope.spawn(|| bed.build("waits", "echo > $out", &[]));
            // It is asked about, in vain.
            thread::sleep(Duration::from_secs(2));
            assert!(!waiting.is_finished());
            bed.use_machines(&[first.clone(), second.clone()]);
            let waited = waiting.join().expect("it ends");
            assert!(!long.is_finished(), "{}: {}", bed.version, waited.said);
            let trace = format!("@ build-remote {} {}", waited.derivation, second.name);
            assert!(
                waited.said.contains(&trace),
                "{}: {}",
                bed.version,
                waited.said
            );
            assert!(long.join().expect("it ends").was_remote());
        });
        bed.assert_clean();
    }
}
