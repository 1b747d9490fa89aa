//! How often a host is waited for until a link is usable. Counted, not timed: a proxy sees how
//! often the direction of what passes changes.

use offload::link::Destination;

use crate::bed::{Bed, block_on, echo, requirements};

/// Two turns each: versions and offers, the key exchange, the service, the key's probe, its
/// signature. The TCP connection comes before that. A key that is refused would be two more.
#[test]
fn a_cold_connection_takes_five_and_a_command_two() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    block_on(async {
        let destination = Destination {
            host: "host".to_owned(),
            ..Destination::default()
        };
        let turns = || bed.sshd.seen.lock().unwrap().turns;
        let (link, _) = bed.connect(destination).await;
        let link = link.unwrap();
        let connected = turns();
        assert_eq!(echo(&link).await, "fine");
        let cold = turns();
        assert_eq!(echo(&link).await, "fine");
        let warm = turns() - cold;
        // One more when both sides' offers of the key exchange meet on the way.
        assert!((10..=12).contains(&connected), "{connected}");
        // Opening the channel, the command; and the end of the channel, which is not waited for.
        assert!(cold - connected <= 5, "{connected} {cold}");
        assert!(warm <= 5, "{warm}");
    });
}
