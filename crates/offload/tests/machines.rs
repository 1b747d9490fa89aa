//! Machine lists: whatever their text, what was understood of it can be said again in every format.

use offload::machines::testing::{machines_nix, machines_toml};
use proptest::prelude::*;

/// One of these pieces, or something that is none.
fn piece(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let known = prop::sample::select(pieces).prop_map(str::to_owned);
    prop_oneof![9 => known, 1 => "\\PC{0,8}"]
}

const WORDS: &[&str] = &[
    "ssh://a",
    "ssh-ng://u@b:22",
    "a",
    "[::1]:22",
    "::1",
    "[fe80::1%25e]",
    "ssh://u%40@h",
    "ssh://x@y#z",
    "-",
    "x-linux",
    "x-linux,y-linux",
    "/etc/key",
    "0",
    "1",
    "8",
    "2.5",
    "-1",
    "1e300",
    "kvm",
    "kvm,,big",
    ",",
    "c3NoLWVkMjU1MTkgQQ==",
    "a?ssh-key=/k%20k",
    "a?compress=1&port=7",
    "a?remote-program=b%20c&remote-store=%27",
    "a?max-connections=3",
    "a?system-features=k&x=%26",
    "a?base64-ssh-public-host-key=c3NoLWVkMjU1MTkgQQ==",
];

const KEYS: &[&str] = &[
    "uri",
    "host",
    "user",
    "port",
    "protocol",
    "system-types",
    "ssh-key",
    "jobs",
    "speed-factor",
    "supported-features",
    "mandatory-features",
    "ssh-public-host-key",
    "enable",
    "remote-program",
    "remote-store",
    "daemon-socket",
    "compress",
    "compression-level",
    "max-connections",
    "overload-threshold",
];

const VALUES: &[&str] = &[
    "\"ssh://a\"",
    "\"u@b\"",
    "\"c;d\"",
    "\"e f\"",
    "\"\"",
    "\"-\"",
    "'ssh-ng'",
    "\"ssh://a?compress=1&x=#\"",
    "true",
    "false",
    "0",
    "1",
    "7",
    "-3",
    "2.5",
    "nan",
    "inf",
    "[]",
    "[\"x\"]",
    "[\"x\", \"y z\"]",
    "\"ssh-ed25519 AAAA\"",
    "{}",
    "\"a\\nb\"",
];

proptest! {
    #[test]
    fn any_lines(lines in prop::collection::vec(
        (prop::collection::vec(piece(WORDS), 0..9), piece(&["\n", ";", " # ", "\n\n", " ; "])), 0..6)
    ) {
        let text: String = lines.into_iter().map(|(words, end)| words.join(" ") + &end).collect();
        machines_nix(text.as_bytes());
    }

    #[test]
    fn any_tables(tables in prop::collection::vec(
        (piece(&["[machines.a]", "[machines.b]", "[machines.'c d']", "[machines.\"\\t\"]", "[machines]", "[other]"]),
         prop::collection::btree_map(piece(KEYS), piece(VALUES), 0..8)), 0..5)
    ) {
        let text: String = tables.into_iter().map(|(header, keys)| {
            let keys: String = keys.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            format!("{header}\n{keys}")
        }).collect();
        machines_toml(text.as_bytes());
    }

    /// Machines that are right most of the time.
    #[test]
    fn tables_that_are_right(
        addresses in prop::collection::vec(piece(&["uri = 'ssh://a'", "host = '::1'\nport = 7", "uri = 'ssh-ng://u@b?ssh-key=/k&compress=1&remote-program=a%20b&system-features=z'", "host = 'h'\nuser = 'a;b#c@ d'"]), 1..3),
        keys in prop::collection::vec(prop::sample::select(vec![
            "jobs = 7", "speed-factor = 0.1", "ssh-key = 'a b'", "ssh-key = '-'", "supported-features = ['a', 'b']",
            "remote-program = []", "remote-program = ['a', 'b']", "remote-program = ['a b']", "remote-store = ''", "remote-store = '#;'",
            "compress = true", "compress = false", "max-connections = 4", "ssh-public-host-key = 'a b c'", "enable = false",
        ]), 0..5)
    ) {
        let mut text = String::new();
        for (index, address) in addresses.iter().enumerate() {
            text += &format!("[machines.m{index}]\n{address}\n");
            let mut seen = std::collections::BTreeSet::new();
            for key in &keys {
                if seen.insert(key.split(' ').next()) {
                    text += &format!("{key}\n");
                }
            }
        }
        machines_toml(text.as_bytes());
    }
}
