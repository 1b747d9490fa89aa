//! `offload machines`: what was understood of the machine lists, and from where.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use offload::machines::{Format, Machine, MachineList, convert};
use serde_json::{Value, json};

use crate::environment::{guix_directories, guix_list, guix_machines};
use crate::lists;
use crate::output::print;
use crate::selection::is_guix;
use crate::together::wait_for;

/// Prints what was understood of the machine lists, and from where.
#[derive(Args)]
pub(crate) struct Machines {
    /// The list: a file's path (with a `/` or `.` in front, or .toml or .scm at its end), or what could
    /// stand in `builders`. By default what this host's builds
    /// go by: `builders` of nix.conf (`@/etc/nix/machines` where it says nothing), and where that
    /// names the store endpoint, /etc/offload/machines.toml or else /etc/nix/machines.
    #[arg(value_name = "LIST")]
    list: Option<String>,
    /// The list is Guix's; by default /etc/guix/machines.scm. One whose name ends in .scm is anyway.
    #[arg(long)]
    guix: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "to")]
    json: bool,
    /// Print the list in this format instead.
    #[arg(long, value_name = "FORMAT")]
    to: Option<To>,
}

/// A format that lists are written in.
#[derive(Clone, Copy, ValueEnum)]
enum To {
    /// Nix's lines, for /etc/nix/machines.
    Nix,
    /// TOML with all that a machine can have, for /etc/offload/machines.toml.
    Toml,
    /// TOML with no more than Lix 2.95 knows.
    Lix,
}

impl Machines {
    /// # Errors
    /// When the list could not be asked for.
    pub(crate) fn run(self) -> Result<ExitCode, String> {
        let Read { list, files } = self.read()?;
        let mut is_whole = list.problems.is_empty();
        match self.to {
            Some(to) => {
                let format = match to {
                    To::Nix => Format::Nix,
                    To::Toml => Format::Toml,
                    To::Lix => Format::Lix,
                };
                let converted = convert(&list.machines, format);
                print(&converted.text);
                for unsayable in &converted.unsayable {
                    eprintln!("offload: {unsayable}");
                }
                is_whole &= converted.unsayable.is_empty();
            }
            None if self.json => print(&format!("{:#}\n", document(&list, &files))),
            None => print(&text(&list, &files)),
        }
        if !self.json {
            for problem in &list.problems {
                eprintln!("offload: {problem}");
            }
        }
        Ok(match is_whole {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn read(&self) -> Result<Read, String> {
        if !self.guix && !is_guix(self.list.as_deref()) {
            return Ok(Read::from(lists::read(self.list.as_deref())));
        }
        let directories = guix_directories();
        let file = self.list.as_deref().map(Path::new);
        let read = wait_for(guix_machines(&directories, file))?;
        let file = file.map_or_else(|| guix_list(&directories), Path::to_owned);
        Ok(Read {
            list: read.list,
            files: vec![(file, read.way.to_string())],
        })
    }
}

/// A list, and what was found in which file.
struct Read {
    list: MachineList,
    files: Vec<(PathBuf, String)>,
}

impl From<MachineList> for Read {
    fn from(list: MachineList) -> Self {
        let files = list.files.iter();
        let files = files.map(|file| (file.path.clone(), file.found.to_string()));
        Read {
            files: files.collect(),
            list,
        }
    }
}

/// The list for people.
fn text(list: &MachineList, files: &[(PathBuf, String)]) -> String {
    let mut text = String::new();
    for machine in &list.machines {
        describe(machine, &mut text);
    }
    if list.machines.is_empty() {
        text += "no machines\n";
    }
    for (path, found) in files {
        let _ = writeln!(text, "{}: {found}", path.display());
    }
    text
}

fn describe(machine: &Machine, text: &mut String) {
    let _ = writeln!(text, "{}", machine.name);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<20} {value}");
    };
    let join = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    row("from", machine.origin.to_string());
    if machine.uri.as_str() != machine.name {
        row("uri", machine.uri.to_string());
    }
    row("systems", join(&machine.systems));
    row(
        "builds at a time",
        match machine.max_jobs {
            0 => "0: disabled".to_owned(),
            jobs => jobs.to_string(),
        },
    );
    row("speed factor", machine.speed_factor.to_string());
    let features = [
        ("features", &machine.supported_features),
        ("mandatory features", &machine.mandatory_features),
    ];
    for (name, features) in features.into_iter().filter(|(_, names)| !names.is_empty()) {
        row(name, join(features));
    }
    row(
        "private key",
        match &machine.ssh_key {
            Some(file) => file.display().to_string(),
            None => "the user's own".to_owned(),
        },
    );
    row(
        "host key",
        match &machine.host_key {
            Some(line) => line.clone(),
            None => "known_hosts".to_owned(),
        },
    );
    let connections = machine.max_connections.map(|number| number.to_string());
    let load = machine.overload_threshold.map(|load| load.to_string());
    let program = Some(machine.remote_program.join(" ")).filter(|words| !words.is_empty());
    let compression = &machine.compression;
    let compression = compression.is_some().then(|| compression.to_string());
    let rest = [
        ("remote program", program),
        ("remote store", machine.remote_store.clone()),
        ("daemon socket", machine.daemon_socket.clone()),
        ("compression", compression),
        ("connections", connections),
        ("overload threshold", load),
    ];
    for (name, value) in rest {
        if let Some(value) = value {
            row(name, value);
        }
    }
    text.push('\n');
}

/// The list for programs.
fn document(list: &MachineList, files: &[(PathBuf, String)]) -> Value {
    let problem = |problem: &offload::machines::Problem| {
        let origin = &problem.origin;
        json!({
            "source": origin.source,
            "line": origin.line,
            "column": origin.column,
            "consequence": problem.effect().as_str(),
            "message": problem.kind.to_string(),
        })
    };
    let file = |(path, found): &(PathBuf, String)| json!({ "path": path, "found": found });
    json!({
        "machines": list.machines.iter().map(machine).collect::<Vec<_>>(),
        "problems": list.problems.iter().map(problem).collect::<Vec<_>>(),
        "files": files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn machine(machine: &Machine) -> Value {
    let methods = machine.compression.methods.iter();
    let uri = &machine.uri;
    json!({
        "name": machine.name,
        "uri": uri.as_str(),
        "protocol": uri.scheme().as_str(),
        "user": uri.user(),
        "host": uri.host(),
        "port": uri.port(),
        "systems": machine.systems,
        "max-jobs": machine.max_jobs,
        "speed-factor": machine.speed_factor,
        "supported-features": machine.supported_features,
        "mandatory-features": machine.mandatory_features,
        "ssh-key": machine.ssh_key,
        "host-key": machine.host_key,
        "remote-program": machine.remote_program,
        "remote-store": machine.remote_store,
        "daemon-socket": machine.daemon_socket,
        "compression": methods.map(|method| method.as_str()).collect::<Vec<_>>(),
        "compression-level": machine.compression.level,
        "max-connections": machine.max_connections,
        "overload-threshold": machine.overload_threshold,
        "source": machine.origin.source,
        "line": machine.origin.line,
        "column": machine.origin.column,
    })
}

#[cfg(test)]
mod tests {
    use offload::machines::read_builders;

    use super::*;

    fn list() -> Read {
        Read::from(read_builders(
            "ssh://farm1\nssh-ng://ci@[::1]:2222?compress=true&remote-program=sudo%20nix-daemon x-linux,y-linux /k 8 2.5 kvm big c3NoLWVkMjU1MTkgQUFBQQ==\nhttp://x; farm2 - - 0\n@/no-such-file",
            "x86_64-linux",
        ))
    }

    #[test]
    fn for_people() {
        let Read { list, files } = list();
        insta::assert_snapshot!(text(&list, &files));
        assert_eq!(text(&MachineList::default(), &[]), "no machines\n");
    }

    #[test]
    fn for_programs() {
        let Read { list, files } = list();
        insta::assert_snapshot!(format!("{:#}", document(&list, &files)));
    }
}
