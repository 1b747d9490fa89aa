//! `NIX_SSHOPTS`: options of OpenSSH's command line, as people give them to stock Nix.
//!
//! ```text
//! -i /root/key -p 2222 -o 'ProxyCommand=nc %h %p' -J gate
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AddressFamily;
use super::keyword::Keyword;
use super::parse::{Directive, Line, Place, parse_line};
use super::setting::Setting;

/// The name of the variable, which is where its options stand.
const NAME: &str = "NIX_SSHOPTS";

/// Options that take no value and change nothing here: terminals, forwarding, loudness.
const HARMLESS: &str = "12AKMTXYagknqtvxy";
/// Options that take a value and change nothing here.
const HARMLESS_WITH_VALUE: &str = "DELRSe";
/// Options that take a value and are not honoured.
const WITH_VALUE: &str = "BIOQWcmw";

/// Which configuration files `-F` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::link) enum Files {
    /// The user's and the system's.
    #[default]
    Usual,
    /// None: `-F none`.
    None,
    /// Only this one.
    Only(PathBuf),
}

/// A command line as lines of configuration that count before those of any file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::link) struct CommandLine {
    lines: Vec<Line>,
    files: Files,
}

impl CommandLine {
    /// Reads the value of `NIX_SSHOPTS`. Never fails: what cannot be honoured becomes a line that
    /// says so.
    pub(in crate::link) fn of_sshopts(text: &str) -> Self {
        let mut read = CommandLine::default();
        let words = split(text).unwrap_or_else(|reason| {
            read.push(Directive::Broken(format!(
                "{reason}; taken apart at blanks"
            )));
            text.split_whitespace().map(str::to_owned).collect()
        });
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some(options) if !options.is_empty() => read.cluster(options, &mut words),
                _ => read.push(Directive::Broken(format!("{word:?} is no option"))),
            }
        }
        read
    }

    /// Adds what a machine's own entry says, which counts after `NIX_SSHOPTS`, as it does for
    /// stock Nix.
    pub(in crate::link) fn add(
        &mut self,
        source: &str,
        settings: impl IntoIterator<Item = (Keyword, Setting)>,
    ) {
        let source: Arc<Path> = Arc::from(Path::new(source));
        let place = Place { source, line: 0 };
        self.lines
            .extend(settings.into_iter().map(|(keyword, setting)| Line {
                place: place.clone(),
                directive: Directive::Set(keyword, setting),
            }));
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The files that count after it.
    pub(in crate::link) fn files(&self) -> &Files {
        &self.files
    }

    fn push(&mut self, directive: Directive) {
        let source: Arc<Path> = Arc::from(Path::new(NAME));
        let place = Place { source, line: 0 };
        self.lines.push(Line { place, directive });
    }

    /// Options of one word, `-v` or `-vp2222`; the last one's value may be the next word.
    fn cluster(&mut self, options: &str, words: &mut impl Iterator<Item = String>) {
        let mut rest = options;
        while let Some(option) = rest.chars().next() {
            rest = &rest[option.len_utf8()..];
            if HARMLESS.contains(option) {
                continue;
            }
            match option {
                '4' => self.set(
                    Keyword::AddressFamily,
                    Setting::AddressFamily(AddressFamily::V4),
                ),
                '6' => self.set(
                    Keyword::AddressFamily,
                    Setting::AddressFamily(AddressFamily::V6),
                ),
                'C' => self.set(Keyword::Compression, Setting::Compression(true)),
                _ if "FJbilop".contains(option)
                    || HARMLESS_WITH_VALUE.contains(option)
                    || WITH_VALUE.contains(option) =>
                {
                    let value = match rest {
                        "" => words.next(),
                        attached => Some(attached.to_owned()),
                    };
                    match value {
                        Some(value) => self.option(option, value),
                        None => {
                            self.push(Directive::Broken(format!("-{option}: no value follows")));
                        }
                    }
                    return;
                }
                _ => self.push(Directive::Broken(format!("-{option} is not honoured"))),
            }
        }
    }

    fn option(&mut self, option: char, value: String) {
        match option {
            'F' if value == "none" => self.files = Files::None,
            'F' => self.files = Files::Only(PathBuf::from(value)),
            'J' => self.line(&format!("ProxyJump {value}")),
            'b' => self.set(Keyword::BindAddress, Setting::BindAddress(value)),
            'i' => self.set(Keyword::IdentityFile, Setting::IdentityFile(value)),
            'l' => self.set(Keyword::User, Setting::User(value)),
            'o' => self.line(&value),
            'p' => self.line(&format!("Port {value}")),
            _ if HARMLESS_WITH_VALUE.contains(option) => {}
            _ => self.push(Directive::Broken(format!(
                "-{option} {value} is not honoured"
            ))),
        }
    }

    fn set(&mut self, keyword: Keyword, setting: Setting) {
        self.push(Directive::Set(keyword, setting));
    }

    fn line(&mut self, text: &str) {
        match parse_line(text) {
            // Blocks and other files do not fit on a command line.
            Some(Directive::Host(_) | Directive::Match(_) | Directive::Include { .. }) => {
                self.push(Directive::Broken(format!("-o {text:?} is not honoured")));
            }
            Some(directive) => self.push(directive),
            None => {}
        }
    }
}

/// Takes a text apart as a shell does, without any expansion. Nix does it so since 2.26; before it
/// only knew blanks, so that whoever wrote a quote then had no use for it.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("a quote is not closed")? {
                        '\'' => break,
                        quoted => word.push(quoted),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("a quote is not closed")? {
                        '"' => break,
                        '\\' => {
                            let escaped = characters.next_if(|next| "$`\"\\".contains(*next));
                            word.push(escaped.unwrap_or('\\'));
                        }
                        quoted => word.push(quoted),
                    }
                }
            }
            '\\' => {
                let escaped = characters.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(escaped);
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_a_shells() {
        let all = |text| split(text).unwrap();
        assert_eq!(all(" -i  a\t-p 22\n"), ["-i", "a", "-p", "22"]);
        assert_eq!(all(r#"-o "a b"'c d'e\ f"#), ["-o", "a bc de f"]);
        assert_eq!(all(r#""a\"b\c\\" '\' """#), [r#"a"b\c\"#, r"\", ""]);
        assert_eq!(all(""), [""; 0]);
        for text in ["'", "a\"b", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
