//! The store endpoint: a worker-protocol server in front of the same fleet, so that a stock Nix that
//! knows nothing of hooks can build on all machines as if they were one.
//!
//! It answers for the coordinator's own store: what is valid there is valid here, and inputs go from
//! there to a machine directly. A build's outputs stay on the machine until the client asks for them,
//! and pass through without being stored twice. What is not asked of a builder goes to the
//! coordinator's own daemon, unchanged.

mod archive;
mod bounds;
mod build;
mod daemon;
mod forward;
mod harvest;
mod patient;
mod presence;
mod privileges;
mod record;
mod serve;

pub use bounds::Bounds;
pub use presence::Presence;
pub use serve::{Coordinator, EndpointError, serve};

use std::collections::BTreeSet;

use crate::machines::Machine;

/// The line that makes a stock Nix hand its builds to `program`, the endpoint in front of `machines`:
/// all their systems and features, and as many builds at a time as they take together, and `waiting` more:
/// a stock Nix whose builders are full asks again after 5 s, and leaves slots empty meanwhile; what waits
/// at the endpoint has the next one at once.
///
/// ```
/// use offload::machines::read_builders;
/// use offload::store::builders_line;
///
/// let list = "ssh-ng://a x86_64-linux - 4; ssh-ng://b aarch64-linux,x86_64-linux - 2 1 kvm";
/// let line = builders_line(&read_builders(list, "x86_64-linux").machines, "/opt/offload", 64);
/// assert_eq!(line, "ssh-ng://localhost?remote-program=/opt/offload aarch64-linux,x86_64-linux - 70 1 kvm - -");
/// ```
#[must_use]
pub fn builders_line(machines: &[Machine], program: &str, waiting: u32) -> String {
    let systems: BTreeSet<_> = machines
        .iter()
        .flat_map(|machine| &machine.systems)
        .collect();
    let features: BTreeSet<_> = machines
        .iter()
        .flat_map(|machine| {
            machine
                .supported_features
                .union(&machine.mandatory_features)
        })
        .collect();
    let jobs: u64 = machines
        .iter()
        .map(|machine| u64::from(machine.max_jobs))
        .sum();
    let list = |names: BTreeSet<&String>| match names.is_empty() {
        true => "-".to_owned(),
        false => names.into_iter().cloned().collect::<Vec<_>>().join(","),
    };
    format!(
        "ssh-ng://localhost?remote-program={program} {} - {} 1 {} - -",
        list(systems),
        jobs + u64::from(waiting),
        list(features)
    )
}
