//! Machine lists as they stand in settings and files, whatever their format.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Machine, Origin, Problem, nix, toml};

/// Files that include each other are followed to this depth.
const MAX_INCLUDE_DEPTH: usize = 8;
/// Largest machine file, in bytes: a hundred thousand machines.
const MAX_FILE: u64 = 16 << 20;
/// Most files that one list is read from. Files may include others twice each, eight deep.
const MAX_FILES: usize = 256;

/// What was read from a machine list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineList {
    /// The entries that were understood, in their order.
    pub machines: Vec<Machine>,
    /// What was not.
    pub problems: Vec<Problem>,
    /// The files that were looked at, in their order.
    pub files: Vec<SourceFile>,
}

/// A file that a list names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as the list has it.
    pub path: PathBuf,
    /// What became of it.
    pub found: Found,
}

/// Whether a file could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was read.
    Read,
    /// There is no such file.
    Missing,
    /// It could not be read; a problem says why.
    Unreadable,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Read => "read",
            Found::Missing => "not there",
            Found::Unreadable => "not readable",
        })
    }
}

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
    /// There is none, though a person names it: the list itself, where the problem stands.
    #[error("there is no such file")]
    Missing,
    /// Files include each other without end.
    #[error("files include each other more than {MAX_INCLUDE_DEPTH} deep: {}", .0.display())]
    TooDeep(PathBuf),
    /// More bytes than a machine list has.
    #[error("more than {MAX_FILE} bytes: {}", .0.display())]
    TooLarge(PathBuf),
    /// More files than a machine list has.
    #[error("more than {MAX_FILES} files, of which the next is {}", .0.display())]
    TooMany(PathBuf),
}

/// Reads the value of Nix's `builders` setting, following `@FILE`s.
///
/// A value or file that is TOML is read as such (see [`Format`](super::Format)), everything else as
/// Nix's lines. `default_system` stands where an entry names no system. A file that does not exist
/// is no problem: `builders = @/etc/nix/machines` is Nix's default, and most hosts have none.
#[must_use]
pub fn read_builders(builders: &str, default_system: &str) -> MachineList {
    let mut reader = Reader::new(default_system);
    reader.read_text(builders, &Place::Counted("builders setting".to_owned()), 0);
    reader.list
}

/// Reads `list` as a person names it: a file's path, or what could stand in `builders`. A path is
/// told by a `/` or `.` in front, which no entry begins with, or by `.toml` at its end. A file that is
/// named so has to be there.
#[must_use]
pub fn read_list(list: &str, default_system: &str) -> MachineList {
    if !list.starts_with(['/', '.']) && !is_toml_path(list) {
        return read_builders(list, default_system);
    }
    let mut reader = Reader::new(default_system);
    let path = Path::new(list);
    let read = match reader.read_file(path, 0) {
        Ok(Found::Missing) => Err(IncludeError::Missing),
        read => read,
    };
    if let Err(error) = read {
        let origin = Place::Counted(list.to_owned()).line(1);
        let kind = error.into();
        reader.list.problems.push(Problem { origin, kind });
    }
    reader.list
}

/// Whether it is one word that ends as TOML files' names do: text in that format has more than that.
fn is_toml_path(list: &str) -> bool {
    list.ends_with(".toml")
        && !list.contains(|sign: char| sign.is_whitespace() || "=;@".contains(sign))
}

/// What a text's lines are called.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// This source's, counted.
    Counted(String),
    /// All of them stand on this one line.
    Line(Origin),
}

impl Place {
    /// `line` is counted from 1.
    pub(super) fn line(&self, line: usize) -> Origin {
        match self {
            Place::Counted(source) => Origin {
                source: source.clone(),
                line,
                column: None,
            },
            Place::Line(origin) => origin.clone(),
        }
    }
}

/// Reads texts and the files that they name.
pub(super) struct Reader<'a> {
    pub(super) system: &'a str,
    pub(super) list: MachineList,
}

impl<'a> Reader<'a> {
    pub(super) fn new(system: &'a str) -> Self {
        Reader {
            system,
            list: MachineList::default(),
        }
    }

    /// Reads a text; `depth` is how many files had to be opened to get here.
    pub(super) fn read_text(&mut self, text: &str, place: &Place, depth: usize) {
        if toml::is_toml(text) {
            return toml::read(text, place, self.system, &mut self.list);
        }
        for entry in nix::entries(text, place) {
            let read = match entry.text.strip_prefix('@') {
                Some(path) => self
                    .read_file(Path::new(path.trim()), depth)
                    .map(drop)
                    .map_err(Into::into),
                None => nix::read_entry(&entry, self.system, &mut self.list),
            };
            if let Err(kind) = read {
                let origin = entry.origin;
                self.list.problems.push(Problem { origin, kind });
            }
        }
    }

    /// Reads a file that no text names, if there is one.
    pub(super) fn read_named(&mut self, path: &Path) {
        if let Err(error) = self.read_file(path, 0) {
            let origin = Origin {
                source: "default lists".to_owned(),
                line: 1,
                column: None,
            };
            let kind = error.into();
            self.list.problems.push(Problem { origin, kind });
        }
    }

    /// Reads a file, if there is one.
    fn read_file(&mut self, path: &Path, depth: usize) -> Result<Found, IncludeError> {
        if depth == MAX_INCLUDE_DEPTH {
            return Err(IncludeError::TooDeep(path.to_owned()));
        }
        if self.list.files.len() == MAX_FILES {
            return Err(IncludeError::TooMany(path.to_owned()));
        }
        let read = read_bounded(path);
        let found = match &read {
            Ok(Some(_)) => Found::Read,
            Ok(None) => Found::Missing,
            Err(_) => Found::Unreadable,
        };
        let path = path.to_owned();
        self.list.files.push(SourceFile {
            path: path.clone(),
            found,
        });
        let Some(text) = read? else {
            return Ok(found);
        };
        let place = Place::Counted(path.display().to_string());
        // The name decides where the content does not: an empty list, a mistake in the first line.
        match path.extension().is_some_and(|name| name == "toml") {
            true => toml::read(&text, &place, self.system, &mut self.list),
            false => self.read_text(&text, &place, depth + 1),
        }
        Ok(found)
    }
}

fn read_bounded(path: &Path) -> Result<Option<String>, IncludeError> {
    let failed = |error: std::io::Error| IncludeError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(IncludeError::TooLarge(path.to_owned()));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::ProblemKind;

    #[test]
    fn a_broken_line_is_named_and_the_others_stand() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::write(&inner, "good2\nhost x - many\n").unwrap();
        let outer = folder.path().join("machines");
        std::fs::write(
            &outer,
            format!(
                "good1\nhttp://x\nh - - 1 fast\nh - - 1 -1; good3\nh - - - - - - !!\nh2 - - - - - - - extra\n@{}\n@{}\n@{}/none\n",
                inner.display(),
                folder.path().display(),
                folder.path().display()
            ),
        )
        .unwrap();
        let list = read_builders(&format!("@{}", outer.display()), "x");
        let names: Vec<_> = list.machines.iter().map(|m| m.uri.host()).collect();
        assert_eq!(names, ["good1", "good3", "h2", "good2"]);
        let problems = list.problems.iter().map(ToString::to_string);
        let files = list.files.iter();
        let files = files.map(|file| format!("{}: {}", file.path.display(), file.found));
        let text = problems.chain(files).collect::<Vec<_>>().join("\n");
        let text = text.replace(&folder.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn files_that_include_themselves_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("loop");
        let name = file.display();
        std::fs::write(&file, format!("@{name}\n")).unwrap();
        let list = read_builders(&format!("@{name}"), "x");
        assert_eq!(list.problems.len(), 1);
        let is = |kind: &ProblemKind, wanted: fn(&IncludeError) -> bool| matches!(kind, ProblemKind::Include(error) if wanted(error));
        assert!(is(&list.problems[0].kind, |e| matches!(
            e,
            IncludeError::TooDeep(_)
        )));
        std::fs::write(&file, format!("@{name}\n").repeat(9)).unwrap();
        let list = read_builders(&format!("@{name}"), "x");
        assert_eq!(list.files.len(), MAX_FILES);
        assert!(
            list.problems
                .iter()
                .any(|p| is(&p.kind, |e| matches!(e, IncludeError::TooMany(_))))
        );
    }

    #[test]
    fn formats_are_told_by_name_or_content() {
        let folder = tempfile::tempdir().unwrap();
        let toml = folder.path().join("empty.toml");
        std::fs::write(&toml, "ssh://a\n").unwrap();
        assert_eq!(read_list(toml.to_str().unwrap(), "x").problems.len(), 1);
        let other = folder.path().join("machines");
        std::fs::write(
            &other,
            "# the farm\nversion = 1\n[machines.a]\nuri='ssh://a'\n",
        )
        .unwrap();
        let inline = read_list("machines.a = { uri = \"ssh://a\", jobs = 8 }", "x");
        let mixed = read_list(&format!("ssh://b; @{}", other.display()), "x");
        let names = |list: &MachineList| -> Vec<String> {
            assert_eq!(list.problems, []);
            let names = list.machines.iter().map(|m| m.uri.host().to_owned());
            names.collect()
        };
        assert_eq!(names(&inline), ["a"]);
        assert_eq!(inline.machines[0].max_jobs, 8);
        assert_eq!(names(&mixed), ["b", "a"]);
    }

    #[test]
    fn a_file_that_a_person_names_has_to_be_there() {
        let problems = |list| {
            let read = read_list(list, "x");
            assert_eq!(read.machines, []);
            let problems = read.problems.iter().map(Problem::to_string);
            problems.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(problems("/no/such-file"), @"/no/such-file:1: list skipped: there is no such file");
        insta::assert_snapshot!(problems("no-such-file.toml"), @"no-such-file.toml:1: list skipped: there is no such file");
        // As Nix has it: most hosts have none.
        assert_eq!(problems("@/no/such-file"), "");
        assert_eq!(problems(""), "");
    }
}
