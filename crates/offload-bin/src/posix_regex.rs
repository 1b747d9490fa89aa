//! Extended regular expressions of POSIX, as `guix offload test FILE REGEXP` takes them: Guile's `string-match` hands
//! them to the C library.
//!
//! ```text
//! ^(node|farm)-[[:digit:]]{1,2}\.example$
//! ```
//! They are translated for `regex-lite`, whose own syntax gives other meanings to the same characters: `[\.]` is a
//! backslash or a dot to POSIX, `a+?` is `(a+)?`, `\d` is a `d`. What glibc adds to POSIX is understood, too (`\w`, `\<`,
//! `{,3}`), but for back references, which no automaton can follow. Only which texts match is the same, not where.
//! `posix_regex.txt` is a table of both, which the interop tests hold against Guile's.

use std::fmt;

use regex_lite::Regex;

/// Why a text is no regular expression, or none that is understood.
#[derive(Debug)]
pub(crate) enum Error {
    /// It cannot be read, from this byte on.
    Syntax {
        problem: &'static str,
        offset: usize,
    },
    /// It can be read, and is too much.
    Engine(regex_lite::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax { problem, offset } => write!(formatter, "{problem} at byte {offset}"),
            Error::Engine(error) => error.fmt(formatter),
        }
    }
}

/// What finds matches of `pattern` anywhere in a text.
///
/// # Errors
/// Where glibc would not take it either; for back references; where it is too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Error> {
    let mut translator = Translator {
        rest: pattern,
        length: pattern.len(),
        ..Translator::default()
    };
    translator.run()?;
    Regex::new(&translator.out).map_err(Error::Engine)
}

#[derive(Default)]
struct Translator<'a> {
    rest: &'a str,
    /// Of the whole pattern, in bytes.
    length: usize,
    out: String,
    /// Where the open groups begin in `out`.
    open: Vec<usize>,
    /// Where in `out` begins what may be repeated.
    atom: Option<usize>,
}

/// What stands in brackets.
enum Element {
    Character(char),
    /// The ranges of a class.
    Class(&'static str),
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), Error> {
        while let Some(next) = self.bump() {
            match next {
                '(' => {
                    self.open.push(self.out.len());
                    self.join("(?:");
                }
                ')' if !self.open.is_empty() => {
                    self.atom = self.open.pop();
                    self.out.push(')');
                }
                '|' => self.join("|"),
                '^' => self.join("^"),
                '$' => self.join("$"),
                '.' => self.atom("(?s:.)"),
                '*' => self.repeat("*")?,
                '+' => self.repeat("+")?,
                '?' => self.repeat("?")?,
                '{' => self.interval()?,
                '[' => self.bracket()?,
                '\\' => self.escape()?,
                // A lone closing parenthesis, too.
                literal => self.literal(literal),
            }
        }
        match self.open.is_empty() {
            true => Ok(()),
            false => Err(self.error("parenthesis that is not closed")),
        }
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn error(&self, problem: &'static str) -> Error {
        Error::Syntax {
            problem,
            offset: self.length - self.rest.len(),
        }
    }

    /// Something that cannot be repeated.
    fn join(&mut self, text: &str) {
        self.out.push_str(text);
        self.atom = None;
    }

    /// Something that can.
    fn atom(&mut self, text: &str) {
        self.atom = Some(self.out.len());
        self.out.push_str(text);
    }

    fn literal(&mut self, literal: char) {
        let text = regex_lite::escape(literal.encode_utf8(&mut [0; 4]));
        self.atom(&text);
    }

    /// Behind `*` and the like: what comes before is a group of its own, so that `a+?` is no other way to repeat.
    fn repeat(&mut self, times: &str) -> Result<(), Error> {
        let Some(start) = self.atom else {
            return Err(self.error("nothing to repeat"));
        };
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        self.out.push_str(times);
        Ok(())
    }

    /// Behind `{`: `3}`, `3,}`, `3,5}`, and of glibc's `,5}`.
    fn interval(&mut self) -> Result<(), Error> {
        let least = self.number()?;
        let times = match self.eat(",") {
            true => match (least.unwrap_or(0), self.number()?) {
                (least, Some(most)) if most < least => {
                    return Err(self.error("interval that ends before it begins"));
                }
                (least, Some(most)) => format!("{{{least},{most}}}"),
                (least, None) => format!("{{{least},}}"),
            },
            false => match least {
                Some(count) => format!("{{{count}}}"),
                None => return Err(self.error("no interval")),
            },
        };
        match self.eat("}") {
            true => self.repeat(&times),
            false => Err(self.error("interval that is not closed")),
        }
    }

    fn number(&mut self) -> Result<Option<u16>, Error> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &self.rest[..self.rest.len() - rest.len()];
        if digits.is_empty() {
            return Ok(None);
        }
        // POSIX's RE_DUP_MAX, as glibc has it.
        let number = digits.parse().ok().filter(|number| *number <= 0x7fff);
        let number = number.ok_or_else(|| self.error("interval beyond 32767"))?;
        self.rest = rest;
        Ok(Some(number))
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<(), Error> {
        match self.bump() {
            None => return Err(self.error("backslash at the end")),
            Some('1'..='9') => return Err(self.error("back reference, which is not supported,")),
            Some('w') => self.atom("[0-9A-Z_a-z]"),
            Some('W') => self.atom("[^0-9A-Z_a-z]"),
            Some('s') => self.atom("[\\t-\\r ]"),
            Some('S') => self.atom("[^\\t-\\r ]"),
            Some('b') => self.join("\\b"),
            Some('B') => self.join("\\B"),
            Some('<') => self.join("\\b{start}"),
            Some('>') => self.join("\\b{end}"),
            Some('`') => self.join("\\A"),
            Some('\'') => self.join("\\z"),
            Some(literal) => self.literal(literal),
        }
        Ok(())
    }

    /// Behind `[`.
    fn bracket(&mut self) -> Result<(), Error> {
        let mut set = String::from(if self.eat("^") { "[^" } else { "[" });
        let mut is_first = true;
        while is_first || !self.eat("]") {
            let element = self.element(is_first)?;
            is_first = false;
            if !self.rest.starts_with('-') || self.rest.starts_with("-]") {
                match element {
                    Element::Character(character) => set.push_str(&in_set(character)),
                    Element::Class(ranges) => set.push_str(ranges),
                }
                continue;
            }
            self.eat("-");
            match (element, self.element(true)?) {
                (Element::Character(low), Element::Character(high)) if low <= high => {
                    set.push_str(&format!("{}-{}", in_set(low), in_set(high)));
                }
                _ => return Err(self.error("range that is none")),
            }
        }
        set.push(']');
        self.atom(&set);
        Ok(())
    }

    /// A character or class in brackets; where a hyphen may be a character even if others follow it.
    fn element(&mut self, may_be_hyphen: bool) -> Result<Element, Error> {
        for (kind, end) in [("[:", ":]"), ("[=", "=]"), ("[.", ".]")] {
            if self.eat(kind) {
                return self.symbol(kind, end);
            }
        }
        match self.bump() {
            None => Err(self.error("bracket that is not closed")),
            Some('-') if !may_be_hyphen && !self.rest.starts_with(']') => {
                Err(self.error("range that is none"))
            }
            Some(character) => Ok(Element::Character(character)),
        }
    }

    /// Behind `[:`, `[=` or `[.`.
    fn symbol(&mut self, kind: &str, end: &str) -> Result<Element, Error> {
        let Some((name, rest)) = self.rest.split_once(end) else {
            return Err(self.error("bracket that is not closed"));
        };
        let found = match kind {
            "[:" => class(name).map(Element::Class),
            _ => {
                let mut characters = name.chars();
                let first = characters.next().filter(|_| characters.next().is_none());
                first.map(Element::Character)
            }
        };
        let found = found.ok_or_else(|| self.error("unknown name in brackets"))?;
        self.rest = rest;
        Ok(found)
    }
}

/// A character as `regex-lite` reads it in brackets.
fn in_set(character: char) -> String {
    format!("\\x{{{:x}}}", u32::from(character))
}

/// The characters of a class, those of ASCII: names of machines have no others.
fn class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "blank" => "\\t ",
        "cntrl" => "\\x00-\\x1f\\x7f",
        "digit" => "0-9",
        "graph" => "\\x21-\\x7e",
        "lower" => "a-z",
        "print" => "\\x20-\\x7e",
        "punct" => "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
        "space" => "\\t-\\r ",
        "upper" => "A-Z",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines `REGEXP TEXT OUTCOME`, separated by tabulators.
    const TABLE: &str = include_str!("posix_regex.txt");

    #[test]
    fn the_table_holds() {
        let mut rows = 0;
        for line in TABLE.lines().filter(|line| !line.starts_with("# ")) {
            let [pattern, text, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("three columns: {line:?}");
            };
            let found = match compile(pattern) {
                Ok(regex) if regex.is_match(text) => "yes",
                Ok(_) => "no",
                Err(_) => "error",
            };
            // That of Guile stands behind ours where they differ.
            let ours = outcome.split('/').next();
            assert_eq!(Some(found), ours, "{line:?}: {:?}", compile(pattern));
            rows += 1;
        }
        assert!(rows > 100, "{rows}");
    }

    #[test]
    fn errors_name_the_place() {
        let patterns = [
            "(a",
            "a|*",
            "a{2",
            "a{3,2}",
            "a{x}",
            "a{40000}",
            "a\\",
            "(a)\\1",
            "[a",
            "[z-a]",
            "[[:host:]]",
            "[[.space.]]",
            "((a{1000}){1000}){1000}",
        ];
        let errors = patterns.map(|pattern| {
            let error = compile(pattern).map(drop).expect_err(pattern);
            format!("{pattern}: {error}")
        });
        insta::assert_snapshot!(errors.join("\n"));
    }
}
