//! Machine lists in another format than the one that they were read from.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use data_encoding::BASE64;
use serde::Serialize;

use super::store_uri::encode;
use super::{Compression, Machine, Scheme, StoreUri};

/// The formats that lists are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Nix's lines: `/etc/nix/machines`.
    Nix,
    /// TOML with everything that a machine can have: `/etc/offload/machines.toml`.
    Toml,
    /// TOML with those words only that Lix knows (2.95).
    Lix,
}

impl Format {
    /// The format's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Nix => "nix",
            Format::Toml => "toml",
            Format::Lix => "lix",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A list in another format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The list.
    pub text: String,
    /// What of it the format has no words for.
    pub unsayable: Vec<Unsayable>,
}

/// Something about a machine that a format has no words for, and that the converted list lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsayable {
    /// The machine.
    pub machine: String,
    /// What is lacking.
    pub what: &'static str,
    /// The format.
    pub format: Format,
}

impl fmt::Display for Unsayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsayable {
            machine,
            what,
            format,
        } = self;
        write!(f, "{machine}: format {format} has no word for the {what}")
    }
}

/// Writes `machines` in `format`. What cannot be said otherwise becomes a parameter of the URI
/// where Nix knows one; nothing else changes in a URI.
#[must_use]
pub fn convert(machines: &[Machine], format: Format) -> Converted {
    let mut text = match format {
        Format::Nix => String::new(),
        Format::Toml | Format::Lix => "version = 1\n".to_owned(),
    };
    let mut names = BTreeSet::new();
    let mut unsayable = Vec::new();
    for machine in machines {
        match format {
            Format::Nix => text += &line(machine),
            Format::Toml | Format::Lix => {
                text += "\n";
                text += &table(machine, format, unique(machine, &mut names));
            }
        }
        if format != Format::Toml {
            let lost = lost(machine).into_iter().map(|what| Unsayable {
                machine: machine.name.clone(),
                what,
                format,
            });
            unsayable.extend(lost);
        }
    }
    Converted { text, unsayable }
}

/// What neither Nix's lines nor its URIs can say.
fn lost(machine: &Machine) -> Vec<&'static str> {
    let compression = &machine.compression;
    let level = compression.is_some() && compression.level != Compression::default().level;
    [
        ("compression level", level),
        ("daemon socket", machine.daemon_socket.is_some()),
        ("overload threshold", machine.overload_threshold.is_some()),
    ]
    .into_iter()
    .filter_map(|(what, is_lost)| is_lost.then_some(what))
    .collect()
}

/// The machine as its URI alone describes it.
fn described_by_uri(machine: &Machine) -> Option<Machine> {
    Machine::from_uri(machine.uri.clone(), "", machine.origin.clone()).ok()
}

/// A URI that says of `machine` what no column or key of Lix's says; its own where that does.
fn full_uri(machine: &Machine, key_in_uri: bool) -> String {
    let uri = &machine.uri;
    let breaks = |c: char| c.is_whitespace() || c.is_control() || ";#".contains(c);
    let says_it = described_by_uri(machine).is_some_and(|said| {
        said.remote_program == machine.remote_program
            && said.remote_store == machine.remote_store
            && said.max_connections == machine.max_connections
            && said.compression.is_some() == machine.compression.is_some()
            && (!key_in_uri || said.ssh_key == machine.ssh_key)
    });
    if says_it && !uri.as_str().contains(breaks) {
        return uri.as_str().to_owned();
    }
    let program = machine.remote_program.join(" ");
    let connections = machine.max_connections.map(|number| number.to_string());
    let key = machine.ssh_key.as_ref().filter(|_| key_in_uri);
    let key = key.map(|file| file.to_string_lossy().into_owned());
    let compress = machine.compression.is_some().then(|| "true".to_owned());
    let said = [
        ("ssh-key", key),
        ("compress", compress),
        ("remote-program", Some(program).filter(|p| !p.is_empty())),
        ("remote-store", machine.remote_store.clone()),
        ("max-connections", connections),
    ];
    // These have a column; and the port stands in front.
    let dropped = ["base64-ssh-public-host-key", "system-features", "port"];
    let kept = uri.parameters().filter(|(name, _)| {
        !dropped.contains(name) && !said.iter().any(|(other, _)| other == name)
    });
    let said = said.iter().filter_map(|(name, value)| {
        let value = value.as_deref()?;
        Some((*name, value))
    });
    let query: Vec<_> = said
        .chain(kept)
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    let address = StoreUri::from_parts(uri.scheme(), uri.user(), uri.host(), uri.port());
    let address = address.map_or_else(|_| uri.address().to_owned(), |uri| uri.to_string());
    match query.is_empty() {
        true => address,
        false => format!("{address}?{}", query.join("&")),
    }
}

fn line(machine: &Machine) -> String {
    let breaks = |c: char| c.is_whitespace() || c.is_control() || ";#".contains(c);
    let key = machine.ssh_key.as_ref().map(|file| file.to_string_lossy());
    let fits = |key: &str| !key.is_empty() && key != "-" && !key.contains(breaks);
    let key_fits = key.as_deref().is_none_or(fits);
    let set = |names: &BTreeSet<String>| match names.is_empty() {
        true => "-".to_owned(),
        false => names.iter().cloned().collect::<Vec<_>>().join(","),
    };
    let host_key = machine.host_key.as_ref();
    let columns = [
        full_uri(machine, !key_fits),
        set(&machine.systems),
        match key {
            Some(file) if key_fits => file.into_owned(),
            _ => "-".to_owned(),
        },
        machine.max_jobs.to_string(),
        machine.speed_factor.to_string(),
        set(&machine.supported_features),
        set(&machine.mandatory_features),
        host_key.map_or_else(|| "-".to_owned(), |line| BASE64.encode(line.as_bytes())),
    ];
    columns.join(" ") + "\n"
}

/// A table's content: first Lix's keys, then ours, each only where it says more than the URI.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Table<'a> {
    uri: String,
    system_types: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_key: Option<&'a PathBuf>,
    jobs: u32,
    speed_factor: f64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    supported_features: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    mandatory_features: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_public_host_key: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_program: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_store: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon_socket: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression_level: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overload_threshold: Option<f64>,
}

fn table(machine: &Machine, format: Format, name: String) -> String {
    let ours = format == Format::Toml;
    let said = described_by_uri(machine).filter(|_| ours);
    let said = said.as_ref();
    let compression = &machine.compression;
    let level = compression.level;
    let table = Table {
        uri: match ours {
            true => machine.uri.as_str().to_owned(),
            false => full_uri(machine, false),
        },
        system_types: &machine.systems,
        ssh_key: machine.ssh_key.as_ref(),
        jobs: machine.max_jobs,
        speed_factor: machine.speed_factor,
        supported_features: &machine.supported_features,
        mandatory_features: &machine.mandatory_features,
        ssh_public_host_key: machine.host_key.as_ref(),
        remote_program: said
            .filter(|said| said.remote_program != machine.remote_program)
            .map(|_| machine.remote_program.as_slice()),
        remote_store: said
            .filter(|said| said.remote_store != machine.remote_store)
            .and(machine.remote_store.as_ref()),
        daemon_socket: machine.daemon_socket.as_ref().filter(|_| ours),
        compress: said
            .filter(|said| said.compression.is_some() != compression.is_some())
            .map(|_| compression.is_some()),
        compression_level: (ours && level != Compression::default().level).then_some(level),
        max_connections: said
            .filter(|said| said.max_connections != machine.max_connections)
            .and(machine.max_connections),
        overload_threshold: machine.overload_threshold.filter(|_| ours),
    };
    let document = [("machines", [(name, table)].into_iter().collect())];
    let document: std::collections::BTreeMap<_, std::collections::BTreeMap<_, _>> =
        document.into_iter().collect();
    // Every value here is a string, a number, a boolean or a list of strings.
    ::toml::to_string(&document).expect("such a table can be written")
}

/// What the table is called: the machine's name, or its host where that is a URI.
fn unique(machine: &Machine, names: &mut BTreeSet<String>) -> String {
    let is_uri = [Scheme::Ssh, Scheme::SshNg]
        .iter()
        .any(|scheme| machine.name.starts_with(&format!("{}://", scheme.as_str())));
    let name = match is_uri {
        true => machine.uri.host(),
        false => machine.name.as_str(),
    };
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    let free = candidates.find(|name| !names.contains(name));
    let free = free.expect("there is no end of numbers");
    names.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    const LIST: &str = r#"
        [machines.farm1]
        uri = "ssh-ng://ci@farm1?compress=true&priority=3"
        system-types = ["x86_64-linux", "i686-linux"]
        ssh-key = "/etc/nix/the key"
        ssh-public-host-key = "ssh-ed25519 AAAAC3Nz root@farm1"
        jobs = 8
        speed-factor = 2.5
        supported-features = ["kvm"]
        mandatory-features = ["benchmark"]
        remote-program = ["sudo", "nix-daemon"]
        compression-level = 3
        overload-threshold = 0.8
        daemon-socket = "/run/nix.socket"
        [machines."the other"]
        host = "::1"
        port = 2222
        enable = false
        compress = true
    "#;

    #[track_caller]
    fn converted(list: &str, format: Format) -> String {
        let list = read_builders(list, "x86_64-linux");
        assert_eq!(list.problems, []);
        let converted = convert(&list.machines, format);
        let lost = converted.unsayable.iter();
        let lost: Vec<_> = lost.map(|lost| format!("! {lost}\n")).collect();
        converted.text + &lost.concat()
    }

    #[test]
    fn to_every_format() {
        let formats = [Format::Nix, Format::Lix, Format::Toml];
        insta::assert_snapshot!(formats.map(|format| converted(LIST, format)).join("\n"));
    }

    #[test]
    fn from_lines() {
        let lines = "ssh-ng://a?ssh-key=/k\na x - 3\nssh://b#";
        insta::assert_snapshot!(converted(lines, Format::Toml));
    }
}
