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

#[test]
fn a_daemon_that_hangs_up_before_it_has_said_anything_is_told_so() {
    let output = offload(&["3"], b"");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @r#"@nix {"action":"msg","level":0,"msg":"offload: the daemon's request makes no sense: failed to read the settings: the stream ends in their middle, at byte 0"}"#);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_daemon_that_talks_nonsense_is_told_so() {
    let output = offload(&["3"], b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @r#"@nix {"action":"msg","level":0,"msg":"offload: the daemon's request makes no sense: failed to decode a boolean from 6073139484287059271 at byte 0"}"#);
}

#[test]
fn a_person_without_words_gets_help() {
    let output = offload(&[], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: offload <COMMAND>"));
    let version = offload(&["--version"], b"");
    assert!(text(&version.stdout).starts_with("offload "));
}
