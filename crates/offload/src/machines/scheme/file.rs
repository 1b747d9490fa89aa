//! Reading a machine file by whichever way does.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use super::{GuixRepl, MAX_FILE, NotStatic, Reading, SchemeProblem, Surroundings, read_scheme};
use crate::machines::{MachineList, Origin, Problem};

/// The machines of a file, and how they were found out.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineFile {
    /// The machines.
    pub list: MachineList,
    /// How they were found out.
    pub way: Way,
}

/// How the machines of a file were found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// There is no file, and so there are no machines.
    NoFile,
    /// By reading alone.
    Read,
    /// By `guix repl`, because of this form.
    Evaluated(NotStatic),
    /// By `guix repl` a while ago, because of this form; the file has not changed since.
    Remembered(NotStatic),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::NoFile => f.write_str("there is no file"),
            Way::Read => f.write_str("read"),
            Way::Evaluated(NotStatic { origin, form }) => {
                write!(f, "evaluated by guix repl, because of {form} at {origin}")
            }
            Way::Remembered(NotStatic { origin, form }) => {
                write!(
                    f,
                    "evaluated by guix repl a while ago, because of {form} at {origin}"
                )
            }
        }
    }
}

/// Reads the machine file at `path`, and has `guix` evaluate it where it has to be. A file that does not exist is an
/// empty list: most hosts have none.
pub async fn read_machine_file(
    path: &Path,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
    guix: Option<&GuixRepl>,
) -> MachineFile {
    let name = path.display().to_string();
    let text = match read_bounded(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return MachineFile {
                list: MachineList::default(),
                way: Way::NoFile,
            };
        }
        Err(error) => return nothing(&name, SchemeProblem::Read(error.to_string()), Way::Read),
    };
    let surroundings = Surroundings {
        variable,
        read: &read_bounded,
    };
    let form = match read_scheme(&text, &name, surroundings) {
        Reading::Machines(list) => {
            return MachineFile {
                list,
                way: Way::Read,
            };
        }
        Reading::NotStatic(form) => form,
    };
    let Some(guix) = guix else {
        let kind = SchemeProblem::NotStatic(form.form.clone());
        return MachineFile {
            list: only(Problem::new(form.origin, kind)),
            way: Way::Read,
        };
    };
    match guix.evaluate(path).await {
        Ok(evaluated) => MachineFile {
            list: evaluated.list,
            way: match evaluated.remembered {
                true => Way::Remembered(form),
                false => Way::Evaluated(form),
            },
        },
        Err(kind) => nothing(&name, kind, Way::Evaluated(form)),
    }
}

/// Reads a file of at most [`MAX_FILE`] bytes.
pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE as u64 + 1).read_to_string(&mut text)?;
    match text.len() <= MAX_FILE {
        true => Ok(text),
        false => Err(io::Error::other(SchemeProblem::TooLarge)),
    }
}

fn nothing(name: &str, kind: SchemeProblem, way: Way) -> MachineFile {
    let origin = Origin {
        source: name.to_owned(),
        line: 1,
        column: None,
    };
    MachineFile {
        list: only(Problem::new(origin, kind)),
        way,
    }
}

fn only(problem: Problem) -> MachineList {
    MachineList {
        machines: Vec::new(),
        problems: vec![problem],
        files: Vec::new(),
    }
}
