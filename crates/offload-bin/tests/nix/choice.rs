//! Which machine takes a build: what the derivation demands, and what the machines say of themselves.

use testbed::MachineLine;

use crate::bed::{Bed, OUR_HOOK, STOCK_HOOK, bed, derivation, ours};

/// Asserts that no machine of the list takes the build, and that each of `words` is said.
fn taken_by_none(bed: &Bed, machine: &MachineLine, expression: &str, words: &[&str]) {
    bed.use_machines(&[machine.to_string()]);
    let mark = bed.mark();
    let output = bed.build(expression, &[]);
    let said = bed.said_since(mark, &output);
    assert!(!output.status.success(), "{}", output.stdout);
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in\n{said}");
    }
    bed.assert_clean();
}

#[test]
fn a_required_feature_is_there_or_not() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    // One that the builder's own daemon has, too, without being told.
    let demanding = derivation(
        "feature",
        "echo > $out",
        "requiredSystemFeatures = [ \"big-parallel\" ];",
    );
    let plain = bed.pair.machine_line();
    taken_by_none(&bed, &plain, &demanding, &["127.0.0.1", "big-parallel"]);
    let able = MachineLine {
        supported_features: "other,big-parallel".into(),
        ..plain
    };
    bed.use_machines(&[able.to_string()]);
    let output = bed.build(&demanding, &[]);
    assert!(output.status.success(), "{}", output.stderr);
    bed.assert_clean();
}

#[test]
fn a_mandatory_feature_is_asked_for_or_not() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let special = MachineLine {
        mandatory_features: "special".into(),
        ..bed.pair.machine_line()
    };
    let modest = derivation("modest", "echo > $out", "");
    taken_by_none(&bed, &special, &modest, &["127.0.0.1", "special"]);
    bed.use_machines(&[
        special.to_string(),
        bed.pair.extra_machine_line(Bed::SECOND).to_string(),
    ]);
    let paths = bed.built(&modest);
    bed.pair.extra_builders[Bed::SECOND]
        .run(&["nix-store", "--check-validity", &paths[0]])
        .unwrap();
    bed.assert_clean();
}

#[test]
fn a_system_that_no_machine_has() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let foreign = derivation("foreign", "echo > $out", "")
        .replace("builtins.currentSystem", "\"riscv64-linux\"");
    taken_by_none(&bed, &bed.pair.machine_line(), &foreign, &["riscv64-linux"]);
}

#[test]
fn slots_are_not_exceeded() {
    testbed::require!();
    let bed = bed();
    bed.use_machines(&[MachineLine {
        max_jobs: "2".into(),
        ..bed.pair.machine_line()
    }
    .to_string()]);
    // Each build says how many there are beside it.
    let script =
        ": > /tmp/slots/$name; sleep 0.5; ls /tmp/slots | wc -l > $out; rm /tmp/slots/$name";
    let one = derivation("slot-${toString i}", script, "");
    bed.pair
        .builder
        .run(&["install", "-d", "-m", "777", "/tmp/slots"])
        .expect("the folder is made");
    for path in bed.built(&format!("builtins.genList (i: {one}) 6")) {
        let beside: u32 = bed
            .run(&["cat", &path])
            .trim()
            .parse()
            .expect("it is a number");
        assert!((1..=2).contains(&beside), "{beside} at once");
    }
    bed.assert_clean();
}

/// Two daemons' hooks of ours and one of stock's want the same slot.
#[test]
fn ours_and_stocks_hooks_share_one_slot() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(stock(&bed));
    bed.pair
        .builder
        .run(&["install", "-d", "-m", "777", "/tmp/shared"])
        .expect("the folder is made");
    // Each build says how many there are beside it.
    let script =
        ": >/tmp/shared/$name; sleep 0.3; ls /tmp/shared | wc -l >$out; rm /tmp/shared/$name";
    let client = |who: &str, hook: &str| {
        let one = derivation(&format!("{who}-${{toString i}}"), script, "");
        let all = format!("builtins.genList (i: {one}) 2");
        let output = bed.build(&all, &["--option", "build-hook", hook]);
        assert!(output.status.success(), "{who}: {}", output.stderr);
        let paths = output.stdout.lines();
        paths.map(str::to_owned).collect::<Vec<_>>()
    };
    let all_at_once = || {
        std::thread::scope(|scope| {
            let clients = [
                ("ours", OUR_HOOK),
                ("also-ours", OUR_HOOK),
                ("stocks", STOCK_HOOK),
            ];
            let clients = clients.map(|(who, hook)| scope.spawn(move || client(who, hook)));
            clients.map(|client| client.join().expect("all builds end"))
        })
    };
    // Of stock's, 2.3.7 does not know pinned keys.
    let paths = bed.with_known_hosts(|| {
        bed.use_machines(&[MachineLine {
            max_jobs: "1".into(),
            host_key: "-".into(),
            ..bed.pair.machine_line()
        }
        .to_string()]);
        all_at_once()
    });
    for path in paths.concat() {
        assert_eq!(bed.run(&["cat", &path]).trim(), "1", "{path}");
    }
    bed.assert_clean();
}

/// Whether the coordinator has stock's hook where this machine has it.
fn stock(bed: &Bed) -> Result<(), String> {
    let there = bed.pair.coordinator.exec(&["test", "-x", STOCK_HOOK]);
    match there.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => Err(format!("no {STOCK_HOOK} on the coordinator")),
    }
}
