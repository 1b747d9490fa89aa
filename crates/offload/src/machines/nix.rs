//! Nix's machine lines.
//!
//! ```text
//! ssh-ng://ci@farm1 x86_64-linux,i686-linux /etc/nix/key 8 2 kvm,big-parallel benchmark c3NoLWVk..
//! URI               systems                 key          | | supported       mandatory host key
//!                                                  builds  speed
//! ```
//! Lines are cut into entries by `;`, `-` stands for a column's default, `@FILE` reads another file
//! at its place. `#` starts a comment, which the line's end ends, as it does in nix 2.34.8; before
//! that (2.26.3) a `;` ended it. A column counts more than a parameter of the URI (2.8.0 to 2.34.8).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::list::{MachineList, Place};
use super::{Machine, Origin, Problem, ProblemKind, StoreUri, word};

/// An entry, comments and white space around it gone; not empty.
pub(super) struct Entry<'a> {
    pub(super) text: &'a str,
    pub(super) origin: Origin,
}

/// Cuts a text into entries.
pub(super) fn entries<'a>(text: &'a str, place: &Place) -> impl Iterator<Item = Entry<'a>> {
    text.lines().enumerate().flat_map(move |(index, line)| {
        let said = line.split('#').next().unwrap_or_default();
        let alone = !said.contains(';');
        said.split(';').filter_map(move |entry| {
            let text = entry.trim();
            let mut origin = place.line(index + 1);
            if !alone {
                // Both are parts of the line, so that the difference is the place in it.
                let before = text.as_ptr() as usize - line.as_ptr() as usize;
                origin.column = Some(before + 1);
            }
            (!text.is_empty()).then_some(Entry { text, origin })
        })
    })
}

/// Reads an entry that is no `@FILE`.
pub(super) fn read_entry(
    entry: &Entry<'_>,
    system: &str,
    list: &mut MachineList,
) -> Result<(), ProblemKind> {
    let columns: Vec<&str> = entry.text.split_ascii_whitespace().collect();
    let column = |index: usize| columns.get(index).copied().filter(|text| *text != "-");
    let origin = entry.origin.clone();
    let mut machine = Machine::from_uri(StoreUri::parse(columns[0])?, system, origin.clone())?;
    let systems = set(column(1))?;
    if !systems.is_empty() {
        machine.systems = systems;
    }
    if let Some(file) = column(2) {
        machine.ssh_key = Some(PathBuf::from(file));
    }
    if let Some(text) = column(3) {
        let wrong = |_| ProblemKind::MaxJobs(text.to_owned());
        machine.max_jobs = text.parse().map_err(wrong)?;
    }
    if let Some(text) = column(4) {
        let wrong = |_| ProblemKind::SpeedFactor(text.to_owned());
        machine.speed_factor = word::speed_factor(text.parse().map_err(wrong)?)?;
    }
    machine.supported_features.extend(set(column(5))?);
    machine.mandatory_features = set(column(6))?;
    if let Some(text) = column(7) {
        machine.host_key = Some(word::base64_host_key(text)?);
    }
    if let Some(extra) = columns.get(8) {
        let kind = ProblemKind::ExtraColumn((*extra).to_owned());
        list.problems.push(Problem { origin, kind });
    }
    list.machines.push(machine);
    Ok(())
}

fn set(column: Option<&str>) -> Result<BTreeSet<String>, ProblemKind> {
    let items = column.unwrap_or_default().split(',');
    let items = items.filter(|item| !item.is_empty() && *item != "-");
    word::names(items.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use crate::machines::read_builders;

    #[test]
    fn all_columns() {
        let key = BASE64.encode(b"ssh-ed25519 AAAAC3Nz root@farm1\n");
        let list = read_builders(
            &format!("ssh-ng://farm1 a-linux,b-linux /k 8 2.5 kvm,big secret {key} # first"),
            "x",
        );
        assert_eq!(list.problems, []);
        insta::assert_debug_snapshot!(list.machines);
    }

    #[test]
    fn defaults_and_separators() {
        let list = read_builders(
            "farm1; ssh-ng://farm2 - - - - - - - # ; farm0\n\n # none\nfarm3 i686-linux - 3 0",
            "x86_64-linux",
        );
        assert_eq!(list.problems, []);
        let short: Vec<_> = list
            .machines
            .iter()
            .map(|m| {
                format!(
                    "{} {:?} {} {} {}",
                    m.uri, m.systems, m.max_jobs, m.speed_factor, m.origin
                )
            })
            .collect();
        insta::assert_snapshot!(short.join("\n"));
    }

    #[test]
    fn columns_count_more_than_parameters() {
        let key = |text: &str| BASE64.encode(text.as_bytes());
        let uri = format!(
            "ssh-ng://a?ssh-key=/uri&base64-ssh-public-host-key={}&compress=true\
             &max-connections=7&remote-program=my%20daemon%20-x&remote-store=/it%27s&system-features=a%20b",
            key("ssh-ed25519 URI")
        );
        let list = read_builders(
            &format!(
                "{uri}\n{uri} - /column 1 1 c - {}",
                key("ssh-ed25519 COLUMN")
            ),
            "x",
        );
        assert_eq!(list.problems, []);
        let short = list.machines.iter().map(|m| {
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {}",
                m.ssh_key,
                m.host_key,
                m.supported_features,
                m.remote_program,
                m.remote_store,
                m.max_connections,
                m.compression
            )
        });
        insta::assert_snapshot!(short.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn parameters_that_make_no_sense() {
        let list = read_builders(
            "a?compress=perhaps; a?max-connections=0; a?base64-ssh-public-host-key=!; a?system-features=a,b",
            "x",
        );
        let problems: Vec<_> = list.problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
        assert!(list.machines.is_empty());
    }
}
