//! Builds that fail on the builder: the client hears what the builder said, and its log is kept.

use std::time::Duration;

use testbed::Output;

use crate::{
    bed::{Bed, bed, derivation, ours},
    registration::Registration,
};

/// Builds what has to fail, asserts that nothing of it is left, and that the next build is none the worse.
fn fails(name: &str, script: &str, attributes: &str, check: impl Fn(&Bed, &Output, &str)) {
    let bed = bed();
    for round in ["first", "second"] {
        let name = format!("{name}-{round}");
        let failing = derivation(&name, script, attributes);
        let [drv, out] = bed.instantiated(&failing);
        let output = bed.build(&failing, &[]);
        assert!(!output.status.success(), "{}", output.stdout);
        check(&bed, &output, &drv);
        for host in bed.hosts() {
            assert_eq!(Registration::read(host, &out), None, "on {}", host.name());
        }
        bed.built(&derivation(&format!("after-{name}"), "echo > $out", ""));
    }
    bed.assert_clean();
}

#[test]
fn the_client_sees_the_builders_error_and_the_last_lines() {
    testbed::require!();
    let script = "i=1; while [ $i -le 30 ]; do echo line $i of $name; i=$((i+1)); done; exit 3";
    fails("exit-3", script, "", |bed, output, drv| {
        let said = &output.stderr;
        assert!(
            said.contains(drv) && said.contains("failed with exit code 3"),
            "{said}"
        );
        assert!(said.contains("line 30 of exit-3-"), "{said}");
        let log = bed.run(&["nix", "log", drv]);
        let numbers: Vec<_> = log
            .lines()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(numbers, (1..=30).map(|i| i.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn the_whole_log_of_a_build_that_fails() {
    testbed::require!();
    testbed::require!(ours());
    // The last line has no end.
    let script =
        "i=1; while [ $i -le 3000 ]; do echo line $i; i=$((i+1)); done; printf last; exit 1";
    fails("long-failure", script, "", |bed, _, drv| {
        let log = bed.run(&["nix", "log", drv]);
        let mut expected: Vec<_> = (1..=3000).map(|i| format!("line {i}")).collect();
        expected.push("last".into());
        assert_eq!(log.lines().count(), expected.len());
        assert!(
            log.lines().eq(expected),
            "the log differs from what was printed"
        );
    });
}

#[test]
fn a_fixed_output_with_another_hash() {
    testbed::require!();
    let attributes = "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; \
                      outputHash = builtins.hashString \"sha256\" \"other\";";
    fails(
        "mismatch",
        "printf this > $out",
        attributes,
        |_, output, drv| {
            assert!(
                output.stderr.contains("hash mismatch") && output.stderr.contains(drv),
                "{}",
                output.stderr
            );
        },
    );
}

#[test]
fn an_output_that_is_not_made() {
    testbed::require!();
    fails("no-output", "echo done", "", |_, output, drv| {
        assert!(
            output.stderr.contains("failed to produce output path"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains(drv), "{}", output.stderr);
    });
}

#[test]
fn others_of_the_same_request_still_build() {
    testbed::require!();
    let bed = bed();
    let failing = derivation("one-fails", "exit 1", "");
    let good = derivation("another-builds", "echo > $out", "");
    let output = bed.build(&format!("[ ({failing}) ({good}) ]"), &["--keep-going"]);
    assert!(!output.status.success());
    let built = bed.built(&good);
    bed.assert_same_on_both(&built[0]);
    bed.assert_clean();
}

#[test]
fn a_build_that_runs_or_is_silent_for_too_long() {
    testbed::require!();
    // Stock's build-remote says neither to a builder that it reaches by ssh-ng.
    testbed::require!(ours());
    let bed = bed();
    for option in ["--timeout", "--max-silent-time"] {
        let slow = derivation(
            &format!("slow{option}"),
            "echo begun; sleep 120; echo > $out",
            "",
        );
        let [_, out] = bed.instantiated(&slow);
        let output = bed.build(&slow, &[option, "2"]);
        assert!(
            !output.status.success() && output.elapsed < Duration::from_secs(60),
            "{:?}",
            output.elapsed
        );
        assert!(
            output.stderr.contains("more than 2 s") && output.stderr.contains("begun"),
            "{}",
            output.stderr
        );
        bed.assert_idle();
        assert_eq!(Registration::read(&bed.pair.builder, &out), None);
    }
    bed.assert_clean();
}

#[test]
fn a_build_that_prints_now_and_then_is_not_silent() {
    testbed::require!();
    let bed = bed();
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 1; done; echo >$out";
    let output = bed.build(
        &derivation("now-and-then", script, ""),
        &["--max-silent-time", "3"],
    );
    assert!(output.status.success(), "{}", output.stderr);
    assert!(
        output.elapsed > Duration::from_secs(4),
        "{:?}",
        output.elapsed
    );
    bed.assert_clean();
}

#[test]
fn a_log_that_is_longer_than_it_may_be() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let script = "i=0; while [ $i -le 3000 ]; do echo line $i; i=$((i+1)); done; echo >$out";
    let expression = derivation("long-log", script, "");
    let [_, out] = bed.instantiated(&expression);
    let output = bed.build(&expression, &["--option", "max-build-log-size", "1000"]);
    assert!(!output.status.success(), "{}", output.stderr);
    assert!(output.stderr.contains("1000 bytes"), "{}", output.stderr);
    bed.assert_idle();
    for host in bed.hosts() {
        assert_eq!(Registration::read(host, &out), None, "on {}", host.name());
    }
    bed.built(&expression);
    bed.assert_clean();
}
