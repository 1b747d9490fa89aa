//! Builds whose connections a broker keeps.

use std::path::Path;

use crate::bed::{Bed, BedOptions, OURS, require, roots};

const SOCKET: &str = "/run/broker.sock";

fn bed(root: &Path) -> (Bed, String) {
    let environment = [format!("OFFLOAD_BROKER={SOCKET}")];
    let bed = Bed::start(&BedOptions {
        environment: &environment.each_ref().map(String::as_str),
        ..BedOptions::of(root)
    });
    bed.use_machines(&[bed.pair.guix_machine()]);
    let start = format!(
        "{OURS} broker --socket {SOCKET} </dev/null >/var/log/broker.log 2>&1 & echo $!; \
         for _ in $(seq 200); do [ -S {SOCKET} ] && exit; sleep 0.1; done; exit 1"
    );
    let broker = bed.run(&["sh", "-c", &start]).trim().to_owned();
    (bed, broker)
}

/// Inputs in bulk go by a command of their own, beside the conversation.
#[test]
fn builds_share_connections() {
    require!();
    for root in roots() {
        let (bed, broker) = bed(&root);
        for round in ["first", "second", "third"] {
            let name = format!("brokered-{round}");
            let build = bed.build(&name, "echo some $inputs > $out; echo words", &["chain=2"]);
            assert!(build.was_remote(), "{}", build.said);
            assert!(build.said.contains("words"), "{}", build.said);
            assert!(bed.read(build.out()).starts_with("some /gnu/store/"));
        }
        let said = bed.read("/var/log/broker.log");
        let connections = said.matches("connected to").count();
        // Six builds; a second connection is made where the last hook is not quite gone when the next one asks.
        assert!((1..=3).contains(&connections), "{said}");
        bed.run(&["kill", &broker]);
        bed.assert_clean();
    }
}
