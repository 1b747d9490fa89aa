//! Machines that break while they build: what happens (the module) and when (the test) make the table of faults.
//!
//! Each test lets it happen twice. With no other machine the build fails, soon, with words that name the machine; nothing
//! is registered, no slot is held, and once the machine is repaired the same derivation builds. What happens before the
//! build is accepted costs nothing: the daemon builds by itself. With a second machine the build ends there.
//!
//! A few of them run always; all of them, with each pair, where `OFFLOAD_TEST_HEAVY` is 1.

use testbed::{Fault, Host, Link, Stage};

use crate::{
    bed::{is_heavy, require},
    stage::{Stages, stages},
};

/// Those that run always.
const ALWAYS: [(Fault, Stage); 5] = [
    (Fault::SshdIsKilled, Stage::Upload),
    (Fault::DaemonIsKilled, Stage::Build),
    (Fault::BuilderIsKilled, Stage::Download),
    (Fault::SshdIsStopped, Stage::BeforeConnect),
    (Fault::LinkFallsSilent, Stage::Accepted),
];

fn survives(name: &str, fault: Fault, stage: Stage) {
    require!();
    if !is_heavy() && !ALWAYS.contains(&(fault, stage)) {
        eprintln!("not asked for: OFFLOAD_TEST_HEAVY is not 1");
        return;
    }
    for stages in stages().iter_mut() {
        alone(stages, &format!("{name}-alone"), fault, stage);
        with_another(stages, &format!("{name}-with-another"), fault, stage);
    }
}

fn strike(fault: Fault) -> impl FnOnce(&mut Host, &Link) {
    move |builder, link| fault.strike(builder, link).expect("it can be done")
}

fn alone(stages: &mut Stages, name: &str, fault: Fault, stage: Stage) {
    let machines = [stages.first()];
    let build = stages.build(name, &machines, stage, strike(fault));
    stages.repair();
    if stage == Stage::BeforeConnect {
        // A new connection is as good as the one before; anything else the daemon does itself.
        let there = fault == Fault::LinkBreaks;
        assert_eq!(build.was_remote(), there, "{}", build.said);
        build.out();
        return;
    }
    let (status, _) = build.failure.clone().expect("it cannot be built");
    assert_eq!(status, 1, "no verdict on the build: {}", build.said);
    assert!(build.said.contains(&machines[0].name), "{}", build.said);
    assert!(build.outputs.is_empty(), "{}", build.said);
    stages.assert_idle();
    let again = stages.build(name, &machines, Stage::BeforeConnect, |_, _| {});
    assert!(again.was_remote(), "{}", again.said);
    let out = again.out();
    let same = format!("cmp {out}/one {out}/two && test -s {out}/one");
    stages.bed.run(&["sh", "-c", &same]);
}

fn with_another(stages: &mut Stages, name: &str, fault: Fault, stage: Stage) {
    let machines = [stages.first(), stages.second()];
    let build = stages.build(name, &machines, stage, strike(fault));
    build.out();
    assert!(build.was_remote(), "{}", build.said);
    stages.repair();
    stages.assert_clean();
}

testbed::table_of_faults!(crate::faults::survives);
