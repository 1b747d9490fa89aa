//! Which machines a person means.

use std::path::Path;

use clap::Args;
use offload::machines::{Effect, Machine};

use crate::environment::{guix_directories, guix_machines};
use crate::lists;
use crate::together::wait_for;

/// Where machines are listed, and which of them are meant.
#[derive(Args)]
pub(crate) struct Selection {
    /// Machines, each by its name, its URI or its host. None means all.
    #[arg(value_name = "MACHINE")]
    machines: Vec<String>,
    /// Read machines from here instead of what this host's builds go by (see `offload machines
    /// --help`): a file's path (with a `/` or `.` in front, or .toml or .scm at its end), or what could
    /// stand in `builders`.
    #[arg(long, value_name = "LIST")]
    list: Option<String>,
    /// Machines of Guix: those of /etc/guix/machines.scm, or of the file that --list names. A list whose name ends in
    /// .scm is Guix's anyway.
    #[arg(long)]
    guix: bool,
}

/// Machines that a person means.
pub(crate) struct Selected {
    pub(crate) machines: Vec<Machine>,
    /// Whether all of the list was understood.
    pub(crate) understood: bool,
}

impl Selection {
    /// Whether the machines have guix-daemons.
    pub(crate) fn is_guix(&self) -> bool {
        self.guix || is_guix(self.list.as_deref())
    }

    /// The machines that are meant. Problems of the list go to standard error.
    ///
    /// # Errors
    /// When a name means no machine.
    pub(crate) fn read(&self) -> Result<Selected, String> {
        let list = match self.is_guix() {
            true => {
                let file = self.list.as_deref().map(Path::new);
                wait_for(guix_machines(&guix_directories(), file))?.list
            }
            false => lists::read(self.list.as_deref()),
        };
        for problem in &list.problems {
            eprintln!("offload: {problem}");
        }
        Ok(Selected {
            machines: select(list.machines, &self.machines)?,
            understood: list
                .problems
                .iter()
                .all(|problem| problem.effect() == Effect::None),
        })
    }
}

/// Whether a list is Guix's, by its name.
pub(crate) fn is_guix(list: Option<&str>) -> bool {
    list.is_some_and(|list| list.ends_with(".scm"))
}

fn select(machines: Vec<Machine>, names: &[String]) -> Result<Vec<Machine>, String> {
    let is = |machine: &Machine, name: &str| {
        machine.name == name || machine.uri.as_str() == name || machine.uri.host() == name
    };
    if let Some(name) = names
        .iter()
        .find(|name| !machines.iter().any(|machine| is(machine, name)))
    {
        let known: Vec<_> = machines.iter().map(|machine| &*machine.name).collect();
        return Err(match known.is_empty() {
            true => format!("no machine is called {name}: there is none at all"),
            false => format!(
                "no machine is called {name}; there are {}",
                known.join(", ")
            ),
        });
    }
    let meant = |machine: &Machine| names.is_empty() || names.iter().any(|name| is(machine, name));
    Ok(machines.into_iter().filter(meant).collect())
}

#[cfg(test)]
mod tests {
    use offload::machines::read_list;

    use super::*;

    #[test]
    fn machines_are_called_by_name_uri_or_host() {
        let list = "machines.a.uri = 'ssh://h1'\nmachines.b.uri = 'ssh-ng://ci@h2'";
        let machines = read_list(list, "x").machines;
        let select = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let meant = select(machines.clone(), &names)?;
            Ok::<_, String>(meant.into_iter().map(|machine| machine.name).collect())
        };
        assert_eq!(select(&[]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        for name in ["b", "ssh-ng://ci@h2", "h2"] {
            assert_eq!(select(&[name]), Ok(vec!["b".to_owned()]), "{name}");
        }
        insta::assert_snapshot!(select(&["a", "c"]).unwrap_err(), @"no machine is called c; there are a, b");
    }
}
