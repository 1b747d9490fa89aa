//! One line of an `ssh_config` file into its keyword and its words.
//!
//! ```text
//!   HostName = "farm 1.example"  # why
//!   keyword    words              comment
//! ```
//! The rules are those of OpenSSH 9.2: one `=` may stand between keyword and words; quotes of both
//! kinds group; a backslash escapes quotes, itself and, outside of quotes, a space; `#` starts a
//! comment where a word could start.

/// What separates words.
const BLANK: [char; 2] = [' ', '\t'];

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words<'a> {
    /// As written; its letters' case is nothing.
    pub(super) keyword: &'a str,
    /// All that follows, as written: commands keep their own quotes.
    pub(super) rest: &'a str,
    /// What follows, without quotes and comment.
    pub(super) words: Vec<String>,
}

/// Why a line says nothing that can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WordsError {
    #[error("no value follows")]
    NoValue,
    #[error("a quote is not closed")]
    Quotes,
}

/// Takes a line apart; `None` for empty lines and comments.
pub(super) fn split_line(line: &str) -> Result<Option<Words<'_>>, (&str, WordsError)> {
    let line = line.trim_matches([' ', '\t', '\r', '\n', '\x0c']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (keyword, rest) = match line.find([' ', '\t', '=', '"']) {
        Some(end) => line.split_at(end),
        None => (line, ""),
    };
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let rest = rest.trim_start_matches(BLANK);
    let words = split_words(rest).map_err(|error| (keyword, error))?;
    if words.is_empty() {
        return Err((keyword, WordsError::NoValue));
    }
    Ok(Some(Words {
        keyword,
        rest,
        words,
    }))
}

fn split_words(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(BLANK);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = first_word(rest)?;
        words.push(word);
        rest = after.trim_start_matches(BLANK);
    }
    Ok(words)
}

/// The word that `text` starts with, and what stands behind it.
fn first_word(text: &str) -> Result<(String, &str), WordsError> {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        match (character, quote) {
            ('\\', _) => {
                let escaped = characters.next_if(|&(_, next)| {
                    matches!(next, '\'' | '"' | '\\') || (next == ' ' && quote.is_none())
                });
                word.push(escaped.map_or('\\', |(_, next)| next));
            }
            (' ' | '\t', None) => return Ok((word, &text[index..])),
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => word.push(character),
        }
    }
    match quote {
        Some(_) => Err(WordsError::Quotes),
        None => Ok((word, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let found = split_line(line).unwrap().unwrap();
        let mut all = vec![found.keyword.to_owned()];
        all.extend(found.words);
        all
    }

    #[test]
    fn quotes_escapes_and_comments() {
        assert_eq!(words("Port 22"), ["Port", "22"]);
        assert_eq!(words("\tPort=22\r"), ["Port", "22"]);
        assert_eq!(words("Port = 22 # the usual"), ["Port", "22"]);
        assert_eq!(words("Host a b#c d"), ["Host", "a", "b#c", "d"]);
        assert_eq!(words(r#"Host "a b" c' d'"#), ["Host", "a b", "c d"]);
        assert_eq!(
            words(r"Host a\ b \c \\ \'"),
            ["Host", "a b", r"\c", r"\", "'"]
        );
        assert_eq!(words(r#"Host "a\"b\ c""#), ["Host", r#"a"b\ c"#]);
        assert_eq!(words(r#"User"""#), ["User", ""]);
    }

    #[test]
    fn lines_that_say_nothing() {
        for line in ["", "  ", "\r", "# Host a", "\t#"] {
            assert_eq!(split_line(line), Ok(None), "{line:?}");
        }
        assert_eq!(split_line("Port"), Err(("Port", WordsError::NoValue)));
        assert_eq!(
            split_line("Port = # 22"),
            Err(("Port", WordsError::NoValue))
        );
        assert_eq!(split_line("User \"me"), Err(("User", WordsError::Quotes)));
    }

    #[test]
    fn commands_keep_their_quotes() {
        let line = split_line(r#"ProxyCommand = sh -c "a  b" # c"#).unwrap();
        assert_eq!(line.unwrap().rest, r#"sh -c "a  b" # c"#);
    }
}
