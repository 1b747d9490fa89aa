//! Strategies for property tests, and the oracle of the fuzz target.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::parse::{Line, parse};
use super::print::Form;
use super::resolve::{Subject, resolve};
use super::{CommandLine, Options};

fn read(text: &str) -> Vec<Line> {
    parse(text, &Arc::from(Path::new("config")))
}

fn options(lines: &[Line]) -> Options {
    let subject = Subject {
        host: "farm1",
        local_user: "root",
    };
    resolve(std::iter::once(lines), subject)
}

/// What holds for any text: lines are read for themselves, wherever the text is cut; what they
/// mean reads back from a file that says just that; and the same text as `NIX_SSHOPTS` and as a
/// value with tokens is at least survived.
pub(in crate::link) fn oracle(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = read(&text);
    let all = options(&lines);
    if let Some(cut) = text.find('\n') {
        let before = read(&text[..cut]);
        let mut after = read(&text[cut + 1..]);
        for line in &mut after {
            line.place.line += 1;
        }
        let together: Vec<Line> = before.into_iter().chain(after).collect();
        assert_eq!(lines, together);
    }
    let printed = all.print(Form::Line);
    let again = options(&read(&printed));
    assert!(again.warnings.is_empty(), "{printed}\n{:?}", again.warnings);
    let expected = Options {
        warnings: Vec::new(),
        ..all
    };
    assert_eq!(again, expected, "{printed}");
    let _ = options(CommandLine::of_sshopts(&text).lines());
    let _ = super::host_name(&text, "farm1");
}

/// Words that mean something, and some that do not.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "yes",
            "no",
            "none",
            "22",
            "1m",
            "farm1",
            "farm*",
            "!farm1",
            "*",
            "a,b",
            "all",
            "final",
            "host",
            "user",
            "originalhost",
            "~/.ssh/%h",
            "\"a b\"",
            "root",
            "inet6",
            "canonical",
            "u@gate:23",
            "ask",
            "exec",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ]
}

fn keyword() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Host",
        "Host",
        "Match",
        "Match",
        "HostName",
        "Port",
        "User",
        "IdentityFile",
        "IdentitiesOnly",
        "IdentityAgent",
        "UserKnownHostsFile",
        "GlobalKnownHostsFile",
        "HostKeyAlias",
        "ProxyJump",
        "ProxyCommand",
        "ConnectTimeout",
        "ServerAliveInterval",
        "ServerAliveCountMax",
        "AddressFamily",
        "BindAddress",
        "Compression",
        "CertificateFile",
        "StrictHostKeyChecking",
        "Ciphers",
        "ForwardAgent",
        "IgnoreUnknown",
        "Bogus",
        "#",
    ])
}

/// Files that say something most of the time.
pub(in crate::link) fn file() -> impl Strategy<Value = String> {
    let line = (keyword(), prop::collection::vec(word(), 0..4))
        .prop_map(|(keyword, words)| format!("{keyword} {}\n", words.join(" ")));
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

/// Values that OpenSSH understands, by keyword.
#[cfg(test)]
const VALID: &[(&str, &[&str])] = &[
    (
        "Host",
        &[
            "farm1",
            "farm?",
            "f*",
            "other",
            "*",
            "!farm1 *",
            "* !other",
            "FARM1",
            "a \"farm1\"",
        ],
    ),
    (
        "Match",
        &[
            "all",
            "final all",
            "final host farm1.example",
            "canonical",
            "!final",
            "host farm1",
            "host *.example",
            "host FARM1,x",
            "!host farm1",
            "originalhost farm?",
            "originalhost farm1 user ci",
            "user root",
            "!user root,other",
            "user ci,!root",
            "localuser * host=f*",
        ],
    ),
    (
        "HostName",
        &["farm1.example", "%h.example", "%%h", "Farm1", "other"],
    ),
    ("Port", &["22", "2222", "=23", "65535", "022"]),
    ("User", &["ci", "root", "\"a b\"", "%u"]),
    (
        "IdentityFile",
        &["~/.ssh/%h", "/a", "\"/b c\"", "none", "/d#e"],
    ),
    ("CertificateFile", &["~/c", "/a"]),
    ("IdentitiesOnly", &["yes", "no", "True"]),
    (
        "IdentityAgent",
        &["none", "SSH_AUTH_SOCK", "$AGENT", "/agent"],
    ),
    ("GlobalKnownHostsFile", &["/a", "/a \"/b c\"", "none"]),
    ("HostKeyAlias", &["alias", "%h"]),
    (
        "ProxyJump",
        &[
            "gate",
            "me@gate:23",
            "a,b@c,[::1]:1",
            "none",
            "ssh://u@gate:24",
            "gate # x",
        ],
    ),
    (
        "ProxyCommand",
        &["nc %h %p", "none", "sh -c \"a  b\" # c", "= x"],
    ),
    ("ConnectTimeout", &["5", "1m30", "none", "0", "1H"]),
    ("ServerAliveInterval", &["5", "1m", "0"]),
    ("ServerAliveCountMax", &["5", "0"]),
    ("AddressFamily", &["any", "inet", "INET6"]),
    ("BindAddress", &["::1", "10.0.0.1"]),
    ("Compression", &["yes", "no"]),
    ("RevokedHostKeys", &["/r", "none"]),
    ("StrictHostKeyChecking", &["yes", "ask", "no", "accept-new"]),
    ("UserKnownHostsFile", &["/a /b", "none"]),
    ("ForwardAgent", &["yes", "no"]),
    ("SendEnv", &["LANG LC_*"]),
    ("LogLevel", &["ERROR"]),
    ("CanonicalizeHostname", &["no"]),
    ("IgnoreUnknown", &["Bog*", "Other"]),
    ("# Port", &["1"]),
];

/// Files that OpenSSH takes.
#[cfg(test)]
pub(super) fn valid_file() -> impl Strategy<Value = String> {
    let value = prop::sample::select(VALID).prop_flat_map(|(keyword, values)| {
        prop::sample::select(values).prop_map(move |value| format!("{keyword} {value}\n"))
    });
    // Blocks are what it is about, so that every other line begins one.
    let block = prop::sample::select(&VALID[..2]).prop_flat_map(|(keyword, values)| {
        prop::sample::select(values).prop_map(move |value| format!("{keyword} {value}\n"))
    });
    let some = prop_oneof![2 => value, 1 => block];
    prop::collection::vec(some, 1..24).prop_map(|lines| lines.concat())
}
