//! The store endpoint: the stock hook of the coordinator's Nix, told by one `builders` line to hand its builds to our
//! program, which hands them to the machines of `/etc/nix/machines`. Nix 2.3.7 knows no such line.

mod bad_clients;
pub(crate) mod client;
mod fleet;
mod hang_up;
mod new_user;
pub(crate) mod service;
mod trouble;
mod uploads;

use testbed::{Host, Output};

use crate::{
    bed::{Bed, OUR_HOOK, STOCK_HOOK, bed, derivation, ours},
    floating,
    registration::Registration,
};

/// `Err` where the coordinator's Nix cannot do it.
pub(crate) fn known(bed: &Bed) -> Result<(), &'static str> {
    starts_programs(&bed.pair.coordinator)
}

/// `Err` where the host's Nix cannot do it.
fn starts_programs(host: &Host) -> Result<(), &'static str> {
    let version = host.run(&["nix-store", "--version"]).expect("it runs");
    match version.contains(" 2.3.") {
        true => Err("nix 2.3.7 starts no program for ssh-ng://localhost"),
        false => Ok(()),
    }
}

/// The `builders` line of the endpoint. A test chooses a machine by the features `first` and `second`.
fn line() -> String {
    format!(
        "ssh-ng://localhost?remote-program={OUR_HOOK} x86_64-linux - 64 1 kvm,ca-derivations,first,second - -"
    )
}

/// The arguments that make nix-build use the stock hook, and that use the endpoint.
fn stock(line: &str) -> [&str; 6] {
    [
        "--option",
        "builders",
        line,
        "--option",
        "build-hook",
        STOCK_HOOK,
    ]
}

/// Builds with the stock hook and the endpoint.
fn build(bed: &Bed, expression: &str, arguments: &[&str]) -> Output {
    bed.build(expression, &[&stock(&line()), arguments].concat())
}

fn built(bed: &Bed, expression: &str) -> Vec<String> {
    let output = build(bed, expression, &[]);
    assert!(output.status.success(), "{}\n{}", output.stderr, bed.logs());
    output.stdout.lines().map(str::to_owned).collect()
}

macro_rules! require {
    () => {{
        testbed::require!();
        testbed::require!(ours());
        let bed = bed();
        testbed::require!(known known(&bed));
        bed
    }};
}

#[test]
fn a_trivial_build() {
    let bed = require!();
    for name in ["endpoint-a", "endpoint-b"] {
        let out = built(
            &bed,
            &derivation(name, "echo said >&2; echo done > $out", ""),
        );
        bed.assert_same_on_both(&out[0]);
        assert_eq!(bed.run(&["cat", &out[0]]), "done");
        let log = bed.run(&["nix-store", "--read-log", &out[0]]);
        assert_eq!(log, "said");
    }
    bed.assert_clean();
}

#[test]
fn inputs_go_from_the_coordinators_store() {
    let bed = require!();
    let input = |n: u32| format!("i{n} = builtins.toFile \"endpoint-input-{n}\" \"{n}\";");
    let inputs: String = (1..4).map(input).collect();
    let expression = derivation("endpoint-inputs", "cat $i1 $i2 $i3 > $out", &inputs);
    let out = built(&bed, &expression);
    assert_eq!(bed.run(&["cat", &out[0]]), "123");
    bed.assert_same_on_both(&out[0]);
    bed.assert_clean();
}

#[test]
fn two_outputs() {
    let bed = require!();
    let script = "mkdir $out $dev; echo $out > $dev/out; head -c 3000000 /dev/zero > $out/zeros";
    let two = derivation("endpoint-two", script, "outputs = [ \"out\" \"dev\" ];");
    let dev = built(&bed, &format!("({two}).dev"));
    let row = bed.assert_same_on_both(&dev[0]);
    assert_eq!(row.references.len(), 1);
    let out = built(&bed, &two);
    bed.assert_same_on_both(&out[0]);
    bed.assert_clean();
}

#[test]
fn fixed_outputs_right_and_wrong() {
    let bed = require!();
    let fixed = |name: &str, script: &str| {
        let hash =
            "outputHash = \"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\";";
        let attributes = format!("{hash} outputHashAlgo = \"sha256\"; outputHashMode = \"flat\";");
        derivation(name, script, &attributes)
    };
    let right = built(&bed, &fixed("endpoint-fixed", "printf x > $out"));
    bed.assert_same_on_both(&right[0]);
    let wrong = build(&bed, &fixed("endpoint-wrong", "printf y > $out"), &[]);
    assert!(!wrong.status.success());
    assert!(wrong.stderr.contains("hash mismatch"), "{}", wrong.stderr);
    bed.assert_clean();
}

#[test]
fn a_failing_build_and_its_log() {
    let bed = require!();
    let script = "for i in $(seq 50); do echo line $i >&2; done; exit 7";
    let expression = derivation("endpoint-fails", script, "");
    let [drv, out] = bed.instantiated(&expression);
    let output = build(&bed, &expression, &[]);
    assert!(!output.status.success());
    assert!(output.stderr.contains("exit code 7"), "{}", output.stderr);
    assert_eq!(Registration::read(&bed.pair.coordinator, &out), None);
    let log = bed.run(&["nix-store", "--read-log", &drv]);
    assert!(
        log.starts_with("line 1\n") && log.ends_with("line 50"),
        "{log}"
    );
    bed.assert_clean();
}

#[test]
fn a_chain() {
    let bed = require!();
    let mut expression = derivation("endpoint-chain-0", "echo 0 > $out", "");
    for n in 1..5 {
        let script = format!("cat $before > $out; echo {n} >> $out");
        let before = format!("before = {expression};");
        expression = derivation(&format!("endpoint-chain-{n}"), &script, &before);
    }
    let out = built(&bed, &expression);
    assert_eq!(bed.run(&["cat", &out[0]]), "0\n1\n2\n3\n4");
    bed.assert_clean();
}

#[test]
fn a_floating_output() {
    let bed = require!();
    testbed::require!(known floating::known(&bed));
    testbed::require!(known floating::agree(&bed));
    let line = testbed::MachineLine {
        supported_features: "ca-derivations".into(),
        ..bed.pair.machine_line()
    };
    bed.use_machines(&[line.to_string()]);
    let attributes =
        "__contentAddressed = true; outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\";";
    let script = "mkdir $out; echo $out > $out/self";
    let out = built(&bed, &derivation("endpoint-floating", script, attributes));
    assert_eq!(bed.run(&["cat", &format!("{}/self", out[0])]), out[0]);
    bed.assert_same_on_both(&out[0]);
    bed.assert_clean();
}

#[test]
fn no_more_at_a_time_than_there_are_slots() {
    let bed = require!();
    let lines = [
        bed.pair.machine_line(),
        bed.pair.extra_machine_line(Bed::SECOND),
    ];
    let lines = lines.map(|line| testbed::MachineLine {
        max_jobs: "2".into(),
        ..line
    });
    bed.use_machines(&lines.map(|line| line.to_string()));
    // Each writes down how many run beside it, on its own machine.
    let script =
        "me=/tmp/running-$$; touch $me; sleep 0.3; ls /tmp | grep -c running- > $out; rm $me";
    let many: String = (0..16)
        .map(|n| {
            format!(
                "({})",
                derivation(&format!("endpoint-many-{n}"), script, "")
            )
        })
        .collect();
    let outputs = built(&bed, &format!("[ {many} ]"));
    assert_eq!(outputs.len(), 16);
    for path in outputs {
        let beside: u32 = bed.run(&["cat", &path]).parse().unwrap();
        assert!((1..=2).contains(&beside), "{beside} at a time");
    }
    bed.assert_clean();
}

#[test]
fn a_machine_that_cannot_be_reached_is_passed_over() {
    let bed = require!();
    bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
    let dead = testbed::MachineLine {
        uri: "ssh-ng://root@127.0.0.9".into(),
        speed_factor: "9".into(),
        ..bed.pair.machine_line()
    };
    bed.use_machines(&[dead.to_string(), bed.pair.machine_line().to_string()]);
    let out = built(&bed, &derivation("endpoint-passed-over", "echo > $out", ""));
    bed.assert_same_on_both(&out[0]);
    bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
    bed.assert_clean();
}

#[test]
fn no_machine_at_all() {
    let bed = require!();
    bed.use_machines(&[testbed::MachineLine {
        systems: "riscv64-linux".into(),
        ..bed.pair.machine_line()
    }
    .to_string()]);
    let output = build(
        &bed,
        &derivation("endpoint-nowhere", "echo > $out", ""),
        &[],
    );
    assert!(!output.status.success());
    assert!(
        output.stderr.contains("builds for riscv64-linux only"),
        "{}",
        output.stderr
    );
    bed.assert_clean();
}

#[test]
fn a_store_like_any_other() {
    let bed = require!();
    let store = format!("ssh-ng://localhost?remote-program={OUR_HOOK}");
    let nix = |arguments: &[&str]| {
        let command = [
            &["nix", "--extra-experimental-features", "nix-command"],
            arguments,
        ];
        bed.run(&command.concat())
    };
    nix(&["store", "ping", "--store", &store]);
    let out = built(
        &bed,
        &derivation("endpoint-store", "mkdir $out; echo a > $out/a", ""),
    );
    let info = nix(&["path-info", "--store", &store, "--json", &out[0]]);
    assert!(info.contains(&out[0]), "{info}");
    // From it into another store, and back to it.
    let other = "/tmp/other-store";
    nix(&[
        "copy",
        "--no-check-sigs",
        "--from",
        &store,
        "--to",
        other,
        &out[0],
    ]);
    assert_eq!(bed.run(&["cat", &format!("{other}{}/a", out[0])]), "a");
    bed.run(&["sh", "-c", "echo sent > /tmp/sent"]);
    let sent = bed.run(&["nix-store", "--store", other, "--add", "/tmp/sent"]);
    nix(&[
        "copy",
        "--no-check-sigs",
        "--from",
        other,
        "--to",
        &store,
        &sent,
    ]);
    assert_eq!(bed.run(&["cat", &sent]), "sent");
    // Builds asked for as paths are the coordinator's daemon's.
    let expression = derivation("endpoint-by-path", "echo by path > $out", "");
    let by_path = bed.run(&[
        "nix-build",
        "--no-out-link",
        "--store",
        &store,
        "-E",
        &expression,
    ]);
    assert_eq!(bed.run(&["cat", &by_path]), "by path");
    bed.assert_clean();
}
