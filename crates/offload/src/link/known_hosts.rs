//! known_hosts files, without I/O.
//!
//! ```text
//! farm1,[farm2]:2222,10.0.0.? ssh-ed25519 AAAA.. comment
//! |1|salt|hash= ssh-ed25519 AAAA..              the name is HMAC-SHA1(salt, name)
//! @cert-authority *.example,!old.example ssh-ed25519 AAAA..
//! @revoked * ssh-ed25519 AAAA..
//! ```

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use super::pattern;

/// What a line says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// It is the hosts' own.
    Host,
    /// It signs the hosts' certificates.
    Authority,
    /// It must never be believed.
    Revoked,
}

/// A line with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) marker: Marker,
    names: Names<'a>,
    pub(super) key: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names<'a> {
    /// Patterns, separated by commas.
    Patterns(&'a str),
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

/// Why a line is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("marker is neither @cert-authority nor @revoked")]
    Marker,
    #[error("hashed name is not |1|SALT|HASH")]
    Hash,
    #[error("key is not one that is understood")]
    Key,
}

/// A line of the file, read as far as is needed to see whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    marker: Marker,
    names: Names<'a>,
    key: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` for empty ones and comments.
    pub(super) fn parse(text: &'a str) -> Result<Option<Self>, LineError> {
        let text = text.trim_matches(BLANK);
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let (marker, rest) = match text.strip_prefix('@') {
            None => (Marker::Host, text),
            Some(marked) => {
                let (word, rest) = split_word(marked);
                let marker = match word {
                    "cert-authority" => Marker::Authority,
                    "revoked" => Marker::Revoked,
                    _ => return Err(LineError::Marker),
                };
                (marker, rest)
            }
        };
        let (names, key) = split_word(rest);
        let names = match names.strip_prefix('|') {
            Some(hashed) => hashed_name(hashed).ok_or(LineError::Hash)?,
            None => Names::Patterns(names),
        };
        Ok(Some(Line { marker, names, key }))
    }

    /// Whether the line is about the host that is looked up by `name`.
    pub(super) fn is_about(&self, name: &str) -> bool {
        self.names.include(name)
    }

    /// Reads its key, which takes longer than all the rest.
    pub(super) fn entry(self) -> Result<Entry<'a>, LineError> {
        let (algorithm, rest) = split_word(self.key);
        let (base64, _comment) = split_word(rest);
        let key = PublicKey::from_openssh(&format!("{algorithm} {base64}"));
        Ok(Entry {
            marker: self.marker,
            names: self.names,
            key: key.map_err(|_| LineError::Key)?,
        })
    }
}

impl Names<'_> {
    fn include(&self, name: &str) -> bool {
        match self {
            Names::Patterns(patterns) => pattern::hosts_match(patterns, name),
            Names::Hashed { salt, hash } => hash_name(salt, name).as_slice() == hash,
        }
    }
}

/// What separates words; files that were edited elsewhere end lines with a carriage return.
const BLANK: [char; 3] = [' ', '\t', '\r'];

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(BLANK) {
        Some((word, rest)) => (word, rest.trim_start_matches(BLANK)),
        None => (text, ""),
    }
}

/// `1|SALT|HASH`, both in base64.
fn hashed_name(text: &str) -> Option<Names<'static>> {
    let (salt, hash) = text.strip_prefix("1|")?.split_once('|')?;
    Some(Names::Hashed {
        salt: BASE64.decode(salt.as_bytes()).ok()?,
        hash: BASE64.decode(hash.as_bytes()).ok()?,
    })
}

fn hash_name(salt: &[u8], name: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("HMAC takes keys of any length");
    mac.update(name.to_ascii_lowercase().as_bytes());
    mac.finalize().into_bytes().into()
}

/// The name that OpenSSH looks a host up by.
pub(super) fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

#[cfg(any(test, feature = "testing"))]
pub(super) mod testing {
    //! The oracle of the fuzz target.

    use super::*;

    impl Entry<'_> {
        fn print(&self) -> String {
            let marker = match self.marker {
                Marker::Host => "",
                Marker::Authority => "@cert-authority ",
                Marker::Revoked => "@revoked ",
            };
            let names = match &self.names {
                Names::Patterns(patterns) => (*patterns).to_owned(),
                Names::Hashed { salt, hash } => {
                    format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash))
                }
            };
            let key = self
                .key
                .to_openssh()
                .expect("a key that was read is printed");
            format!("{marker}{names} {key}")
        }
    }

    /// What holds for any text: a line that is understood prints as one that means the same.
    pub(in crate::link) fn oracle(data: &[u8]) {
        let text = String::from_utf8_lossy(data);
        for text in text.split('\n') {
            let Ok(Some(line)) = Line::parse(text) else {
                continue;
            };
            let about = line.is_about("farm1");
            let Ok(entry) = line.entry() else {
                continue;
            };
            let printed = entry.print();
            let again = Line::parse(&printed)
                .expect("what is printed is understood")
                .expect("and no comment");
            assert_eq!(again.is_about("farm1"), about, "{printed}");
            assert_eq!(again.entry().as_ref(), Ok(&entry), "{printed}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[track_caller]
    fn about(names: &str, name: &str) -> bool {
        let text = format!("{names} {KEY} comment");
        Line::parse(&text).unwrap().unwrap().is_about(name)
    }

    #[test]
    fn names_are_patterns_or_hashed() {
        assert!(about("a,farm1", "farm1"));
        assert!(about("FARM?", "farm1"));
        assert!(about("*.example,!a.example", "b.example"));
        assert!(!about("*.example,!a.example", "a.example"));
        assert!(about("[farm*]:2222", "[farm1]:2222"));
        assert!(!about("farm1", "[farm1]:2222"));
        // `ssh-keygen -H` made this of `farm1`.
        let hashed = "|1|4KBlTNokf2Coxl2+Ls77f0gA9RA=|zCueMgWz67vFbLbRy2Y+Oesm7gk=";
        assert!(about(hashed, "farm1"));
        assert!(!about(hashed, "farm2"));
    }

    #[test]
    fn markers_comments_and_blanks() {
        let entry = |text: &str| {
            let line = Line::parse(text)?;
            line.map(Line::entry)
                .transpose()
                .map(|entry| entry.map(|entry| entry.marker))
        };
        assert_eq!(entry(&format!("  a\t{KEY}\r")), Ok(Some(Marker::Host)));
        assert_eq!(
            entry(&format!("@cert-authority *  {KEY}")),
            Ok(Some(Marker::Authority))
        );
        assert_eq!(
            entry(&format!("@revoked * {KEY}")),
            Ok(Some(Marker::Revoked))
        );
        for text in ["", " ", "\r", "# a", " # a"] {
            assert_eq!(entry(text), Ok(None), "{text:?}");
        }
        assert_eq!(entry(&format!("@else * {KEY}")), Err(LineError::Marker));
        assert_eq!(entry(&format!("|2|a|b {KEY}")), Err(LineError::Hash));
        assert_eq!(entry("a"), Err(LineError::Key));
        assert_eq!(entry("a ssh-rsa AAAAC3NzaC1lZDI1NTE5"), Err(LineError::Key));
        let printed = "@revoked |1|AAAA|BBBB ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ x";
        testing::oracle(printed.as_bytes());
    }
}
