//! The endpoint in front of two machines, which may have different versions of Nix.

use std::{thread, time::Duration};

use testbed::{Host, MachineLine};

use super::{known, line, stock};
use crate::{
    bed::{Bed, OUR_HOOK, bed, derivation, ours},
    registration::Registration,
};

/// How long a hundred builds may take: 15 s on an idle machine.
const LIMIT: Duration = Duration::from_secs(400);

/// How many builds each machine takes at a time.
const SLOTS: u32 = 4;

/// Both machines, each with a feature of its own.
fn use_both(bed: &Bed) {
    let first = bed.pair.machine_line();
    let second = bed.pair.extra_machine_line(Bed::SECOND);
    let lines = [(first, "first"), (second, "second")].map(|(line, feature)| {
        let line = MachineLine {
            max_jobs: SLOTS.to_string(),
            supported_features: feature.into(),
            ..line
        };
        line.to_string()
    });
    bed.use_machines(&lines);
}

fn second(bed: &Bed) -> &Host {
    &bed.pair.extra_builders[Bed::SECOND]
}

fn assert_clean(bed: &Bed) {
    bed.assert_idle();
    bed.assert_whole(&[&bed.pair.coordinator, &bed.pair.builder, second(bed)]);
}

/// Each step is built on the other machine than the one before, so that each output goes over the coordinator.
#[test]
fn a_chain_from_machine_to_machine() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    use_both(&bed);
    let mut expression = derivation("endpoint-step-0", "echo 0 > $out", "");
    for n in 1..20 {
        let feature = ["first", "second"][n % 2];
        let attributes =
            format!("before = {expression}; requiredSystemFeatures = [ \"{feature}\" ];");
        let script = format!("cat $before > $out; echo {n} >> $out");
        expression = derivation(&format!("endpoint-step-{n}"), &script, &attributes);
    }
    let out = super::built(&bed, &expression);
    let counted: String = (0..20).map(|n| format!("{n}\n")).collect();
    assert_eq!(bed.run(&["cat", &out[0]]), counted.trim_end());
    let there = Registration::read(second(&bed), &out[0]).expect("the last one is built there");
    assert_eq!(there.ultimate, Some(1));
    let before = Registration::read(&bed.pair.builder, &out[0]);
    assert_eq!(before, None, "it is of no use to the first machine");
    assert_clean(&bed);
}

/// A hundred builds whose outputs say where they ran, and how many ran there when they began.
fn many(name: &str, count: u32) -> String {
    let script = "me=/tmp/running-$$; touch $me; sleep 0.2; \
                  echo $(hostname) $(ls /tmp | grep -c running-) > $out; rm $me";
    let all: String = (0..count)
        .map(|n| format!("({})", derivation(&format!("{name}-{n}"), script, "")))
        .collect();
    format!("[ {all} ]")
}

#[test]
fn a_hundred_at_a_time_beside_a_hook() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    use_both(&bed);
    let coordinator = &bed.pair.coordinator;
    let (line, by_endpoint, by_hook) =
        (line(), many("endpoint-of-100", 100), many("hook-of-20", 20));
    let begin = ["nix-build", "--no-out-link", "-E"];
    let endpoint = [&begin, &[by_endpoint.as_str()][..], &stock(&line)].concat();
    let hook = [&begin, &[&by_hook, "--option", "build-hook", OUR_HOOK][..]].concat();
    let outputs = thread::scope(|scope| {
        let run = |command| scope.spawn(move || coordinator.exec_within(LIMIT, command));
        [run(&endpoint), run(&hook)].map(|run| {
            let output = run.join().expect("the thread does not panic");
            output.unwrap_or_else(|error| panic!("{error}\n{}", bed.logs()))
        })
    });
    let mut most = [("builder", 0), ("builder2", 0)];
    for (output, count) in outputs.iter().zip([100, 20]) {
        assert!(output.status.success(), "{}\n{}", output.stderr, bed.logs());
        assert_eq!(output.stdout.lines().count(), count);
        for path in output.stdout.lines() {
            let said = bed.run(&["cat", path]);
            let (host, beside) = said.split_once(' ').expect("two words");
            let beside: u32 = beside.parse().expect("a number");
            let (_, most) = most
                .iter_mut()
                .find(|(name, _)| *name == host)
                .expect("a builder");
            *most = beside.max(*most);
        }
    }
    eprintln!("at most {most:?} at a time");
    for (host, most) in most {
        assert!((2..=SLOTS).contains(&most), "{most} at a time on {host}");
    }
    assert_clean(&bed);
}
