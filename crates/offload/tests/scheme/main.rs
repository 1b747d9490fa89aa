//! Guix's machine files: what is read of them, what is said about them, and that the real Guix sees the same.
//!
//! `tests/machines` holds the files. Beside each stands what `guix repl` of 1.2.0 and 1.5.0 made of it. Those are compared
//! here; in the root folders below `OFFLOAD_ROOTS` that have Guix it is asked anew, and with `OFFLOAD_RECORD=1` its
//! answers are kept.

mod evaluation;
mod parity;

use std::io;
use std::path::{Path, PathBuf};

use offload::machines::scheme::{Reading, Surroundings, read_scheme};
use offload::machines::{Machine, MachineList};

/// Where the files are for Guix.
const INSIDE: &str = "/srv/machines";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines")
}

/// The names of the files, without `.scm`.
fn names() -> Vec<String> {
    let entries = folder().read_dir().expect("it is there");
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().ok()?;
            Some(name.strip_suffix(".scm")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// What stands in `/srv/machines` is in the folder.
fn read_inside(path: &Path) -> io::Result<String> {
    let name = path.strip_prefix(INSIDE).map_err(io::Error::other)?;
    std::fs::read_to_string(folder().join(name))
}

fn read(name: &str) -> Reading {
    let text = std::fs::read_to_string(folder().join(format!("{name}.scm"))).expect("it is there");
    let surroundings = Surroundings {
        variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
        read: &read_inside,
    };
    read_scheme(&text, &format!("{INSIDE}/{name}.scm"), surroundings)
}

/// A machine in a line.
fn show(machine: &Machine) -> String {
    let Machine {
        name,
        uri,
        systems,
        ssh_key,
        max_jobs,
        speed_factor,
        supported_features,
        mandatory_features,
        host_key,
        compression,
        daemon_socket,
        overload_threshold,
        origin,
        // Guix has none of these.
        remote_program: _,
        remote_store: _,
        max_connections: _,
        is_complete: _,
    } = machine;
    assert!(mandatory_features.is_empty());
    let ssh_key = ssh_key.as_deref().unwrap_or(Path::new("-"));
    let (socket, host_key) = (
        daemon_socket.as_deref().unwrap_or("-"),
        host_key.as_deref().unwrap_or("-"),
    );
    format!(
        "{origin}: {name} {uri} systems {systems:?} key {ssh_key:?} host key {host_key:?} compression {compression} \
         socket {socket} threshold {overload_threshold:?} builds {max_jobs} speed {speed_factor} features \
         {supported_features:?}"
    )
}

fn show_list(list: &MachineList) -> String {
    let machines = list.machines.iter().map(show);
    let problems = list.problems.iter().map(ToString::to_string);
    machines.chain(problems).map(|line| line + "\n").collect()
}

#[test]
fn what_is_read_of_each_file() {
    let shown = names().into_iter().map(|name| match read(&name) {
        Reading::Machines(list) => show_list(&list),
        Reading::NotStatic(form) => format!("{form}\n"),
    });
    let shown: String = shown.collect();
    insta::assert_snapshot!(shown.replace(&format!("{INSIDE}/"), ""));
}

/// Words of programs, in any order.
const WORDS: [&str; 46] = [
    "(",
    "(",
    "(",
    ")",
    ")",
    ")",
    "[",
    "]",
    "'",
    "`",
    ",",
    ",@",
    ".",
    "#;",
    "#|",
    "|#",
    "#!",
    ";\n",
    "\n",
    "\"a\"",
    "\"\\x41\"",
    "\"",
    "1",
    "-2.5",
    "1/2",
    "#f",
    "#t",
    "define",
    "list",
    "append",
    "cons",
    "string-append",
    "getenv",
    "\"HOME\"",
    "if",
    "@",
    "(ice-9 textual-ports)",
    "call-with-input-file",
    "\"/key\"",
    "get-string-all",
    "build-machine",
    "inherit",
    "(name \"a\")",
    "(user \"u\") (host-key \"t k\") (systems '(\"s\"))",
    "machine",
    "(use-modules (srfi srfi-1))",
];

proptest::proptest! {
    #[test]
    fn every_program_is_read_or_told_where_it_is_not(
        words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..60),
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let oracle = offload::machines::scheme::testing::machine_file;
        oracle(words.concat().as_bytes());
        oracle(words.join(" ").as_bytes());
        oracle(&bytes);
    }
}
