//! The program as a person and a daemon call it, without any real peer.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn offload(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_offload"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads its input");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demonstration_builds_and_leaves_nothing_behind() {
    let output = offload(&["demo"], b"");
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    for part in [
        "# accept",
        "build log    > Hello from the coordinator.",
        "1 inputs sent, 1 outputs received",
        "hook         exits with 0",
        "And back, from a builder that ran as process",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    let store = shown
        .lines()
        .find_map(|line| line.split_once("its store is "))
        .map(|(_, path)| path.to_owned());
    let store = store.expect("the store is named");
    assert!(!std::path::Path::new(&store).exists(), "{store} is left");
}

#[test]
fn a_kept_demonstration_keeps_both_stores() {
    let output = offload(&["demo", "--keep"], b"");
    let shown = text(&output.stdout);
    let folder = shown.lines().find_map(|line| {
        let rest = line.strip_prefix("Both stores are kept in ")?;
        rest.strip_suffix('.')
    });
    let folder = std::path::Path::new(folder.expect("the folder is named")).to_owned();
    let kept = [
        "machine/store",
        "coordinator/store",
        "coordinator/state/db/db.sqlite",
    ];
    for part in kept {
        assert!(folder.join(part).exists(), "{part} is missing");
    }
    std::fs::remove_dir_all(&folder).expect("its directories are writable");
}

/// What is said but for that nobody takes a build's log: which descriptors there are here is up to who runs tests.
fn but_for_the_log(output: &Output) -> String {
    let said = text(&output.stderr);
    let lines = said.lines();
    let lines = lines.filter(|line| !line.contains("the logs of builds are lost"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_log_that_nobody_takes_is_told_once() {
    let said = |redirection: &str| {
        let script = format!("exec \"$0\" 3 {redirection}");
        let shell = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_offload")])
            .stdin(Stdio::null())
            .output();
        let said = text(&shell.expect("there is a shell").stderr);
        let lines = said.lines().filter(|line| line.contains("logs"));
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!([said("4>&-"), said("4</dev/null")].join("\n"), @"
    offload: the logs of builds are lost: descriptor 4 is not opened: No such file or directory (os error 2)
    offload: the logs of builds are lost: descriptor 4 is no pipe
    ");
    assert_eq!(said("4>&1 | cat"), "");
}

#[test]
fn a_daemon_that_hangs_up_before_it_has_said_anything_is_told_so() {
    let output = offload(&["3"], b"");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(but_for_the_log(&output), @r#"@nix {"action":"msg","level":0,"msg":"offload: the daemon's request makes no sense: failed to read the settings: the stream ends in their middle, at byte 0"}"#);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_daemon_that_talks_nonsense_is_told_so() {
    let output = offload(&["3"], b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(but_for_the_log(&output), @r#"@nix {"action":"msg","level":0,"msg":"offload: the daemon's request makes no sense: failed to decode a boolean from 6073139484287059271 at byte 0"}"#);
}

#[test]
fn a_person_without_words_gets_help() {
    let output = offload(&[], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: offload <COMMAND>"));
    let version = offload(&["--version"], b"");
    assert!(text(&version.stdout).starts_with("offload "));
}

/// A folder in which nothing of this host's configuration is found.
fn with_list(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("machines");
    std::fs::write(&file, text).expect("it is written");
    let name = file.display().to_string();
    (folder, name)
}

#[test]
fn machines_are_listed_and_converted() {
    let (_folder, list) = with_list("ssh://a x-linux - 4\nhttp://b\n");
    let listed = offload(&["machines", &list], b"");
    assert_eq!(listed.status.code(), Some(1));
    let shown = text(&listed.stdout) + &text(&listed.stderr);
    insta::assert_snapshot!(shown.replace(&list, "LIST"), @r#"
    ssh://a
      from                 LIST:1
      systems              x-linux
      builds at a time     4
      speed factor         1
      private key          the user's own
      host key             known_hosts

    LIST: read
    offload: LIST:2: machine skipped: store URI has a scheme other than ssh and ssh-ng: "http"
    "#);
    let (_folder, list) = with_list("ssh://a x-linux - 4\n");
    let converted = offload(&["machines", "--to", "lix", &list], b"");
    assert_eq!(converted.status.code(), Some(0));
    let (_folder, again) = with_list(&text(&converted.stdout));
    let back = offload(&["machines", "--to", "nix", &again], b"");
    assert_eq!(text(&back.stdout), "ssh://a x-linux - 4 1 - - -\n");
    let document = offload(&["machines", "--json", &again], b"");
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).expect("JSON");
    assert_eq!(document["machines"][0]["max-jobs"], 4);
}

#[test]
fn guixs_machines_are_listed_and_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("machines.scm");
    let list = r#"(define me "ci")
        (list (build-machine (name "farm1") (systems '("x86_64-linux")) (user me) (port 2200)
                (host-key "ssh-ed25519 AAAA") (private-key "/k") (parallel-builds 3)))"#;
    std::fs::write(&file, list).expect("the file is written");
    let name = file.display().to_string();
    let shown = offload(&["machines", &name], b"");
    let plain = text(&shown.stdout).replace(&folder.path().display().to_string(), "DIR");
    assert!(shown.status.success(), "{plain}{}", text(&shown.stderr));
    let toml = offload(&["machines", &name, "--to", "toml"], b"");
    insta::assert_snapshot!(format!("{plain}\n{}", text(&toml.stdout)));
}

#[test]
fn a_machine_that_nobody_listed_is_a_mistake_of_whoever_names_it() {
    let (_folder, list) = with_list("ssh://a\n");
    for command in ["test", "status", "explain"] {
        let output = offload(&[command, "--list", &list, "b"], b"");
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = text(&output.stderr);
        assert_eq!(said, "offload: no machine is called b; there are ssh://a\n");
        let output = offload(&[command, "--no-such-option"], b"");
        assert_eq!(output.status.code(), Some(2), "{command}");
    }
}

#[test]
fn a_list_that_is_not_there_or_not_understood_is_trouble() {
    let (folder, half) = with_list("ssh://a x-linux\nssh://b x-linux - many\n");
    let missing = folder.path().join("machines.scm").display().to_string();
    let explain = ["explain", "--system", "x-linux", "--list"];
    for (command, list, problem) in [
        (&explain[..], &*half, ":2: machine skipped: "),
        (&["machines"], &half, ":2: machine skipped: "),
        (&["machines"], "no-such-file.toml", "there is no such file"),
        (&["machines"], &missing, "there is no such file"),
        (
            &["test", "--list"],
            "/no/such-file",
            "there is no such file",
        ),
        (&["status", "--list"], &missing, "there is no such file"),
        (&["offload", "status"], &missing, "there is no such file"),
    ] {
        let output = offload(&[command, &[list]].concat(), b"");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?} {list}: {said}");
        assert!(said.contains(problem), "{command:?} {list}: {said}");
    }
    let output = offload(
        &["store", "--print-builders", "--list", "/no/such-file"],
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let why = "there is no machine to build on in /no/such-file; --machines names another list";
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_build_goes_where_it_can() {
    let (_folder, list) = with_list("ssh://a x-linux - 4 1 kvm\nssh://b x-linux\n");
    let explain = |arguments: &[&str]| {
        let all = [
            &["explain", "--list", &list, "--system", "x-linux"],
            arguments,
        ]
        .concat();
        let output = offload(&all, b"");
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = explain(&["--features", "kvm"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("goes to ssh://a"), "{said}");
    assert!(said.contains("no ssh://b lacks feature kvm"), "{said}");
    let (code, said) = explain(&["--features", "kvm,big-parallel"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("goes nowhere"), "{said}");
}

#[test]
fn no_machines_are_no_trouble() {
    for command in ["test", "status"] {
        let output = offload(&[command, "--list", ""], b"");
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(text(&output.stdout).contains("no machines"), "{command}");
    }
}

#[test]
fn the_help_of_every_command() {
    let commands: [&[&str]; 6] = [
        &["machines"],
        &["test"],
        &["status"],
        &["explain"],
        &["offload"],
        &["offload", "test"],
    ];
    let helps = commands.map(|command| {
        let output = offload(&[command, &["--help"]].concat(), b"");
        assert!(output.status.success());
        text(&output.stdout)
    });
    insta::assert_snapshot!(helps.join("\n----\n"));
}
