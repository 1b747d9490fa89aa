//! Machines that break while they build: what happens (the module) and when (the test) make the table of faults.
//!
//! Each test lets it happen twice. With no other machine the build fails, soon, with words that name the machine;
//! nothing is registered, no slot is held, and once the machine is repaired the same derivation builds. With a second
//! machine the build ends there.

use testbed::{Host, Link, Signal};

use crate::{
    bed::ours,
    stage::{Stage, stages},
};

/// What a fault comes to where there is no other machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Fails,
    /// There is a way around it.
    Builds,
}

fn survives(name: &str, stage: Stage, alone: Alone, fault: fn(&mut Host, &Link)) {
    let mut stages = stages();
    let name = format!("{name}-{stage:?}");
    let (first, second) = (stages.first(), stages.second());
    let machines = [first.clone(), second];

    let expression = stages.expression(&format!("{name}-alone"));
    let [_, out] = stages.bed.instantiated(&expression);
    let mark = stages.bed.mark();
    let output = stages.build(&expression, &machines[..1], stage, fault);
    let said = stages.bed.said_since(mark, &output);
    eprintln!("{name}: ended after {:.1?}", output.elapsed);
    stages.repair();
    if alone == Alone::Fails {
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
    let output = stages.build(&expression, &machines, stage, fault);
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
    ($($fault:ident: $action:expr, before connecting $alone:ident;)*) => {$(
        mod $fault {
            use super::*;

            fn survives(stage: Stage, alone: Alone) {
                super::survives(stringify!($fault), stage, alone, $action);
            }

            #[test]
            fn before_connecting() {
                testbed::require!();
                testbed::require!(ours());
                survives(Stage::BeforeConnect, Alone::$alone);
            }

            #[test]
            fn after_the_accept() {
                testbed::require!();
                testbed::require!(ours());
                survives(Stage::Accepted, Alone::Fails);
            }

            #[test]
            fn while_inputs_are_sent() {
                testbed::require!();
                testbed::require!(ours());
                survives(Stage::Upload, Alone::Fails);
            }

            #[test]
            fn while_it_builds() {
                testbed::require!();
                testbed::require!(ours());
                survives(Stage::Build, Alone::Fails);
            }

            #[test]
            fn while_outputs_are_received() {
                testbed::require!();
                testbed::require!(ours());
                survives(Stage::Download, Alone::Fails);
            }
        }
    )*};
}

faults! {
    sshd_is_killed: |builder, link| {
        signal(builder, "sshd", Signal::KILL);
        link.reset();
    }, before connecting Fails;
    // Root's `nix-daemon --stdio` opens the store by itself.
    the_daemon_is_killed: |builder, link| {
        signal(builder, "nix-daemon", Signal::KILL);
        link.reset();
    }, before connecting Builds;
    the_builder_is_killed: |builder, link| {
        builder.crash().expect("the builder can be killed");
        link.reset();
    }, before connecting Fails;
    sshd_is_stopped: |builder, link| {
        signal(builder, "sshd", Signal::STOP);
        link.reset();
    }, before connecting Fails;
    the_link_falls_silent: |_, link| link.fall_silent(), before connecting Fails;
    the_link_breaks: |_, link| link.cut(), before connecting Builds;
}
