//! The endpoint's builds when a machine dies in the middle, with all of it or only its daemon: they end on the other.

use testbed::{Host, Link, Signal};

use super::{known, line, stock};
use crate::{
    bed::ours,
    stage::{Stage, stages},
};

/// Builds while `fault` happens to the first machine at `stage`.
fn survives(name: &str, stage: Stage, fault: fn(&mut Host, &Link)) {
    let mut stages = stages();
    testbed::require!(known known(&stages.bed));
    let machines = [stages.first(), stages.second()];
    let expression = stages.expression(&format!("endpoint-{name}-{stage:?}"));
    let mark = stages.bed.mark();
    let line = line();
    let output = stages.build_with(&stock(&line), &expression, &machines, stage, fault);
    let said = stages.bed.said_since(mark, &output);
    eprintln!("{name} at {stage:?}: ended after {:.1?}", output.elapsed);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&machines[0].uri),
        "the machine is not named in\n{said}"
    );
    stages.repair();
    // It is there, and is not built again.
    assert_eq!(stages.bed.built(&expression), [output.stdout.trim()]);
    stages.assert_clean();
}

macro_rules! faults {
    ($($fault:ident: $action:expr;)*) => {$(
        mod $fault {
            use super::*;

            #[test]
            fn while_inputs_are_sent() {
                testbed::require!();
                testbed::require!(ours());
                survives(stringify!($fault), Stage::Upload, $action);
            }

            #[test]
            fn while_it_builds() {
                testbed::require!();
                testbed::require!(ours());
                survives(stringify!($fault), Stage::Build, $action);
            }

            #[test]
            fn while_outputs_are_handed_on() {
                testbed::require!();
                testbed::require!(ours());
                survives(stringify!($fault), Stage::Download, $action);
            }
        }
    )*};
}

faults! {
    the_builder_dies: |builder, link| {
        builder.crash().expect("the builder can be killed");
        link.reset();
    };
    its_daemon_dies: |builder, link| {
        let processes = builder.processes().expect("processes can be listed");
        for process in processes.iter().filter(|process| process.name.starts_with("nix-daemon")) {
            process.signal(Signal::KILL).expect("root may");
        }
        link.reset();
    };
}
