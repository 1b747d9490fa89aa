//! Guix's machine files: `/etc/guix/machines.scm`, a Scheme program whose value is a list of machines.
//!
//! ```text
//! (list (build-machine
//!         (name "builder") (user "offload") (systems '("x86_64-linux"))
//!         (host-key "ssh-ed25519 AAAA.. root@builder")))
//! ```
//! Most of these programs are such a list, or little more. They are read without Guix: literals, `list`, `append`,
//! `cons`, quotations, top-level `define`s, `inherit`, `string-append`, `getenv`, `if`, `call-with-input-file`, and what
//! Guix System writes. [`read_scheme`] says of any other program that it [is not static](Reading::NotStatic); the real
//! `guix repl` can [evaluate](GuixRepl) it then. [`read_machine_file`] does the one or the other.

mod build_machine;
mod cache;
mod datum;
mod file;
mod guix;
mod interpreter;
mod problem;
mod procedure;
mod syntax;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod value;

use std::fmt;
use std::io;
use std::path::Path;

use super::{MachineList, Origin};
use datum::Source;

pub use file::{MachineFile, Way, read_machine_file};
pub use guix::{Evaluated, GuixRepl};
pub use problem::SchemeProblem;

/// Largest machine file, in bytes: some thousand machines.
pub const MAX_FILE: usize = 1 << 20;

/// What a static reading came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It is all there.
    Machines(MachineList),
    /// The program has to be evaluated.
    NotStatic(NotStatic),
}

/// The first form of a program that has to be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStatic {
    /// Where it stands.
    pub origin: Origin,
    /// Its first line, at most [`NotStatic::MAX_FORM`] bytes of it.
    pub form: String,
}

impl NotStatic {
    /// How much of a form is shown: enough to find it.
    pub const MAX_FORM: usize = 60;
}

impl fmt::Display for NotStatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: has to be evaluated by guix repl: {}",
            self.origin, self.form
        )
    }
}

/// What a program may ask about its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// `(getenv NAME)`
    pub variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// `(call-with-input-file FILE get-string-all)`
    pub read: &'a (dyn Fn(&Path) -> io::Result<String> + Sync),
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Reads a machine file's `text` without evaluating it; `name` is what messages call the file.
///
/// ```
/// use offload::machines::scheme::{Reading, Surroundings, read_scheme};
///
/// let text = r#"(list (build-machine (name "builder") (user "me") (systems '("x86_64-linux"))
///     (private-key (string-append (getenv "HOME") "/key")) (host-key "ssh-ed25519 AAAA")))"#;
/// let surroundings = Surroundings {
///     variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
///     read: &|_| Err(std::io::ErrorKind::NotFound.into()),
/// };
/// let Reading::Machines(list) = read_scheme(text, "machines.scm", surroundings) else {
///     panic!("there is nothing to evaluate");
/// };
/// assert_eq!(list.machines[0].uri.as_str(), "ssh://me@builder");
/// assert_eq!(list.machines[0].ssh_key.as_deref(), Some("/root/key".as_ref()));
///
/// let Reading::NotStatic(form) = read_scheme("(map f '())", "machines.scm", surroundings) else {
///     panic!("map is not known");
/// };
/// assert_eq!(form.to_string(), "machines.scm:1:1: has to be evaluated by guix repl: (map f '())");
/// ```
#[must_use]
pub fn read_scheme(text: &str, name: &str, surroundings: Surroundings<'_>) -> Reading {
    let source = Source::new(text, name);
    let read = source.data().and_then(|data| match data {
        Ok(data) => interpreter::machines(&source, &data, surroundings),
        Err(problem) => Ok(MachineList {
            machines: Vec::new(),
            problems: vec![problem],
            files: Vec::new(),
        }),
    });
    match read {
        Ok(list) => Reading::Machines(list),
        Err(form) => Reading::NotStatic(form),
    }
}
