//! `ssh-ng://user@host:port?param=value`: how a machine list names a builder.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest URI that is read, in bytes. OpenSSH's own limit for a host name is 1025.
const MAX_URI: usize = 8192;

/// How the store behind a URI is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ssh://`: stock Nix speaks the serve protocol there.
    Ssh,
    /// `ssh-ng://`: stock Nix speaks the worker protocol there.
    SshNg,
}

impl Scheme {
    /// The scheme as it stands before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Ssh => "ssh",
            Scheme::SshNg => "ssh-ng",
        }
    }
}

/// A parsed store URI of a builder.
///
/// Keeps the text as the user wrote it (with `ssh://` before a bare host name, as Nix does),
/// because other tools attribute builds by it, and Nix's slot locks are named after it.
///
/// ```
/// use offload::machines::StoreUri;
///
/// let uri = StoreUri::parse("ssh-ng://ci@[2001:db8::7]:2222?compress=true")?;
/// assert_eq!((uri.user(), uri.host(), uri.port()), (Some("ci"), "2001:db8::7", Some(2222)));
/// assert_eq!(uri.parameter("compress"), Some("true"));
/// assert_eq!(StoreUri::parse("farm1")?.as_str(), "ssh://farm1");
/// # Ok::<(), offload::machines::StoreUriError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUri {
    text: String,
    scheme: Scheme,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    parameters: BTreeMap<String, String>,
}

/// Why a text is not the store URI of a builder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUriError {
    /// Longer than any host name with parameters can be.
    #[error("store URI is longer than {MAX_URI} bytes")]
    TooLong,
    /// A scheme that does not lead to another machine.
    #[error("store URI has a scheme other than ssh and ssh-ng: {0:?}")]
    Scheme(String),
    /// No host, or a character that no host name has.
    #[error("store URI names no valid host: {0:?}")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("store URI has a port that is not a number from 1 to 65535: {0:?}")]
    Port(String),
    /// A part is percent-encoded and not UTF-8 when decoded.
    #[error("store URI has a part that is not UTF-8 when decoded: {0:?}")]
    Encoding(String),
}

impl StoreUri {
    /// Parses `ssh://`, `ssh-ng://` URIs and bare `[user@]host[:port]` names.
    ///
    /// # Errors
    /// When the text does not lead to a host by SSH.
    pub fn parse(text: &str) -> Result<Self, StoreUriError> {
        if text.len() > MAX_URI {
            return Err(StoreUriError::TooLong);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("ssh", rest)) => (Scheme::Ssh, rest),
            Some(("ssh-ng", rest)) => (Scheme::SshNg, rest),
            Some((other, _)) => return Err(StoreUriError::Scheme(other.to_owned())),
            None => (Scheme::Ssh, text),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(decode(user)?), address),
            None => (None, authority),
        };
        let (host, port) = split_address(address)?;
        // RFC 6874 writes the zone of an address as `%25eth0`; nix 2.34.8 does, too.
        let host = host.replacen("%25", "%", 1);
        check_host(&host, address)?;
        let parameters = parse_query(query)?;
        // Lix's way to name a port. Nix ignores it, with a warning (2.8.0 to 2.34.8).
        let port = match (port, parameters.get("port")) {
            (None, Some(text)) => Some(parse_port(text)?),
            (port, _) => port,
        };
        let text = if text.contains("://") {
            text.to_owned()
        } else {
            format!("ssh://{text}")
        };
        Ok(StoreUri {
            text,
            scheme,
            user,
            host,
            port,
            parameters,
        })
    }

    /// Makes the URI of these parts.
    ///
    /// ```
    /// # use offload::machines::{Scheme, StoreUri};
    /// let uri = StoreUri::from_parts(Scheme::Ssh, Some("c@d"), "::1", Some(2222))?;
    /// assert_eq!(uri.as_str(), "ssh://c%40d@[::1]:2222");
    /// let uri = StoreUri::from_parts(Scheme::Ssh, None, "fe80::1%eth0", None)?;
    /// assert_eq!((uri.as_str(), uri.host()), ("ssh://[fe80::1%25eth0]", "fe80::1%eth0"));
    /// # Ok::<(), offload::machines::StoreUriError>(())
    /// ```
    ///
    /// # Errors
    /// When the host is none.
    pub fn from_parts(
        scheme: Scheme,
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
    ) -> Result<Self, StoreUriError> {
        check_host(host, host)?;
        let user = user.map_or_else(String::new, |user| format!("{}@", encode(user)));
        // The zone of an address, which `parse` reads so.
        let host = host.replacen('%', "%25", 1);
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        Self::parse(&format!("{}://{user}{host}{port}", scheme.as_str()))
    }

    /// The URI as written, with a scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The protocol that stock Nix would speak.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The remote user, if the URI names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if the URI names one: behind the host, or as the parameter `port`.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI without its query parameters.
    #[must_use]
    pub fn address(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }

    /// All query parameters, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameters = self.parameters.iter();
        parameters.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A query parameter, `remote-program` for example.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

impl fmt::Display for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `host`, `host:22`, `[::1]`, `[::1]:22`, `::1` -> host without brackets, port.
fn split_address(address: &str) -> Result<(&str, Option<u16>), StoreUriError> {
    let (host, port) = if let Some(inner) = address.strip_prefix('[') {
        let (host, after) = inner
            .split_once(']')
            .ok_or_else(|| StoreUriError::Host(address.to_owned()))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(StoreUriError::Host(address.to_owned())),
        }
    } else if address.matches(':').count() == 1 {
        let (host, port) = address.split_once(':').expect("counted one colon");
        (host, Some(port))
    } else {
        (address, None)
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, StoreUriError> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(StoreUriError::Port(text.to_owned())),
    }
}

/// A host name reaches the resolver and messages, so it holds nothing but what names hosts.
fn check_host(host: &str, address: &str) -> Result<(), StoreUriError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(fine) {
        return Err(StoreUriError::Host(address.to_owned()));
    }
    Ok(())
}

fn parse_query(query: &str) -> Result<BTreeMap<String, String>, StoreUriError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// A part of a URI in which nothing has a meaning.
pub(super) fn encode(text: &str) -> impl fmt::Display {
    const LEFT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    utf8_percent_encode(text, LEFT)
}

fn decode(text: &str) -> Result<String, StoreUriError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|decoded| decoded.into_owned())
        .map_err(|_| StoreUriError::Encoding(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parts(text: &str) -> (Option<String>, String, Option<u16>) {
        let uri = StoreUri::parse(text).unwrap();
        (uri.user, uri.host, uri.port)
    }

    #[test]
    fn addresses_in_every_form() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("host"), (None, "host".into(), None));
        assert_eq!(parts("me@host:7"), (some("me"), "host".into(), Some(7)));
        assert_eq!(parts("ssh://host/"), (None, "host".into(), None));
        assert_eq!(parts("ssh-ng://::1"), (None, "::1".into(), None));
        assert_eq!(parts("ssh-ng://[::1]"), (None, "::1".into(), None));
        assert_eq!(
            parts("ssh-ng://a%40b@[fe80::1%eth0]:22"),
            (some("a@b"), "fe80::1%eth0".into(), Some(22))
        );
        assert_eq!(
            parts("ssh-ng://[fe80::1%25eth0]:22"),
            (None, "fe80::1%eth0".into(), Some(22))
        );
        assert_eq!(parts("fe80::1%eth0"), (None, "fe80::1%eth0".into(), None));
        assert_eq!(parts("[::1]:7"), (None, "::1".into(), Some(7)));
        assert_eq!(parts("ssh://a?port=7"), (None, "a".into(), Some(7)));
        assert_eq!(parts("ssh://a:8?port=7"), (None, "a".into(), Some(8)));
    }

    #[test]
    fn what_is_no_builder_is_refused() {
        let error = |text: &str| StoreUri::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                "unix:///run/socket",
                "ssh://",
                "ssh://-oProxyCommand=x",
                "ssh://host:0",
                "ssh://host:70000",
                "ssh://host?port=x",
                "ssh://[::1",
                "ssh://[::1]x",
                "ssh://a b",
                "ssh://%ff@host",
            ]
            .map(error)
            .join("\n"),
            @r#"
        store URI has a scheme other than ssh and ssh-ng: "unix"
        store URI names no valid host: ""
        store URI names no valid host: "-oProxyCommand=x"
        store URI has a port that is not a number from 1 to 65535: "0"
        store URI has a port that is not a number from 1 to 65535: "70000"
        store URI has a port that is not a number from 1 to 65535: "x"
        store URI names no valid host: "[::1"
        store URI names no valid host: "[::1]x"
        store URI names no valid host: "a b"
        store URI has a part that is not UTF-8 when decoded: "%ff"
        "#
        );
    }
}
