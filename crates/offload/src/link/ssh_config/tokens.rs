//! `~`, `%`-tokens and `${VARIABLES}` in names of files, hosts and commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

/// Longest result, in bytes: as long as a path may be, and far longer than any host name.
const MAX_EXPANDED: usize = 4096;

/// What tokens stand for.
#[derive(Debug, Clone)]
pub(in crate::link) struct Tokens<'a> {
    /// `%n`: the host as it was asked for.
    pub(in crate::link) original_host: &'a str,
    /// `%h`: its real name.
    pub(in crate::link) host: &'a str,
    /// `%k`: the name that its key is known by.
    pub(in crate::link) host_key_alias: &'a str,
    /// `%p`
    pub(in crate::link) port: u16,
    /// `%r`: the user there.
    pub(in crate::link) remote_user: &'a str,
    /// `%u`: the user here.
    pub(in crate::link) local_user: &'a str,
    /// `%i`: that user's number.
    pub(in crate::link) uid: u32,
    /// `%d`, and `~`.
    pub(in crate::link) home: &'a Path,
    /// `%l`, and before the first dot `%L`.
    pub(in crate::link) local_host: &'a str,
    /// `%j`
    pub(in crate::link) jump_host: &'a str,
    /// `${..}`
    pub(in crate::link) environment: &'a BTreeMap<String, String>,
}

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A token that OpenSSH has not, or not there, or that is not supported.
    #[error("%{0} has no meaning in {1:?}")]
    Unknown(char, String),
    /// `%` at the end, or `${` without `}`.
    #[error("it ends in the middle of a token: {0:?}")]
    Unfinished(String),
    /// `${VARIABLE}` that is not set.
    #[error("the environment has no {0}, which {1:?} asks for")]
    Variable(String, String),
    /// `~name/..`
    #[error("other users' home directories are not looked up: {0:?}")]
    OtherHome(String),
    /// The result is longer than it may be.
    #[error("longer than {MAX_EXPANDED} bytes: {0:?}")]
    TooLong(String),
}

impl TokenError {
    /// Of a command: its arguments may be secret.
    fn without_arguments(self) -> Self {
        match self {
            TokenError::Unknown(token, command) => TokenError::Unknown(token, program(&command)),
            TokenError::Unfinished(command) => TokenError::Unfinished(program(&command)),
            TokenError::Variable(name, command) => TokenError::Variable(name, program(&command)),
            TokenError::OtherHome(command) => TokenError::OtherHome(program(&command)),
            TokenError::TooLong(command) => TokenError::TooLong(program(&command)),
        }
    }
}

/// What of a command may be told to everyone: its first word, and whether there are more.
pub(in crate::link) fn program(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    match words.next() {
        Some(_) => format!("{program} .."),
        None => program.to_owned(),
    }
}

impl Tokens<'_> {
    /// Expands the name of a file of the user's: `~`, tokens, `${VARIABLE}`.
    pub(in crate::link) fn user_file(&self, text: &str) -> Result<PathBuf, TokenError> {
        let home = self.home.display().to_string();
        let named = match text.strip_prefix('~') {
            // The home directory's own `%` are none of ours.
            Some("") => home.replace('%', "%%"),
            Some(rest) if rest.starts_with('/') => home.replace('%', "%%") + rest,
            Some(_) => return Err(TokenError::OtherHome(text.to_owned())),
            None => text.to_owned(),
        };
        let all = |token| self.any(token);
        expand(&named, all, Some(self.environment)).map(PathBuf::from)
    }

    /// Expands the name of a file of the system's: `~` only.
    pub(in crate::link) fn system_file(&self, text: &str) -> PathBuf {
        match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(text),
        }
    }

    /// Expands a command: `%h`, `%n`, `%p`, `%r`.
    pub(in crate::link) fn command(&self, text: &str) -> Result<String, TokenError> {
        let some = |token| match token {
            'h' | 'n' | 'p' | 'r' => self.any(token),
            _ => None,
        };
        expand(text, some, None).map_err(|error| error.without_arguments())
    }

    /// `%C`: what tells a connection from others. OpenSSH knows of jump hosts there since 9.6.
    fn connection(&self) -> String {
        let port = self.port.to_string();
        let parts = [
            self.local_host,
            self.host,
            &port,
            self.remote_user,
            self.jump_host,
        ];
        HEXLOWER.encode(&Sha1::digest(parts.concat()))
    }

    fn any(&self, token: char) -> Option<String> {
        let text = match token {
            'C' => return Some(self.connection()),
            'd' => return Some(self.home.display().to_string()),
            'p' => return Some(self.port.to_string()),
            'i' => return Some(self.uid.to_string()),
            'h' => self.host,
            'j' => self.jump_host,
            'k' => self.host_key_alias,
            'L' => self.local_host.split('.').next().unwrap_or_default(),
            'l' => self.local_host,
            'n' => self.original_host,
            'r' => self.remote_user,
            'u' => self.local_user,
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Expands a host's real name: `%h` is the host as it was asked for.
pub(in crate::link) fn host_name(text: &str, original_host: &str) -> Result<String, TokenError> {
    let token = |token| (token == 'h').then(|| original_host.to_owned());
    expand(text, token, None)
}

fn expand(
    text: &str,
    token: impl Fn(char) -> Option<String>,
    environment: Option<&BTreeMap<String, String>>,
) -> Result<String, TokenError> {
    let whole = || text.to_owned();
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['%', '$']) {
        expanded.push_str(&rest[..start]);
        let (sign, after) = rest[start..].split_at(1);
        rest = after;
        match (sign, environment) {
            ("%", _) => {
                let name = rest.chars().next();
                let name = name.ok_or_else(|| TokenError::Unfinished(whole()))?;
                rest = &rest[name.len_utf8()..];
                let value = match name {
                    '%' => Some("%".to_owned()),
                    name => token(name),
                };
                expanded += &value.ok_or_else(|| TokenError::Unknown(name, whole()))?;
            }
            (_, Some(environment)) if rest.starts_with('{') => {
                let (name, after) = rest[1..]
                    .split_once('}')
                    .ok_or_else(|| TokenError::Unfinished(whole()))?;
                rest = after;
                let value = environment.get(name);
                expanded += value.ok_or_else(|| TokenError::Variable(name.to_owned(), whole()))?;
            }
            (sign, _) => expanded.push_str(sign),
        }
        if expanded.len() > MAX_EXPANDED {
            return Err(TokenError::TooLong(whole()));
        }
    }
    expanded.push_str(rest);
    if expanded.len() > MAX_EXPANDED {
        return Err(TokenError::TooLong(whole()));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_tokens<T>(test: impl FnOnce(&Tokens<'_>) -> T) -> T {
        let environment = BTreeMap::from([("AGENT".to_owned(), "/run/%h".to_owned())]);
        test(&Tokens {
            original_host: "farm",
            host: "farm1.example",
            host_key_alias: "alias",
            port: 2222,
            remote_user: "ci",
            local_user: "root",
            uid: 0,
            home: Path::new("/ro%ot"),
            local_host: "here.example",
            jump_host: "gate",
            environment: &environment,
        })
    }

    #[test]
    fn all_tokens_have_their_meaning() {
        with_tokens(|tokens| {
            let file = |text| {
                tokens
                    .user_file(text)
                    .map(|file| file.display().to_string())
            };
            let all = file("%%/%d/%h/%i/%j/%k/%L/%l/%n/%p/%r/%u").unwrap();
            assert_eq!(
                all,
                "%//ro%ot/farm1.example/0/gate/alias/here/here.example/farm/2222/ci/root"
            );
            assert_eq!(file("~/.ssh/%r").unwrap(), "/ro%ot/.ssh/ci");
            assert_eq!(file("~").unwrap(), "/ro%ot");
            // As `sha1sum` has it of `here.examplefarm1.example2222cigate`.
            assert_eq!(
                file("%C").unwrap(),
                "b12c449a1060c72d4d062f2b595b1c158e744ea2"
            );
            assert_eq!(file("${AGENT}$x~$").unwrap(), "/run/%h$x~$");
            let command = tokens.command("nc -x %h %p %r %n ${AGENT} 100%%");
            assert_eq!(
                command.unwrap(),
                "nc -x farm1.example 2222 ci farm ${AGENT} 100%"
            );
            assert_eq!(tokens.system_file("~/a%h"), Path::new("/ro%ot/a%h"));
        });
        assert_eq!(host_name("%h.b%%", "a").unwrap(), "a.b%");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let texts = with_tokens(|tokens| {
            let file = |text| tokens.user_file(text).unwrap_err();
            let long = "%d".repeat(1000);
            let errors = [
                file("a%z"),
                file("a%"),
                file("${NONE}/a"),
                file("${NONE"),
                file("~other/a"),
                tokens.command("sh %d").unwrap_err(),
                host_name("%n", "a").unwrap_err(),
            ];
            assert!(matches!(file(&long), TokenError::TooLong(_)));
            errors.map(|error| error.to_string()).join("\n")
        });
        insta::assert_snapshot!(texts, @r#"
        %z has no meaning in "a%z"
        it ends in the middle of a token: "a%"
        the environment has no NONE, which "${NONE}/a" asks for
        it ends in the middle of a token: "${NONE"
        other users' home directories are not looked up: "~other/a"
        %d has no meaning in "sh .."
        %n has no meaning in "%n"
        "#);
    }
}
