//! The hook killed (SIGKILL) at moments of its builds that are drawn from a seed: nothing half-written is registered, no
//! slot stays held, and the next build of the same derivation succeeds.

use std::cell::Cell;

use testbed::{Kills, Moment};

use crate::{
    bed::ours,
    registration::Registration,
    stage::{LIMIT, Stages, stages},
};

/// How many moments are tried, unless the environment says otherwise.
const KILLS: u32 = 12;

/// Two outputs with many files, of an input of its own.
fn expression(stages: &Stages, name: &str) -> String {
    let input = format!("/root/input-{name}");
    stages
        .bed
        .run(&["sh", "-c", &format!("head -c 300K /dev/urandom >{input}")]);
    let script = "mkdir $out $dev; i=0; while [ $i -lt 20 ]; do \
                  head -c 20000 $input >$out/$i; ln -s $dev/$i $out/to-$i; echo $i >$dev/$i; i=$((i+1)); done";
    let attributes = format!("input = {input}; outputs = [ \"out\" \"dev\" ];");
    let all = crate::bed::derivation(name, script, &attributes);
    format!("let d = {all}; in [ d.out d.dev ]")
}

#[test]
fn at_any_moment() {
    testbed::require!();
    testbed::require!(ours());
    let stages = stages();
    stages.bed.use_machines(&[stages.first().to_string()]);
    let registered = Cell::new(0);
    Kills::from_environment(KILLS).try_all(
        &stages.link,
        |name| {
            stages.bed.built(&expression(&stages, name));
        },
        |name, moment| {
            let outcome = survives(&stages, name, moment);
            registered.set(registered.get() + u32::from(outcome.registered));
            outcome.killed
        },
        || stages.assert_clean(),
    );
    eprintln!("{} of them had their outputs registered", registered.get());
}

struct Outcome {
    killed: bool,
    registered: bool,
}

/// One build whose hook is killed at `moment`, and then the same derivation again.
fn survives(stages: &Stages, name: &str, moment: Moment) -> Outcome {
    let expression = expression(stages, name);
    let coordinator = &stages.bed.pair.coordinator;
    let command = ["nix-build", "--no-out-link", "-E", &expression];
    let client = || coordinator.exec_within(LIMIT, &command);
    let (killed, output) = moment.kill(&stages.link, LIMIT, || stages.bed.hook(), client);
    let output = output.unwrap_or_else(|error| panic!("{moment:?}: {error}"));
    eprintln!("{name}: {moment:?}, killed: {killed}, {}", output.status);
    stages.bed.assert_idle();
    // The derivation's path is followed by the output's name where there are several.
    let outputs = "nix-store --query --outputs $(nix-instantiate -E \"$1\" 2>/dev/null | sed 's/!.*//' | sort -u)";
    let outputs = stages.bed.run(&["sh", "-c", outputs, "sh", &expression]);
    let valid = outputs
        .lines()
        .filter(|path| Registration::read(coordinator, path).is_some());
    let registered = valid.count();
    // One transaction registers all outputs of a build.
    assert!(
        registered == 0 || registered == 2,
        "{moment:?}: {registered} of {outputs}"
    );
    for path in stages.bed.built(&expression) {
        stages.bed.assert_same_on_both(&path);
    }
    stages.bed.assert_idle();
    Outcome {
        killed,
        registered: registered == 2,
    }
}
