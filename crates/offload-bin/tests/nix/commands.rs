//! What a person asks about machines: `offload machines`, `test`, `status` and `explain`, with real hosts.

use serde_json::Value;
use testbed::MachineLine;

use crate::{
    bed::{Bed, OUR_HOOK, bed, derivation, ours},
    trouble::make_key,
    ways::{add_user, restricted_key},
};

/// Runs the program on the coordinator, as root. Returns its exit code and what it printed.
fn offload(bed: &Bed, arguments: &[&str]) -> (Option<i32>, String) {
    let command = [&[OUR_HOOK], arguments].concat();
    let output = bed.pair.coordinator.exec(&command).expect("it ends");
    assert!(
        output.stderr.is_empty() || output.status.code() != Some(0),
        "{}",
        output.stderr
    );
    (output.status.code(), output.stdout)
}

/// The same with `--json`: the exit code, and what is said of each machine.
fn of_machines(bed: &Bed, command: &str) -> (Option<i32>, Vec<Value>) {
    let (code, printed) = offload(bed, &[command, "--json"]);
    let document: Value = serde_json::from_str(&printed).expect("JSON is printed");
    let machines = document["machines"].as_array().expect("a list").clone();
    (code, machines)
}

/// A good machine; one with another's host key; one whose key is refused; one without a daemon; one whose key allows
/// the serve protocol only; and one where nobody listens.
fn all_kinds(bed: &Bed) -> [MachineLine; 6] {
    let good = bed.pair.machine_line();
    make_key(bed, "/root/.ssh/stranger", "");
    let restriction = "restrict,command=\"nix-store --serve --write\"";
    [
        good.clone(),
        MachineLine {
            host_key: bed.pair.extra_machine_line(Bed::SECOND).host_key,
            ..good.clone()
        },
        MachineLine {
            key: "/root/.ssh/stranger".into(),
            ..good.clone()
        },
        bed.pair.extra_machine_line(Bed::WITHOUT_STORE),
        restricted_key(bed, "root", "/root", restriction),
        MachineLine {
            uri: "ssh-ng://root@127.0.0.9".into(),
            ..good
        },
    ]
}

fn use_machines(bed: &Bed, machines: &[MachineLine]) {
    bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
    bed.use_machines(&machines.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// The path that was imported is valid on the builder alone, and garbage there.
fn assert_garbage(bed: &Bed, path: &str) {
    let builder = &bed.pair.builder;
    let check = ["nix-store", "--check-validity", path];
    builder.run(&check).expect("it is valid there");
    let here = bed.pair.coordinator.exec(&check).expect("it ends");
    assert!(!here.status.success(), "{path} is registered here");
    let delete = ["nix-store", "--delete", path];
    builder.run(&delete).expect("it is garbage");
}

#[test]
fn machines_are_tested_step_by_step() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    use_machines(&bed, &all_kinds(&bed));
    let (code, machines) = of_machines(&bed, "test");
    assert_eq!(code, Some(1));
    let failed: Vec<_> = machines
        .iter()
        .map(|m| m["failed"]["step"].as_str())
        .collect();
    let expected = [
        None,
        Some("host key"),
        Some("authentication"),
        Some("daemon"),
        None,
        Some("connection"),
    ];
    assert_eq!(failed, expected, "{machines:#?}");
    for (machine, way) in [(&machines[0], "socket"), (&machines[4], "serve")] {
        assert_eq!(machine["way"], way);
        let steps = machine["passed"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["step"], "export");
        assert_garbage(&bed, machine["imported"].as_str().unwrap());
    }
    for machine in machines.iter().filter(|m| m["failed"].is_object()) {
        assert!(!machine["failed"]["advice"].as_str().unwrap().is_empty());
    }

    // In words, and for machines that are all good.
    let all = all_kinds(&bed);
    use_machines(&bed, &[all[0].clone(), all[4].clone()]);
    let (code, said) = offload(&bed, &["test"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 machines would do"), "{said}");
    bed.assert_clean();
}

#[test]
fn a_user_whom_the_builder_does_not_trust_may_be_tested() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    add_user(&bed);
    let line = restricted_key(&bed, "worker", "/home/worker", "");
    let home = ["chown", "-R", "1234:1234", "/home/worker"];
    bed.pair.builder.run(&home).unwrap();
    use_machines(&bed, &[line]);
    let (code, machines) = of_machines(&bed, "test");
    assert_eq!(code, Some(0), "{machines:#?}");
    assert_garbage(&bed, machines[0]["imported"].as_str().unwrap());
    let (_, machines) = of_machines(&bed, "status");
    // Nix tells from 2.11 on.
    let trusted = &machines[0]["trusted"];
    assert!(
        trusted.is_null() || trusted == &Value::Bool(false),
        "{trusted}"
    );
    bed.assert_clean();
}

#[test]
fn how_machines_stand() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    use_machines(&bed, &all_kinds(&bed));
    let (code, machines) = of_machines(&bed, "status");
    assert_eq!(code, Some(1));
    let reachable: Vec<_> = machines
        .iter()
        .map(|m| m["reachable"].as_bool().unwrap())
        .collect();
    assert_eq!(reachable, [true, false, false, false, true, false]);
    let [good, serve] = [&machines[0], &machines[4]];
    assert!(
        good["load"].as_array().is_some_and(|load| load.len() == 3),
        "{good:#}"
    );
    assert!(
        good["cores"].as_u64().is_some_and(|cores| cores > 0),
        "{good:#}"
    );
    let disk = &good["disk"];
    assert!(disk["free"].as_u64() <= disk["total"].as_u64() && disk["total"].is_u64());
    assert_eq!(good["slots"]["used"], 0);
    assert_eq!(good["slots"]["total"], 8);
    // Its key runs one command only.
    assert!(serve["load"].is_null() && serve["cores"].is_null() && serve["disk"].is_null());
    bed.assert_clean();
}

#[test]
fn an_outage_ends_when_the_machine_is_seen() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    use_machines(&bed, &[bed.pair.machine_line()]);
    bed.built(&derivation("before-outage", "echo > $out", ""));
    let edit = "s/\"way\"/\"outage\": {\"failures\": 3, \"last\": 99999999999, \"reason\": \"x\"}, \"way\"/";
    let files = "sed -i \"$0\" /nix/var/nix/offload/*.json";
    bed.run(&["sh", "-c", files, edit]);
    let (_, machines) = of_machines(&bed, "status");
    assert_eq!(machines[0]["outage"]["failures"], 3);
    let (_, machines) = of_machines(&bed, "status");
    assert!(machines[0]["outage"].is_null(), "{:#}", machines[0]);
    bed.assert_clean();
}

#[test]
fn what_the_hook_would_choose() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let slow = MachineLine {
        supported_features: "special".into(),
        ..bed.pair.machine_line()
    };
    let fast = MachineLine {
        speed_factor: "2".into(),
        ..bed.pair.extra_machine_line(Bed::SECOND)
    };
    use_machines(&bed, &[slow, fast]);
    let (code, said) = offload(&bed, &["explain"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("goes to ssh-ng://root@127.0.0.2"), "{said}");
    let (code, said) = offload(&bed, &["explain", "--features", "special"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("goes to ssh-ng://root@127.0.0.1"), "{said}");
    assert!(
        said.contains("no ssh-ng://root@127.0.0.2 lacks feature special"),
        "{said}"
    );
    let (code, _) = offload(&bed, &["explain", "--system", "riscv64-linux"]);
    assert_eq!(code, Some(1));

    let special = derivation(
        "explained",
        "echo > $out",
        "requiredSystemFeatures = [ \"special\" ]; preferLocalBuild = true;",
    );
    let [drv, _] = bed.instantiated(&special);
    let (code, said) = offload(&bed, &["explain", "--derivation", &drv]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("with special goes to ssh-ng://root@127.0.0.1"),
        "{said}"
    );
    assert!(
        said.contains("note: it is better built on this host"),
        "{said}"
    );
    let (code, said) = offload(&bed, &["explain", "--derivation", "/nix/store/none.drv"]);
    assert_eq!(code, Some(2), "{said}");
}

/// The lists of this host, and a build by a list in TOML.
#[test]
fn a_list_in_toml_builds() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let (code, toml) = offload(&bed, &["machines", "--to", "toml"]);
    assert_eq!(code, Some(0));
    bed.pair
        .coordinator
        .write_file("/etc/offload/machines.toml", &toml)
        .unwrap();
    bed.use_machines(&["@/etc/offload/machines.toml".to_owned()]);
    let (code, machines) = of_machines(&bed, "machines");
    assert_eq!(code, Some(0));
    assert_eq!(machines.len(), 1, "{machines:#?}");
    assert_eq!(machines[0]["source"], "/etc/offload/machines.toml");
    let expression = derivation("by-toml", "echo > $out", "");
    let output = bed.build(&expression, &[]);
    bed.run(&["rm", "/etc/offload/machines.toml"]);
    // The daemon of 2.3.7 reads the list, too, and knows lines only.
    if bed.run(&["nix-store", "--version"]).contains(" 2.3.") {
        assert!(!output.status.success());
        assert!(output.stderr.contains("stoull"), "{}", output.stderr);
        return;
    }
    assert!(output.status.success(), "{}\n{}", output.stderr, bed.logs());
    bed.assert_same_on_both(output.stdout.trim_end());
    bed.assert_clean();
}

/// What is looked at is what the hook goes by: a list that nothing names is told of and not read, and where `builders`
/// names the endpoint, its list is.
#[test]
fn the_list_is_that_of_the_hook() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let own = "/etc/offload/machines.toml";
    let toml = "machines.other.uri = 'ssh-ng://other'\n";
    bed.pair.coordinator.write_file(own, toml).unwrap();
    let explain = |variables: &[&str]| {
        let command = [&["env"], variables, &[OUR_HOOK, "explain", "--json"]].concat();
        let output = bed.pair.coordinator.exec(&command).expect("it ends");
        let document: Value = serde_json::from_str(&output.stdout).expect("JSON is printed");
        let candidates = document["candidates"].as_array().expect("a list");
        let machines = candidates.iter().map(|machine| machine["machine"].clone());
        (machines.collect::<Vec<_>>(), output.stderr)
    };
    let (machines, said) = explain(&[]);
    let hooks = bed.pair.machine_line().uri;
    assert_eq!(machines, [hooks.as_str()]);
    assert!(said.contains(own), "{said}");
    let output = bed.build(&derivation("by-the-hooks-list", "echo > $out", ""), &["-v"]);
    assert!(
        output.stderr.contains(&format!("on {hooks}")),
        "{}",
        output.stderr
    );

    let line = bed.run(&[OUR_HOOK, "store", "--print-builders"]);
    let (machines, said) = explain(&[&format!("NIX_CONFIG=builders = {line}")]);
    bed.run(&["rm", own]);
    assert_eq!(machines, ["other"]);
    assert_eq!(said, "");
    bed.assert_clean();
}
