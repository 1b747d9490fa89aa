//! Machines that break while they build: what happens (the module) and when (the test) make the table of faults.
//!
//! Each test lets it happen twice. With no other machine the build fails, soon, with words that name the machine;
//! nothing is registered, no slot is held, and once the machine is repaired the same derivation builds. With a second
//! machine the build ends there.

use testbed::{Fault, Host, Link, Stage};

use crate::{bed::ours, stage::stages};

/// Whether there is a way around it, so that it comes to nothing.
fn is_survived_alone(fault: Fault, stage: Stage) -> bool {
    // Root's `nix-daemon --stdio` opens the store by itself.
    let harmless = [Fault::DaemonIsKilled, Fault::LinkBreaks];
    stage == Stage::BeforeConnect && harmless.contains(&fault)
}

fn survives(name: &str, fault: Fault, stage: Stage) {
    testbed::require!();
    testbed::require!(ours());
    let strike = |builder: &mut Host, link: &Link| {
        fault.strike(builder, link).expect("it can be done");
    };
    let mut stages = stages();
    let (first, second) = (stages.first(), stages.second());
    let machines = [first.clone(), second];

    let expression = stages.expression(&format!("{name}-alone"));
    let [_, out] = stages.bed.instantiated(&expression);
    let mark = stages.bed.mark();
    let output = stages.build(&expression, &machines[..1], stage, strike);
    let said = stages.bed.said_since(mark, &output);
    eprintln!("{name}: ended after {:.1?}", output.elapsed);
    stages.repair();
    if !is_survived_alone(fault, stage) {
        assert!(
            !output.status.success(),
            "it was built all the same\n{said}"
        );
        assert!(
            said.contains(&first.uri),
            "the machine is not named in\n{said}"
        );
        stages.assert_untouched(&out);
        stages.bed.assert_idle();
    }
    let built = stages.bed.built(&expression);
    stages.bed.assert_same_on_both(&built[0]);

    let expression = stages.expression(&format!("{name}-with-another"));
    let mark = stages.bed.mark();
    let output = stages.build(&expression, &machines, stage, strike);
    let said = stages.bed.said_since(mark, &output);
    eprintln!(
        "{name}: with another machine, ended after {:.1?}",
        output.elapsed
    );
    assert!(output.status.success(), "{said}");
    stages.repair();
    // It is there, and is not built again.
    assert_eq!(stages.bed.built(&expression), [output.stdout.trim()]);
    stages.assert_clean();
}

testbed::table_of_faults!(crate::faults::survives);
