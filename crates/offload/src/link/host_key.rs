//! Which host keys are a machine's: pinned in the machine list, or known to OpenSSH's
//! known_hosts files. Never trusted on first use.

use std::fmt;
use std::path::{Path, PathBuf};

use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// The keys a machine may show, and where they come from.
#[derive(Debug, Clone)]
pub enum HostKeys {
    /// From the machine list: exactly this key line, `ssh-ed25519 AAAA..`.
    Pinned(String),
    /// From known_hosts files, in the order in which they are looked at; a missing one is empty.
    KnownHosts(Vec<PathBuf>),
}

/// Why a host key is refused, or could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The pinned line is no public key.
    #[error("pinned host key is no OpenSSH public key line: {0:?}")]
    Pinned(String),
    /// A known_hosts file holds a broken line for this host.
    #[error("failed to read host keys from {}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The host shows another key than the one on record: an attack, or a reinstalled machine.
    #[error("host key has changed: it shows {shown}, but {record} says {expected}")]
    Changed {
        /// Algorithm and SHA-256 fingerprint of what it shows.
        shown: String,
        /// The same of what was expected.
        expected: String,
        /// Where the expected key stands.
        record: String,
    },
    /// Nothing is on record for this host.
    #[error(
        "host key is not known: it shows {shown}; if `ssh-keygen -lf` on the machine prints the same, add the line `{line}` to {file}"
    )]
    Unknown {
        /// Algorithm and SHA-256 fingerprint of what it shows.
        shown: String,
        /// The line for known_hosts.
        line: String,
        /// The file it belongs to.
        file: String,
    },
}

/// A key on record.
struct Recorded {
    key: PublicKey,
    place: String,
}

/// The keys on record for one host, ready to judge the key that it shows.
pub(super) struct Record {
    host: String,
    port: u16,
    keys: Vec<Recorded>,
    file: String,
}

impl HostKeys {
    /// Looks up what is on record for `host`.
    pub(super) fn record(&self, host: &str, port: u16) -> Result<Record, HostKeyError> {
        let mut record = Record {
            host: host.to_owned(),
            port,
            keys: Vec::new(),
            file: "the machine list".to_owned(),
        };
        match self {
            HostKeys::Pinned(line) => {
                let key = PublicKey::from_openssh(line)
                    .map_err(|_| HostKeyError::Pinned(line.clone()))?;
                let place = "the machine list".to_owned();
                record.keys.push(Recorded { key, place });
            }
            HostKeys::KnownHosts(files) => {
                if let Some(first) = files.first() {
                    record.file = first.display().to_string();
                }
                for file in files {
                    let known = known_host_keys_path(host, port, file).map_err(|error| {
                        HostKeyError::File {
                            file: file.clone(),
                            reason: error.to_string(),
                        }
                    })?;
                    record
                        .keys
                        .extend(known.into_iter().map(|(_, key)| Recorded {
                            place: place(file, &key),
                            key,
                        }));
                }
            }
        }
        Ok(record)
    }
}

impl Record {
    /// Host key algorithms to ask for: those on record first, because a host has keys of several
    /// kinds and shows the one that the client prefers.
    pub(super) fn prefer(&self, defaults: &[Algorithm]) -> Vec<Algorithm> {
        let recorded = |algorithm: &Algorithm| {
            self.keys
                .iter()
                .any(|known| same_kind(&known.key.algorithm(), algorithm))
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = defaults.iter().cloned().partition(recorded);
        first.extend(rest);
        first
    }

    /// Judges the key that the host shows.
    pub(super) fn check(&self, shown: &PublicKey) -> Result<(), HostKeyError> {
        if self
            .keys
            .iter()
            .any(|known| known.key.key_data() == shown.key_data())
        {
            return Ok(());
        }
        match self.keys.first() {
            Some(known) => Err(HostKeyError::Changed {
                shown: Fingerprint(shown).to_string(),
                expected: Fingerprint(&known.key).to_string(),
                record: known.place.clone(),
            }),
            None => Err(HostKeyError::Unknown {
                shown: Fingerprint(shown).to_string(),
                line: self.known_hosts_line(shown),
                file: self.file.clone(),
            }),
        }
    }

    fn known_hosts_line(&self, key: &PublicKey) -> String {
        let mut bare = key.clone();
        bare.set_comment("");
        let text = bare.to_openssh().unwrap_or_default();
        match self.port {
            22 => format!("{} {text}", self.host),
            port => format!("[{}]:{port} {text}", self.host),
        }
    }
}

/// `FILE:LINE` of a key in a known_hosts file. russh counts lines too, but not comments (0.65.1).
fn place(file: &Path, key: &PublicKey) -> String {
    let line = key.to_openssh().ok().and_then(|openssh| {
        let base64 = openssh.split(' ').nth(1)?;
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().position(|line| line.contains(base64))
    });
    match line {
        Some(index) => format!("{}:{}", file.display(), index + 1),
        None => file.display().to_string(),
    }
}

/// RSA keys are one kind, whatever hash signs with them.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    match (a, b) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        _ => a == b,
    }
}

struct Fingerprint<'a>(&'a PublicKey);

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.0.algorithm(),
            self.0.fingerprint(HashAlg::Sha256)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    #[test]
    fn pinned_keys_match_whatever_their_comment() {
        let keys = HostKeys::Pinned(format!("{KEY} root@farm1"));
        let record = keys.record("farm1", 22).unwrap();
        assert_eq!(record.check(&key(KEY)), Ok(()));
        insta::assert_snapshot!(record.check(&key(OTHER)).unwrap_err(), @"host key has changed: it shows ssh-ed25519 SHA256:SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM, but the machine list says ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
        let broken = HostKeys::Pinned("ssh-ed25519 !".to_owned());
        insta::assert_snapshot!(broken.record("farm1", 22).err().unwrap(), @r#"pinned host key is no OpenSSH public key line: "ssh-ed25519 !""#);
    }

    #[test]
    fn known_hosts_files_are_looked_at_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, systems) = (
            folder.path().join("known_hosts"),
            folder.path().join("system"),
        );
        std::fs::write(&systems, format!("# all\n[farm1]:2222,farm2 {KEY}\n")).unwrap();
        let keys = HostKeys::KnownHosts(vec![mine, systems]);
        let text = |host: &str, port: u16, shown: &str| {
            let record = keys.record(host, port).unwrap();
            match record.check(&key(shown)) {
                Ok(()) => "fine".to_owned(),
                Err(error) => error
                    .to_string()
                    .replace(&folder.path().display().to_string(), "DIR"),
            }
        };
        assert_eq!(text("farm1", 2222, KEY), "fine");
        assert_eq!(text("farm2", 22, KEY), "fine");
        insta::assert_snapshot!(text("farm2", 22, OTHER), @"host key has changed: it shows ssh-ed25519 SHA256:SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM, but DIR/system:2 says ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
        insta::assert_snapshot!(text("farm1", 22, KEY), @"host key is not known: it shows ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE; if `ssh-keygen -lf` on the machine prints the same, add the line `farm1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ` to DIR/known_hosts");
    }
}
