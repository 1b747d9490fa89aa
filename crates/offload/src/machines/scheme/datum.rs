//! The text of a program: its data, with their positions.

use lispexp::{Datum, ErrorKind, LineIndex, Options, ParseError, Span};

use super::{MAX_FILE, NotStatic, SchemeProblem};
use crate::machines::{Origin, Problem};

/// A program's text.
pub(super) struct Source<'a> {
    text: &'a str,
    name: &'a str,
    lines: LineIndex,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, name: &'a str) -> Self {
        Source {
            text,
            name,
            lines: LineIndex::new(text),
        }
    }

    /// The top-level forms. A text that no Scheme would read is a problem; one that is read otherwise by lispexp than by
    /// Guile is left to Guile.
    pub(super) fn data(&self) -> Result<Result<Vec<Datum<'a>>, Problem>, NotStatic> {
        if self.text.len() > MAX_FILE {
            let origin = self.origin(Span::new(0, 0));
            return Ok(Err(Problem::new(origin, SchemeProblem::TooLarge)));
        }
        // Comments of Guile's own, `#! .. !#`, which lispexp does not know.
        if let Some(at) = self.text.find("#!") {
            let rest = Span::new(at as u32, self.text.len() as u32);
            return Err(self.not_static(rest));
        }
        let mut options = Options::guile();
        // `|a b|` is two symbols to Guile.
        options.piped_symbols = false;
        let parsed = lispexp::parse(self.text, &options);
        match parsed.errors.first() {
            None => Ok(Ok(parsed.data)),
            Some(error) => match complaint(error) {
                Some(text) => {
                    let kind = SchemeProblem::Syntax(text);
                    Ok(Err(Problem::new(self.origin(error.span), kind)))
                }
                None => Err(self.not_static(error.span)),
            },
        }
    }

    pub(super) fn origin(&self, span: Span) -> Origin {
        let (line, column) = self.lines.offset_to_line_col(span.start);
        Origin {
            source: self.name.to_owned(),
            line: line as usize,
            column: Some(column as usize),
        }
    }

    /// The form at `span` has to be evaluated.
    pub(super) fn not_static(&self, span: Span) -> NotStatic {
        let line = span.text(self.text).lines().next().unwrap_or_default();
        let end = line.floor_char_boundary(NotStatic::MAX_FORM);
        NotStatic {
            origin: self.origin(span),
            form: line[..end].to_owned(),
        }
    }
}

/// What is wrong, if Guile sees the same error.
fn complaint(error: &ParseError) -> Option<String> {
    match &error.kind {
        ErrorKind::MalformedToken { text, .. } if text.starts_with('"') => {
            Some("unclosed string".to_owned())
        }
        ErrorKind::MalformedToken { text, .. } if text.starts_with("#|") => {
            Some("unclosed comment".to_owned())
        }
        ErrorKind::UnexpectedDelimiter { .. }
        | ErrorKind::MismatchedDelimiter { .. }
        | ErrorKind::UnclosedList { .. } => Some(error.kind.to_string()),
        _ => None,
    }
}

/// `"a\tb\x41"`, as Guile reads it if told nothing else: two digits behind `\x`, and white space behind an escaped line's
/// end stays. Nothing if it is not a string to Guile.
pub(super) fn string(raw: &str) -> Option<String> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let mut characters = escape.chars();
        let letter = characters.next()?;
        rest = characters.as_str();
        let digits = match letter {
            'x' => 2,
            'u' => 4,
            'U' => 6,
            _ => 0,
        };
        match letter {
            'x' | 'u' | 'U' => {
                let number = rest.get(..digits)?;
                let plain = number.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = u32::from_str_radix(number, 16).ok().filter(|_| plain)?;
                out.push(char::from_u32(number)?);
                rest = &rest[digits..];
            }
            '\n' => {}
            _ => out.push(escaped(letter)?),
        }
    }
    out.push_str(rest);
    Some(out)
}

fn escaped(letter: char) -> Option<char> {
    Some(match letter {
        '\\' | '"' => letter,
        '0' => '\0',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

/// `22`, `2.`, `.5`, `1e-3`, `1/2`. Nothing for what is no number to Guile, or none of these.
pub(super) fn number(raw: &str) -> Option<f64> {
    let is_plain = |text: &str| {
        text.bytes().any(|byte| byte.is_ascii_digit())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
    };
    let parse = |text: &str| text.parse::<f64>().ok().filter(|_| is_plain(text));
    let number = match raw.split_once('/') {
        Some((above, below)) => {
            let whole = |text: &&str| !text.contains(['.', 'e', 'E']);
            parse(Some(above).filter(whole)?)? / parse(Some(below).filter(whole)?)?
        }
        None => parse(raw)?,
    };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_those_of_guile() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            string(r#""a\tb\x41;c\u00e9\U01F600\\\"\a\0z""#),
            some("a\tbA;cé😀\\\"\u{7}\0z")
        );
        assert_eq!(string("\"a\\\n    b\""), some("a    b"));
        assert_eq!(string("\"a\nb\""), some("a\nb"));
        for wrong in [
            "",
            "\"",
            "a",
            r#""\q""#,
            r#""\x4""#,
            r#""\x+4""#,
            r#""\ud800""#,
            "\"\\é\"",
        ] {
            assert_eq!(string(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_those_of_guile() {
        for (text, value) in [
            ("22", 22.0),
            ("2.", 2.0),
            (".5", 0.5),
            ("-1", -1.0),
            ("+1", 1.0),
            ("1e-3", 0.001),
            ("1/2", 0.5),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for wrong in [
            "", ".", "e", "1e400", "inf", "nan", "#xff", "1.5/2", "1/0", "0/0", "+i",
        ] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
