//! Machines that break while they build: what happens (the module) and when (the test) make the table of faults.
//!
//! Each test lets it happen twice. With no other machine the build fails, soon, with words that name the machine; nothing
//! is registered, no slot is held, and once the machine is repaired the same derivation builds. What happens before the
//! build is accepted costs nothing: the daemon builds by itself. With a second machine the build ends there.
//!
//! A few of them run always; all of them, with each Guix, where `OFFLOAD_TEST_HEAVY` is 1.

use testbed::{Host, Link, Signal};

use crate::{
    bed::{is_heavy, require},
    stage::{Stage, Stages, stages},
};

/// Those that run always.
const ALWAYS: [(&str, Stage); 5] = [
    ("sshd_is_killed", Stage::Upload),
    ("the_daemon_is_killed", Stage::Build),
    ("the_builder_is_killed", Stage::Download),
    ("sshd_is_stopped", Stage::BeforeConnect),
    ("the_link_falls_silent", Stage::Accepted),
];

/// What a fault before the accept comes to where there is no other machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    /// The daemon builds by itself.
    Here,
    /// There is a way around it.
    There,
}

fn survives(name: &str, stage: Stage, early: Early, fault: fn(&mut Host, &Link)) {
    if !is_heavy() && !ALWAYS.contains(&(name, stage)) {
        eprintln!("not asked for: OFFLOAD_TEST_HEAVY is not 1");
        return;
    }
    for stages in stages().iter_mut() {
        let name = format!("{}-{stage:?}", name.replace('_', "-"));
        alone(stages, &format!("{name}-alone"), stage, early, fault);
        with_another(stages, &format!("{name}-with-another"), stage, fault);
    }
}

fn alone(stages: &mut Stages, name: &str, stage: Stage, early: Early, fault: fn(&mut Host, &Link)) {
    let machines = [stages.first()];
    let build = stages.build(name, &machines, stage, fault);
    stages.repair();
    if stage == Stage::BeforeConnect {
        assert_eq!(build.was_remote(), early == Early::There, "{}", build.said);
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

fn with_another(stages: &mut Stages, name: &str, stage: Stage, fault: fn(&mut Host, &Link)) {
    let machines = [stages.first(), stages.second()];
    let build = stages.build(name, &machines, stage, fault);
    build.out();
    assert!(build.was_remote(), "{}", build.said);
    stages.repair();
    stages.assert_clean();
}

/// Sends a signal to the builder's processes of that name.
fn signal(builder: &Host, name: &str, signal: Signal) {
    let processes = builder.processes().expect("processes can be listed");
    let named = processes
        .iter()
        .filter(|process| process.name.starts_with(name));
    for process in named {
        process.signal(signal).expect("root may");
    }
}

macro_rules! faults {
    ($($fault:ident: $action:expr, before connecting $early:ident;)*) => {$(
        mod $fault {
            use super::*;

            fn survives(stage: Stage) {
                super::survives(stringify!($fault), stage, Early::$early, $action);
            }

            #[test]
            fn before_connecting() {
                require!();
                survives(Stage::BeforeConnect);
            }

            #[test]
            fn after_the_accept() {
                require!();
                survives(Stage::Accepted);
            }

            #[test]
            fn while_inputs_are_sent() {
                require!();
                survives(Stage::Upload);
            }

            #[test]
            fn while_it_builds() {
                require!();
                survives(Stage::Build);
            }

            #[test]
            fn while_outputs_are_received() {
                require!();
                survives(Stage::Download);
            }
        }
    )*};
}

faults! {
    sshd_is_killed: |builder, link| {
        signal(builder, "sshd", Signal::KILL);
        link.reset();
    }, before connecting Here;
    the_daemon_is_killed: |builder, link| {
        signal(builder, "guix-daemon", Signal::KILL);
        link.reset();
    }, before connecting Here;
    the_builder_is_killed: |builder, link| {
        builder.crash().expect("the builder can be killed");
        link.reset();
    }, before connecting Here;
    sshd_is_stopped: |builder, link| {
        signal(builder, "sshd", Signal::STOP);
        link.reset();
    }, before connecting Here;
    the_link_falls_silent: |_, link| link.fall_silent(), before connecting Here;
    the_link_breaks: |_, link| link.cut(), before connecting There;
}
