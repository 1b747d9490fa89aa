//! Nix's `builders` setting: machine lines, inline or in files.
//!
//! ```text
//! ssh-ng://ci@farm1 x86_64-linux,i686-linux /etc/nix/key 8 2 kvm,big-parallel benchmark c3NoLWVk..
//! URI               systems                 key          | | supported       mandatory host key
//!                                                  builds  speed
//! ```
//! Entries are separated by line ends and `;`, `#` starts a comment, `-` stands for a column's
//! default, `@FILE` reads another file at its place.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;

use super::{Compression, Machine, MachineList, Origin, Problem, ProblemKind, StoreUri};

/// Files that include each other are followed to this depth.
const MAX_INCLUDE_DEPTH: usize = 8;
/// Largest machine file, in bytes: a hundred thousand machines.
const MAX_FILE: u64 = 16 << 20;

/// Why a file named by `@FILE` could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncludeError {
    /// Opening or reading it failed.
    #[error("failed to read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Files include each other without end.
    #[error("files include each other more than {MAX_INCLUDE_DEPTH} deep: {}", .0.display())]
    TooDeep(PathBuf),
    /// More bytes than a machine list has.
    #[error("more than {MAX_FILE} bytes: {}", .0.display())]
    TooLarge(PathBuf),
}

/// Reads the value of Nix's `builders` setting, following `@FILE`s.
///
/// `default_system` stands where the systems column is `-` or missing. A file that does not exist
/// is no problem: `builders = @/etc/nix/machines` is Nix's default, and most hosts have none.
#[must_use]
pub fn read_builders(builders: &str, default_system: &str) -> MachineList {
    let mut list = MachineList::default();
    let source = "builders setting";
    read_text(builders, source, default_system, 0, &mut list);
    list
}

fn read_text(text: &str, source: &str, system: &str, depth: usize, list: &mut MachineList) {
    for (index, entry) in text.split(['\n', ';']).enumerate() {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        let origin = Origin {
            source: source.to_owned(),
            line: index + 1,
            column: None,
        };
        if entry.is_empty() {
            continue;
        }
        let read = match entry.strip_prefix('@') {
            Some(path) => {
                read_file(Path::new(path.trim()), system, depth, list).map_err(ProblemKind::from)
            }
            None => parse_entry(entry, system, &origin).map(|machine| list.machines.push(machine)),
        };
        if let Err(kind) = read {
            list.problems.push(Problem { origin, kind });
        }
    }
}

fn read_file(
    path: &Path,
    system: &str,
    depth: usize,
    list: &mut MachineList,
) -> Result<(), IncludeError> {
    if depth == MAX_INCLUDE_DEPTH {
        return Err(IncludeError::TooDeep(path.to_owned()));
    }
    let failed = |error: std::io::Error| IncludeError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(IncludeError::TooLarge(path.to_owned()));
    }
    let source = path.display().to_string();
    read_text(&text, &source, system, depth + 1, list);
    Ok(())
}

/// One entry, comments already gone.
fn parse_entry(entry: &str, system: &str, origin: &Origin) -> Result<Machine, ProblemKind> {
    let columns: Vec<&str> = entry.split_ascii_whitespace().collect();
    if let Some(extra) = columns.get(8) {
        return Err(ProblemKind::ExtraColumn((*extra).to_owned()));
    }
    let column = |index: usize| columns.get(index).copied().filter(|text| *text != "-");
    let mut systems = set(column(1));
    if systems.is_empty() {
        systems.insert(system.to_owned());
    }
    let uri = StoreUri::parse(columns[0])?;
    Ok(Machine {
        name: uri.to_string(),
        uri,
        systems,
        ssh_key: column(2).map(PathBuf::from),
        max_jobs: column(3).map_or(Ok(1), parse_max_jobs)?,
        speed_factor: column(4).map_or(Ok(1.0), parse_speed_factor)?,
        supported_features: set(column(5)),
        mandatory_features: set(column(6)),
        host_key: column(7).map(parse_host_key).transpose()?,
        compression: Compression::default(),
        daemon_socket: None,
        overload_threshold: None,
        origin: origin.clone(),
    })
}

fn set(column: Option<&str>) -> BTreeSet<String> {
    column
        .into_iter()
        .flat_map(|text| text.split(','))
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parse_max_jobs(text: &str) -> Result<u32, ProblemKind> {
    text.parse()
        .map_err(|_| ProblemKind::MaxJobs(text.to_owned()))
}

fn parse_speed_factor(text: &str) -> Result<f64, ProblemKind> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err(ProblemKind::SpeedFactor(text.to_owned())),
    }
}

/// The column is base64 of a whole public key line, as `base64 -w0 ssh_host_ed25519_key.pub` prints.
fn parse_host_key(text: &str) -> Result<String, ProblemKind> {
    let wrong = || ProblemKind::HostKey(text.to_owned());
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| wrong())?;
    let line = String::from_utf8(bytes).map_err(|_| wrong())?;
    if line.split_ascii_whitespace().count() < 2 {
        return Err(wrong());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "farm1;ssh-ng://farm2 - - - - - - -\n\n # none\nfarm3 i686-linux",
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
        insta::assert_snapshot!(short.join("\n"), @r#"
        ssh://farm1 {"x86_64-linux"} 1 1 builders setting:1
        ssh-ng://farm2 {"x86_64-linux"} 1 1 builders setting:2
        ssh://farm3 {"i686-linux"} 1 1 builders setting:5
        "#);
    }

    #[test]
    fn a_broken_line_is_named_and_the_others_stand() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::write(&inner, "good2\nhost x - many\n").unwrap();
        let outer = folder.path().join("machines");
        std::fs::write(
            &outer,
            format!(
                "good1\nhttp://x\nh - - 1 fast\nh - - 1 0\nh - - - - - - !!\nh - - - - - - - extra\n@{}\n@{}\n@{}/none\n",
                inner.display(),
                folder.path().display(),
                folder.path().display()
            ),
        )
        .unwrap();
        let list = read_builders(&format!("@{}", outer.display()), "x");
        let names: Vec<_> = list.machines.iter().map(|m| m.uri.host()).collect();
        assert_eq!(names, ["good1", "good2"]);
        let problems: Vec<_> = list.problems.iter().map(ToString::to_string).collect();
        let text = problems
            .join("\n")
            .replace(&folder.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text, @r#"
        DIR/machines:2: machine skipped: store URI has a scheme other than ssh and ssh-ng: "http"
        DIR/machines:3: machine skipped: speed factor is not a number above 0: "fast"
        DIR/machines:4: machine skipped: speed factor is not a number above 0: "0"
        DIR/machines:5: machine skipped: host key is not the base64 of a public key line: "!!"
        DIR/machines:6: machine skipped: more than 8 columns: "extra" and what follows
        DIR/inner:2: machine skipped: number of builds is not a whole number: "many"
        DIR/machines:8: machine skipped: failed to read DIR: Is a directory (os error 21)
        "#);
    }

    #[test]
    fn files_that_include_themselves_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("loop");
        std::fs::write(&file, format!("@{}\n", file.display())).unwrap();
        let list = read_builders(&format!("@{}", file.display()), "x");
        assert_eq!(list.problems.len(), 1);
        assert!(matches!(
            list.problems[0].kind,
            ProblemKind::Include(IncludeError::TooDeep(_))
        ));
    }
}
