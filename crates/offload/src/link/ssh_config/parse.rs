//! The text of an `ssh_config` file into its lines, without I/O.
//!
//! ```text
//! Host farm* !farm9          a block: the lines up to the next one count for these hosts
//!     User ci
//! Match host *.example user root
//!     Include more/*.conf    read at this place, by `load`
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::keyword::{Keyword, Meaning, Structure, meaning};
use super::setting::Setting;
use super::words::{Words, split_line};

/// Where a line stands, for messages: `/root/.ssh/config:3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or what else held the line.
    pub source: Arc<Path>,
    /// Line, counted from 1; 0 where there are no lines.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.source.display()),
            line => write!(f, "{}:{line}", self.source.display()),
        }
    }
}

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) directive: Directive,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Directive {
    /// Begins a block for hosts of these patterns.
    Host(Vec<String>),
    /// Begins a block for what fulfils all of these.
    Match(Vec<Criterion>),
    /// Other files, at this place; `load` fills them in.
    Include {
        patterns: Vec<String>,
        files: Vec<Vec<Line>>,
    },
    /// Unknown keywords of these patterns are no trouble.
    IgnoreUnknown(String),
    /// Something that is honoured.
    Set(Keyword, Setting),
    /// Something that is not, and what it asks for; `harmless` where that is nothing.
    NotHonoured {
        keyword: String,
        value: String,
        harmless: bool,
    },
    /// A keyword that nobody knows.
    Unknown(String),
    /// What cannot be understood.
    Broken(String),
    /// A file that could not be read.
    Unreadable(String),
}

/// One condition of a `Match` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Criterion {
    pub(super) negated: bool,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    All,
    /// Only when everything is read a second time, which `Match final` asks for.
    Final,
    /// The same, without asking for it.
    Canonical,
    Host(String),
    OriginalHost(String),
    User(String),
    LocalUser(String),
    /// What is not decided here, by its name: its block never applies.
    Undecided(String),
}

/// Reads the text of a file. Never fails: what cannot be understood becomes a line that says so.
pub(super) fn parse(text: &str, source: &Arc<Path>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, text) in text.split('\n').enumerate() {
        let place = Place {
            source: source.clone(),
            line: index + 1,
        };
        if let Some(directive) = parse_line(text) {
            lines.push(Line { place, directive });
        }
    }
    lines
}

/// Reads one line; `None` where it says nothing that matters.
pub(super) fn parse_line(text: &str) -> Option<Directive> {
    let line = match split_line(text) {
        Ok(line) => line?,
        Err((keyword, error)) => {
            return Some(match meaning(keyword) {
                // A block whose condition is not understood must not count for everyone.
                Meaning::Structure(Structure::Host) => Directive::Host(Vec::new()),
                Meaning::Structure(Structure::Match) => Directive::Match(Vec::new()),
                _ => Directive::Broken(format!("{keyword}: {error}")),
            });
        }
    };
    let broken = |reason: String| Directive::Broken(format!("{}: {reason}", line.keyword));
    Some(match meaning(line.keyword) {
        Meaning::Harmless => return None,
        Meaning::Unknown => Directive::Unknown(line.keyword.to_owned()),
        Meaning::NotHonoured(nothing) => {
            let value = line.words.join(" ");
            Directive::NotHonoured {
                keyword: line.keyword.to_owned(),
                harmless: nothing.iter().any(|word| value.eq_ignore_ascii_case(word)),
                value,
            }
        }
        Meaning::Honoured(keyword) => match Setting::read(keyword, &line) {
            Ok(setting) => Directive::Set(keyword, setting),
            Err(error) => broken(error.to_string()),
        },
        Meaning::Structure(Structure::Host) => Directive::Host(line.words),
        Meaning::Structure(Structure::Match) => Directive::Match(criteria(&line)),
        Meaning::Structure(Structure::Include) => Directive::Include {
            patterns: line.words,
            files: Vec::new(),
        },
        Meaning::Structure(Structure::IgnoreUnknown) => {
            Directive::IgnoreUnknown(line.words[0].clone())
        }
    })
}

/// The conditions of a `Match` line; none if any of them makes no sense.
fn criteria(line: &Words<'_>) -> Vec<Criterion> {
    let words = line
        .words
        .iter()
        .flat_map(|word| match word.split_once('=') {
            Some((name, value)) => vec![name, value],
            None => vec![word.as_str()],
        });
    let mut words = words.filter(|word| !word.is_empty());
    let mut criteria = Vec::new();
    while let Some(word) = words.next() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let name = name.to_ascii_lowercase();
        let test = match name.as_str() {
            "all" => Test::All,
            "final" => Test::Final,
            "canonical" => Test::Canonical,
            _ => match words.next() {
                Some(value) => with_value(name, value.to_owned()),
                None => return Vec::new(),
            },
        };
        criteria.push(Criterion { negated, test });
    }
    // `all` stands last, and beside one other at most.
    let alls = criteria.iter().filter(|c| c.test == Test::All).count();
    let ends_with_all = criteria.last().is_some_and(|c| c.test == Test::All);
    if alls > 0 && !(alls == 1 && ends_with_all && criteria.len() <= 2) {
        return Vec::new();
    }
    criteria
}

fn with_value(name: String, value: String) -> Test {
    match name.as_str() {
        "host" => Test::Host(value),
        "originalhost" => Test::OriginalHost(value),
        "user" => Test::User(value),
        "localuser" => Test::LocalUser(value),
        _ => Test::Undecided(name),
    }
}
