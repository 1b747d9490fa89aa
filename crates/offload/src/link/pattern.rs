//! OpenSSH's host patterns, as its `ssh_config` and its known_hosts files have them.
//!
//! `*` stands for any number of characters, `?` for one; a list is separated by commas, and a
//! pattern after `!` excludes what it matches, wherever in the list it stands.

/// Whether `text` is what `pattern` describes, byte for byte but for `*` and `?`.
///
/// Takes time proportional to the product of both lengths at worst, whatever the pattern.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut pos) = (0, 0);
    // Where the last star was, and how much of the text it has eaten so far.
    let mut star = None;
    while pos < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[pos] => {
                at += 1;
                pos += 1;
            }
            _ => match star {
                Some((star_at, eaten)) => {
                    star = Some((star_at, eaten + 1));
                    at = star_at + 1;
                    pos = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Whether a list of patterns chooses `text`: at least one matches, and none after a `!` does.
pub(super) fn list_matches<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut chosen = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(excluded) if matches(excluded, text) => return false,
            Some(_) => {}
            None => chosen |= matches(pattern, text),
        }
    }
    chosen
}

/// [`list_matches`] for a comma-separated list of host names, whose letters' case is nothing.
pub(super) fn hosts_match(list: &str, host: &str) -> bool {
    let (list, host) = (list.to_ascii_lowercase(), host.to_ascii_lowercase());
    list_matches(list.split(','), &host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "farm1"),
            ("f*", "farm1"),
            ("*1", "farm1"),
            ("f*m*", "farm1"),
            ("f?rm1", "farm1"),
            ("192.168.?.*", "192.168.4.20"),
            ("a**b", "ab"),
            ("*ab*ab", "abab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "farm1"),
            ("?", ""),
            ("farm", "farm1"),
            ("farm1?", "farm1"),
            ("*2", "farm1"),
            ("Farm1", "farm1"),
            ("a*b", "abc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn exclusion_wins_wherever_it_stands() {
        assert!(hosts_match("*.example,!a.example", "b.EXAMPLE"));
        assert!(!hosts_match("*.example,!a.example", "a.example"));
        assert!(!hosts_match("!a.example,*.example", "A.example"));
        assert!(!hosts_match("!a.example", "b.example"));
        assert!(!hosts_match("", "b"));
    }

    /// Exponential matchers take years for this.
    #[test]
    fn many_stars_are_no_trouble() {
        let pattern = "*a".repeat(500);
        let text = "a".repeat(400);
        assert!(!matches(&pattern, &text));
    }
}
