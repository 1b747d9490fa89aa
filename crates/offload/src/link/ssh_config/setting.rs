//! The value of one honoured line.

use std::time::Duration;

use super::keyword::Keyword;
use super::words::Words;
use super::{AddressFamily, JumpHost, Proxy};

/// Hosts between here and the machine that `ProxyJump` may name in one line.
const MAX_JUMPS: usize = 8;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::link) enum Setting {
    AddressFamily(AddressFamily),
    BindAddress(String),
    CertificateFile(String),
    Compression(bool),
    /// `None` for 0.
    ConnectTimeout(Option<Duration>),
    GlobalKnownHostsFiles(Vec<String>),
    HostKeyAlias(String),
    HostName(String),
    IdentitiesOnly(bool),
    IdentityAgent(String),
    IdentityFile(String),
    /// A time that is `none`: later lines still count.
    Nothing,
    Port(u16),
    Proxy(Proxy),
    RevokedHostKeys(String),
    ServerAliveCountMax(u32),
    /// The same.
    ServerAliveInterval(Option<Duration>),
    /// Whether it is as strict as it is here anyway; the value as written.
    StrictHostKeyChecking {
        strict: bool,
        value: String,
    },
    User(String),
    UserKnownHostsFiles(Vec<String>),
}

/// Why a value cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingError {
    #[error("more than one value: {0:?}")]
    Extra(String),
    #[error("not yes or no: {0:?}")]
    Flag(String),
    #[error("not a number from 1 to 65535: {0:?}")]
    Port(String),
    #[error("not a whole number: {0:?}")]
    Number(String),
    #[error("not a time such as 90, 15s or 1m30s: {0:?}")]
    Time(String),
    #[error("not any, inet or inet6: {0:?}")]
    AddressFamily(String),
    #[error("not yes, ask, accept-new, no or off: {0:?}")]
    Strictness(String),
    #[error("not [user@]host[:port]: {0:?}")]
    Jump(String),
    #[error("more than {MAX_JUMPS} hosts")]
    Jumps,
    #[error("empty")]
    Empty,
}

impl Setting {
    /// Reads the value of a line.
    pub(super) fn read(keyword: Keyword, line: &Words<'_>) -> Result<Setting, SettingError> {
        if line.words.iter().any(String::is_empty) {
            return Err(SettingError::Empty);
        }
        match keyword {
            // Commands keep their own quotes.
            Keyword::ProxyCommand => return Ok(Setting::Proxy(proxy_command(line.rest))),
            Keyword::UserKnownHostsFile => {
                return Ok(Setting::UserKnownHostsFiles(line.words.clone()));
            }
            Keyword::GlobalKnownHostsFile => {
                return Ok(Setting::GlobalKnownHostsFiles(line.words.clone()));
            }
            _ => {}
        }
        let word = line.words[0].as_str();
        if let Some(extra) = line.words.get(1) {
            return Err(SettingError::Extra(extra.clone()));
        }
        let text = || word.to_owned();
        Ok(match keyword {
            Keyword::AddressFamily => Setting::AddressFamily(address_family(word)?),
            Keyword::BindAddress => Setting::BindAddress(text()),
            Keyword::CertificateFile => Setting::CertificateFile(text()),
            Keyword::Compression => Setting::Compression(flag(word)?),
            Keyword::ConnectTimeout | Keyword::ServerAliveInterval if word == "none" => {
                Setting::Nothing
            }
            Keyword::ConnectTimeout => Setting::ConnectTimeout(time(word)?),
            Keyword::HostKeyAlias => Setting::HostKeyAlias(text()),
            Keyword::HostName => Setting::HostName(text()),
            Keyword::IdentitiesOnly => Setting::IdentitiesOnly(flag(word)?),
            Keyword::IdentityAgent => Setting::IdentityAgent(text()),
            Keyword::IdentityFile => Setting::IdentityFile(text()),
            Keyword::Port => Setting::Port(port(word)?),
            Keyword::ProxyJump => Setting::Proxy(proxy_jump(word)?),
            Keyword::RevokedHostKeys => Setting::RevokedHostKeys(text()),
            Keyword::ServerAliveCountMax => {
                let number = word.parse().map_err(|_| SettingError::Number(text()))?;
                Setting::ServerAliveCountMax(number)
            }
            Keyword::ServerAliveInterval => Setting::ServerAliveInterval(time(word)?),
            Keyword::StrictHostKeyChecking => strictness(word)?,
            Keyword::User => Setting::User(text()),
            Keyword::ProxyCommand | Keyword::UserKnownHostsFile | Keyword::GlobalKnownHostsFile => {
                unreachable!("read above")
            }
        })
    }
}

fn flag(word: &str) -> Result<bool, SettingError> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(SettingError::Flag(word.to_owned())),
    }
}

fn strictness(word: &str) -> Result<Setting, SettingError> {
    let strict = match word.to_ascii_lowercase().as_str() {
        // Nobody is there to be asked.
        "yes" | "true" | "ask" => true,
        "no" | "false" | "off" | "accept-new" => false,
        _ => return Err(SettingError::Strictness(word.to_owned())),
    };
    Ok(Setting::StrictHostKeyChecking {
        strict,
        value: word.to_owned(),
    })
}

fn address_family(word: &str) -> Result<AddressFamily, SettingError> {
    match word.to_ascii_lowercase().as_str() {
        "any" => Ok(AddressFamily::Any),
        "inet" => Ok(AddressFamily::V4),
        "inet6" => Ok(AddressFamily::V6),
        _ => Err(SettingError::AddressFamily(word.to_owned())),
    }
}

fn port(word: &str) -> Result<u16, SettingError> {
    match word.parse() {
        // The one name of a service that people write.
        Err(_) if word == "ssh" => Ok(22),
        Ok(port) if port > 0 => Ok(port),
        _ => Err(SettingError::Port(word.to_owned())),
    }
}

/// `90`, `15s`, `1m30s`, `2h`, `1d`, `1w`; 0 is nothing.
fn time(word: &str) -> Result<Option<Duration>, SettingError> {
    let wrong = || SettingError::Time(word.to_owned());
    let mut seconds = 0_u64;
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = match rest.chars().next().map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        rest = rest.get(1..).unwrap_or_default();
        seconds = number
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            // What OpenSSH's clock holds.
            .filter(|seconds| i32::try_from(*seconds).is_ok())
            .ok_or_else(wrong)?;
    }
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn proxy_command(rest: &str) -> Proxy {
    match rest.eq_ignore_ascii_case("none") {
        true => Proxy::None,
        false => Proxy::Command(rest.to_owned()),
    }
}

fn proxy_jump(word: &str) -> Result<Proxy, SettingError> {
    if word.eq_ignore_ascii_case("none") {
        return Ok(Proxy::NoJump);
    }
    let hosts = word
        .split(',')
        .map(|host| JumpHost::parse(host).ok_or_else(|| SettingError::Jump(host.to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    if hosts.len() > MAX_JUMPS {
        return Err(SettingError::Jumps);
    }
    Ok(Proxy::Jump(hosts))
}

impl JumpHost {
    /// `[user@]host[:port]`, `ssh://[user@]host[:port]`; an IPv6 address with a port has brackets.
    fn parse(text: &str) -> Option<JumpHost> {
        let text = match text.strip_prefix("ssh://") {
            Some(uri) => uri.strip_suffix('/').unwrap_or(uri),
            None => text,
        };
        let (user, address) = match text.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, text),
        };
        let (host, port) = match address.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']')?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return None,
                }
            }
            None => match address.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (address, None),
            },
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        let is_host = !host.is_empty() && !host.starts_with('-') && host.chars().all(valid);
        let is_user = user
            .is_none_or(|user| !user.is_empty() && !user.starts_with('-') && !user.contains('/'));
        if !is_host || !is_user {
            return None;
        }
        Some(JumpHost {
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port: match port {
                Some(text) => Some(self::port(text).ok()?),
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let seconds = |word| time(word).map(|time| time.map_or(0, |time| time.as_secs()));
        assert_eq!(seconds("15"), Ok(15));
        assert_eq!(seconds("1m30"), Ok(90));
        assert_eq!(seconds("1H30m5S"), Ok(5405));
        assert_eq!(seconds("1w1d"), Ok(691_200));
        assert_eq!(seconds("0"), Ok(0));
        for word in ["m", "-1", "1x", "1é", "99999999999", "1 "] {
            assert!(seconds(word).is_err(), "{word}");
        }
    }

    #[test]
    fn jump_hosts() {
        let parse = |text| {
            let host = JumpHost::parse(text)?;
            Some((host.user.unwrap_or_default(), host.host, host.port))
        };
        let jump = |user: &str, host: &str, port| Some((user.to_owned(), host.to_owned(), port));
        assert_eq!(parse("gate"), jump("", "gate", None));
        assert_eq!(parse("me@gate:23"), jump("me", "gate", Some(23)));
        assert_eq!(parse("a@b@gate"), jump("a@b", "gate", None));
        assert_eq!(parse("[::1]:23"), jump("", "::1", Some(23)));
        assert_eq!(parse("::1"), jump("", "::1", None));
        assert_eq!(parse("ssh://me@gate:23/"), jump("me", "gate", Some(23)));
        for text in [
            "", "@gate", "me@", "a/b@gate", "gate/", "gate:0", "gate:x", "[::1", "[::1]x", "-oX",
            "-a@b",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
