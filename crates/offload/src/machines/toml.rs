//! Machine lists in TOML: Lix's (since 2.95), and everything that Lix's has no word for.
//!
//! ```toml
//! version = 1
//!
//! [machines.farm1]
//! uri = "ssh-ng://ci@farm1"
//! system-types = ["x86_64-linux", "i686-linux"]
//! jobs = 8
//! ```
//! A broken machine is skipped. Where the text as a whole is no TOML it is read table by table, so
//! that only the table with the mistake in it is lost.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue, Error, ValueDeserializer};
use serde::Deserialize;

use super::list::{MachineList, Place};
use super::{Compression, Machine, Origin, Problem, ProblemKind, Scheme, StoreUri, word};

/// The edition of the format that is read: Lix's first.
const VERSION: i64 = 1;

/// Whether a text is TOML rather than lines: whether it begins with `version =`, `machines.. =` or
/// a table `[machines..`, which no line of Nix's does.
pub(super) fn is_toml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    let Some(first) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) else {
        return false;
    };
    if let Some(table) = first.strip_prefix('[') {
        return table
            .trim_start_matches(['[', ' ', '\t'])
            .starts_with("machines");
    }
    let Some((key, _)) = first.split_once('=') else {
        return false;
    };
    let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.\"' \t".contains(c);
    let name = key.split('.').next().unwrap_or_default().trim();
    key.chars().all(is_key) && matches!(name, "version" | "machines")
}

/// Reads a text into `list`.
pub(super) fn read(text: &str, place: &Place, system: &str, list: &mut MachineList) {
    let ends = text.match_indices('\n').map(|(offset, _)| offset);
    let mut reader = Reader {
        place,
        system,
        line_ends: ends.collect(),
        base: 0,
        names: BTreeSet::new(),
        list,
    };
    let whole = match DeTable::parse(text) {
        Ok(document) => return reader.read_document(document.into_inner()),
        Err(error) => error,
    };
    let before = reader.list.problems.len();
    for section in sections(text) {
        reader.base = section.start;
        match DeTable::parse(&text[section]) {
            Ok(document) => reader.read_document(document.into_inner()),
            Err(error) => reader.refuse(&error),
        }
    }
    if reader.list.problems.len() == before {
        reader.base = 0;
        reader.refuse(&whole);
    }
}

/// The text's tables, and what stands before the first.
fn sections(text: &str) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if offset > 0 && line.trim_start().starts_with('[') {
            starts.push(offset);
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(a, b)| a..b)
        .collect()
}

struct Reader<'a> {
    place: &'a Place,
    system: &'a str,
    /// Where each line of the text ends.
    line_ends: Vec<usize>,
    /// Where in the text the document begins that is being read.
    base: usize,
    /// The machines of all documents.
    names: BTreeSet<String>,
    list: &'a mut MachineList,
}

impl Reader<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let offset = self.base + span.start;
        let before = self.line_ends.partition_point(|end| *end < offset);
        self.place.line(before + 1)
    }

    fn problem(&mut self, span: &Range<usize>, kind: ProblemKind) {
        let origin = self.origin(span);
        self.list.problems.push(Problem { origin, kind });
    }

    fn refuse(&mut self, error: &Error) {
        let span = error.span().unwrap_or_default();
        // What was expected follows on lines of their own.
        let message = error.message().trim().replace('\n', ", ");
        self.problem(&span, ProblemKind::Toml(message));
    }

    fn read_document(&mut self, document: DeTable<'_>) {
        let mut parts: Vec<_> = document.into_iter().collect();
        parts.sort_by_key(|(name, _)| (name.get_ref() != "version", name.span().start));
        for (name, value) in parts {
            let span = name.span();
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("version", DeValue::Integer(number)) => {
                    let text = number.to_string();
                    if text.parse() != Ok(VERSION) {
                        return self.problem(&span, ProblemKind::Version(text));
                    }
                }
                ("version", other) => {
                    let kind = ProblemKind::Version(other.type_str().to_owned());
                    return self.problem(&span, kind);
                }
                ("machines", DeValue::Table(_)) => {
                    if let DeValue::Table(machines) = value.into_inner() {
                        self.read_machines(machines);
                    }
                }
                ("machines", other) => {
                    let kind = ProblemKind::Machines(other.type_str());
                    self.problem(&span, kind);
                }
                (other, _) => {
                    let kind = ProblemKind::Name(other.to_owned());
                    self.problem(&span, kind);
                }
            }
        }
    }

    fn read_machines(&mut self, machines: DeTable<'_>) {
        let mut machines: Vec<_> = machines.into_iter().collect();
        machines.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in machines {
            let span = name.span();
            let name = name.into_inner().into_owned();
            if !self.names.insert(name.clone()) {
                let message = format!("machine is named twice: {name:?}");
                self.problem(&span, ProblemKind::Toml(message));
                continue;
            }
            let entry = match Entry::deserialize(ValueDeserializer::from(value)) {
                Ok(entry) => entry,
                Err(error) => {
                    self.refuse(&error);
                    continue;
                }
            };
            match entry.machine(name, self.system, self.origin(&span)) {
                Ok(machine) => self.list.machines.push(machine),
                Err((place, kind)) => self.problem(&place.unwrap_or(span), kind),
            }
        }
    }
}

/// A machine in words. The first nine are Lix's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
struct Entry {
    uri: Option<Spanned<String>>,
    system_types: Option<Spanned<Vec<String>>>,
    ssh_key: Option<String>,
    jobs: Option<u32>,
    speed_factor: Option<Spanned<f64>>,
    supported_features: Option<Spanned<Vec<String>>>,
    mandatory_features: Option<Spanned<Vec<String>>>,
    ssh_public_host_key: Option<Spanned<String>>,
    enable: Option<bool>,
    host: Option<Spanned<String>>,
    user: Option<String>,
    port: Option<u16>,
    protocol: Option<Protocol>,
    remote_program: Option<Words>,
    remote_store: Option<String>,
    daemon_socket: Option<String>,
    compress: Option<bool>,
    compression_level: Option<Spanned<u8>>,
    max_connections: Option<Spanned<u32>>,
    overload_threshold: Option<Spanned<f64>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Protocol {
    Ssh,
    SshNg,
}

/// A command: its words, or a line of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Words {
    List(Vec<String>),
    Line(String),
}

/// What is wrong with an entry, and where, unless it is the whole of it.
type Wrong = (Option<Range<usize>>, ProblemKind);

/// Checks a value, whose place goes with what is wrong with it.
fn check<T, U>(
    value: Spanned<T>,
    check: impl FnOnce(T) -> Result<U, ProblemKind>,
) -> Result<U, Wrong> {
    let span = value.span();
    check(value.into_inner()).map_err(|kind| (Some(span), kind))
}

impl Entry {
    fn machine(mut self, name: String, system: &str, origin: Origin) -> Result<Machine, Wrong> {
        let (uri, span) = self.address()?;
        let mut machine =
            Machine::from_uri(uri, system, origin).map_err(|kind| (Some(span), kind))?;
        machine.name = name;
        if let Some(systems) = self.system_types {
            let systems = check(systems, word::names)?;
            // As good as none: the host's own.
            if !systems.is_empty() {
                machine.systems = systems;
            }
        }
        machine.max_jobs = match self.enable {
            Some(false) => 0,
            _ => self.jobs.unwrap_or(1),
        };
        if let Some(factor) = self.speed_factor {
            machine.speed_factor = check(factor, word::speed_factor)?;
        }
        if let Some(features) = self.supported_features {
            machine
                .supported_features
                .extend(check(features, word::names)?);
        }
        if let Some(features) = self.mandatory_features {
            machine.mandatory_features = check(features, word::names)?;
        }
        if let Some(line) = self.ssh_public_host_key {
            machine.host_key = Some(check(line, |line| word::host_key(&line))?);
        }
        if let Some(threshold) = self.overload_threshold {
            machine.overload_threshold = Some(check(threshold, overload_threshold)?);
        }
        if let Some(number) = self.max_connections {
            let number = check(number, |n| word::max_connections(&n.to_string()))?;
            machine.max_connections = Some(number);
        }
        if let Some(compress) = self.compress {
            machine.compression = Compression::when(compress);
        }
        if let Some(level) = self.compression_level {
            let level = check(level, compression_level)?;
            if machine.compression.is_some() {
                machine.compression.level = level;
            }
        }
        // As in Nix, an empty text is none.
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        machine.ssh_key = said(self.ssh_key).map(PathBuf::from).or(machine.ssh_key);
        machine.remote_store = said(self.remote_store).or(machine.remote_store);
        machine.daemon_socket = said(self.daemon_socket);
        // It is the login shell there that makes words of them.
        let words = |line: String| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match self.remote_program {
            Some(Words::List(list)) => machine.remote_program = words(list.join(" ")),
            Some(Words::Line(line)) => machine.remote_program = words(line),
            None => {}
        }
        Ok(machine)
    }

    /// The URI, as such or in parts, and where it stands.
    fn address(&mut self) -> Result<(StoreUri, Range<usize>), Wrong> {
        let has_parts = self.user.is_some() || self.port.is_some() || self.protocol.is_some();
        match (self.uri.take(), self.host.take()) {
            (Some(uri), None) if !has_parts => {
                let span = uri.span();
                let uri = check(uri, |uri| Ok(StoreUri::parse(&uri)?))?;
                Ok((uri, span))
            }
            (None, Some(host)) => {
                let span = host.span();
                let scheme = match self.protocol {
                    Some(Protocol::Ssh) => Scheme::Ssh,
                    _ => Scheme::SshNg,
                };
                let user = self.user.as_deref();
                let uri = check(host, |host| {
                    Ok(StoreUri::from_parts(scheme, user, &host, self.port)?)
                })?;
                Ok((uri, span))
            }
            _ => Err((None, ProblemKind::Address)),
        }
    }
}

fn overload_threshold(load: f64) -> Result<f64, ProblemKind> {
    match load.is_finite() && load > 0.0 {
        true => Ok(load),
        false => Err(ProblemKind::OverloadThreshold(load.to_string())),
    }
}

fn compression_level(level: u8) -> Result<u8, ProblemKind> {
    match Compression::LEVELS.contains(&level) {
        true => Ok(level),
        false => Err(ProblemKind::CompressionLevel(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    fn read(text: &str) -> MachineList {
        read_builders(text, "x86_64-linux")
    }

    #[test]
    fn everything_that_a_machine_can_have() {
        let list = read(
            r#"
            version = 1
            [machines.farm1]
            host = "fe80::1%eth0"
            user = "ci"
            port = 2222
            protocol = "ssh"
            system-types = ["x86_64-linux", "i686-linux"]
            ssh-key = "/etc/nix/the key"
            ssh-public-host-key = "ssh-ed25519 AAAAC3Nz root@farm1"
            jobs = 8
            speed-factor = 2
            supported-features = ["kvm", "big-parallel"]
            mandatory-features = ["benchmark"]
            remote-program = ["sudo", "nix-daemon"]
            remote-store = "/data"
            daemon-socket = "/run/nix.socket"
            compress = true
            compression-level = 3
            max-connections = 4
            overload-threshold = 0.8
            enable = true
            "#,
        );
        assert_eq!(list.problems, []);
        insta::assert_debug_snapshot!(list.machines);
    }

    /// The example of Lix's manual, and what it says of the keys.
    #[test]
    fn what_lix_reads() {
        let list = read(
            r#"version = 1
[machines.granite]
uri = "ssh://lix@granite.lix.systems?port=1337" # toml also allows for comments
system-types = ["i686-linux"]
jobs = 1
speed-factor = 2.0
supported-features = ["kvm", "benchmark"]
ssh-key = "/home/deepslate/.ssh/id_ed25519"
[machines.andesite]
uri = "lix@andesite.lix.systems"
[machines.legacy]
uri = "ssh://nix@nix-15-11.nixos.org"
enable = false
"#,
        );
        assert_eq!(list.problems, []);
        let short = list.machines.iter().map(|m| {
            format!(
                "{} {} {:?} {:?} {} {} {:?} {}",
                m.name,
                m.uri,
                m.uri.port(),
                m.systems,
                m.max_jobs,
                m.speed_factor,
                m.supported_features,
                m.origin
            )
        });
        insta::assert_snapshot!(short.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_broken_machine_is_named_and_the_others_stand() {
        let list = read(
            r#"version = 1
flavour = "sweet"
[machines.good]
uri = "ssh://good"
[machines.a]
[machines.b]
uri = "ssh://b"
job = 8
[machines.c]
uri = "ssh://c"
jobs = -3
[machines.d]
uri = "ssh://d"
jobs = "three"
[machines.e]
uri = "ssh://e"
speed-factor = -3.0
[machines.f]
uri = "http://f"
[machines.g]
host = "g"
uri = "ssh://g"
[machines.h]
uri = "ssh://h"
user = "h"
[machines.i]
uri = "ssh://i"

supported-features = ["a,b"]
[machines.j]
uri = "ssh://j"
ssh-public-host-key = "AAAA"
[machines.k]
uri = "ssh://k"
remote-program = 7
[machines.l]
uri = "ssh://l"
compression-level = 10
[machines.m]
uri = "ssh://m"
max-connections = 0
[machines.n]
uri = "ssh://n"
overload-threshold = 0
[machines.o]
host = "o"
protocol = "telnet"
[machines.p]
uri = "ssh://p?compress=perhaps"
[machines]
q = "ssh://q"
[machines.last]
uri = "ssh://last"
"#,
        );
        let problems: Vec<_> = list.problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
        let names: Vec<_> = list.machines.iter().map(|m| &*m.name).collect();
        assert_eq!(names, ["good", "last"]);
    }

    #[test]
    fn a_table_that_is_no_toml_is_named_and_the_others_stand() {
        let list = read(
            r#"version = 1
[machines.a]
uri = "ssh://a"
[machines.b
uri = "ssh://b"
[machines.c]
uri = "ssh://c
jobs = 8
[machines.d]
uri = "ssh://d"
 = 5
[machines.a]
uri = "ssh://again"
[machines.e]
uri = "ssh://e"
"#,
        );
        let problems: Vec<_> = list.problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
        let names: Vec<_> = list.machines.iter().map(|m| m.uri.host()).collect();
        assert_eq!(names, ["a", "e"]);
    }

    #[test]
    fn documents_that_are_no_machine_list() {
        let problems = |text: &str| {
            let list = read(text);
            assert_eq!(list.machines, []);
            let problems = list.problems.iter().map(ToString::to_string);
            problems.collect::<Vec<_>>().join("; ")
        };
        let texts = [
            "version = 42\nmachines = {}",
            "version = -1\n[machines.a]\nuri = 'ssh://a'",
            "version = \"1\"\n[machines.a]\nuri = 'ssh://a'",
            "[[machines]]\nuri = 'ssh://a'",
            "machines = 'ssh://a'",
            "version = ",
            "machines.a = { uri = 'ssh://a'",
        ];
        insta::assert_snapshot!(texts.map(problems).join("\n"));
    }

    #[test]
    fn lines_of_nix_are_no_toml() {
        for text in [
            "",
            "# version = 1",
            "ssh://a",
            "[::1]:22 x86_64-linux",
            "machines.example.org - /k 8",
            "machines.example.org?ssh-key=/k",
            "version x - 1",
            "@/etc/offload/machines.toml",
        ] {
            assert!(!is_toml(text), "{text}");
        }
        for text in [
            "version=1",
            "\n# x\n  [machines.a]",
            "[[machines]]",
            "[ machines . a ]",
            "machines.a.uri = 'ssh://a'",
            "machines . \"a b\" = {}",
        ] {
            assert!(is_toml(text), "{text}");
        }
    }
}
