//! Which host keys are a machine's: pinned in the machine list, or known to OpenSSH's
//! known_hosts files, or vouched for by an authority in them. Never trusted on first use.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use serde::{Deserialize, Serialize};

use super::known_hosts::{Line, Marker, lookup_name};
use super::pattern;

/// Largest known_hosts file, in bytes: a hundred thousand hosts.
const MAX_FILE: u64 = 64 << 20;

/// Where the keys of a machine are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeys {
    /// From the machine list: exactly this key line, `ssh-ed25519 AAAA..`, whatever files say,
    /// unless they revoke it.
    pub pinned: Option<String>,
    /// known_hosts files, in the order in which they are looked at; a missing one is empty.
    pub files: Vec<PathBuf>,
    /// The name that files know the machine by, if it is not that of the host.
    pub alias: Option<String>,
    /// Public keys that are refused, one per line. Unlike the others it has to exist.
    pub revoked: Option<PathBuf>,
}

/// Why a host key is refused, or could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The pinned line is no public key.
    #[error("pinned host key is no OpenSSH public key line: {0:?}")]
    Pinned(String),
    /// A file with keys is there and cannot be read.
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
    /// The key that the host shows, or the one that vouches for it, must not be believed.
    #[error("host key is revoked by {record}: {key}")]
    Revoked {
        /// Algorithm and SHA-256 fingerprint.
        key: String,
        /// What revokes it.
        record: String,
    },
    /// An authority on record vouches for the host's key, but not now, or not for this host.
    #[error("host certificate {id:?}, signed by the authority of {record}, {reason}")]
    Certificate {
        /// What the authority calls it.
        id: String,
        /// Where the authority stands.
        record: String,
        /// Why it does not do.
        reason: String,
    },
    /// Nothing is on record for this host.
    #[error(
        "host key is not known: it shows {shown}; if `ssh-keygen -lf` on the machine prints the same, add the line `{line}` to {file}{broken}"
    )]
    Unknown {
        /// Algorithm and SHA-256 fingerprint of what it shows.
        shown: String,
        /// The line for known_hosts.
        line: String,
        /// The file it belongs to.
        file: String,
        /// Lines about this host that are not understood, or nothing.
        broken: String,
    },
}

/// A key on record.
struct Recorded {
    key: KeyData,
    place: String,
}

/// The keys on record for one host, ready to judge the key that it shows.
pub(super) struct Record {
    /// What certificates call the host.
    principal: String,
    /// What files call the host.
    name: String,
    keys: Vec<Recorded>,
    authorities: Vec<Recorded>,
    revoked: Vec<Recorded>,
    /// Lines about the host that are not understood.
    broken: Vec<String>,
    /// Where a new key belongs.
    file: String,
}

impl HostKeys {
    /// Looks up what is on record for `host`.
    pub(super) fn record(&self, host: &str, port: u16) -> Result<Record, HostKeyError> {
        let name = match &self.alias {
            Some(alias) => alias.to_ascii_lowercase(),
            None => lookup_name(host, port),
        };
        let files = self
            .files
            .iter()
            .filter_map(|file| match read(file) {
                Ok(text) => Some(Ok((file.as_path(), text?))),
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let first_file = self.files.first();
        let mut record = Record {
            principal: self.alias.as_deref().unwrap_or(host).to_ascii_lowercase(),
            name,
            keys: Vec::new(),
            authorities: Vec::new(),
            revoked: Vec::new(),
            broken: Vec::new(),
            file: first_file.map_or("a known_hosts file".to_owned(), |file| {
                file.display().to_string()
            }),
        };
        let name = record.name.clone();
        record.read_all(&files, &name, false);
        // As OpenSSH: a key that is known without port will do where none is known with it.
        let is_known = !record.keys.is_empty() || !record.authorities.is_empty();
        if self.alias.is_none() && port != 22 {
            let host = host.to_ascii_lowercase();
            record.read_all(&files, &host, is_known);
        }
        if let Some(line) = &self.pinned {
            record.pin(line)?;
        }
        if let Some(file) = &self.revoked {
            record.read_revoked(file)?;
        }
        Ok(record)
    }
}

/// The text of a file; `None` where there is none.
fn read(file: &Path) -> Result<Option<String>, HostKeyError> {
    let failed = |reason: String| HostKeyError::File {
        file: file.to_owned(),
        reason,
    };
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| failed(error.to_string()))?,
    };
    let mut bytes = Vec::new();
    let read = opened.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(format!("more than {MAX_FILE} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

impl Record {
    /// Takes what the files say of `name`; only what they revoke if `revoked_only`.
    fn read_all(&mut self, files: &[(&Path, String)], name: &str, revoked_only: bool) {
        for (file, text) in files {
            for (index, text) in text.split('\n').enumerate() {
                let place = || format!("{}:{}", file.display(), index + 1);
                // A line whose names make no sense is about nobody.
                let Ok(Some(line)) = Line::parse(text) else {
                    continue;
                };
                if !line.is_about(name) {
                    continue;
                }
                let entry = match line.entry() {
                    Ok(entry) => entry,
                    Err(error) => {
                        self.broken.push(format!("{}: {error}", place()));
                        continue;
                    }
                };
                let keys = match entry.marker {
                    Marker::Revoked => &mut self.revoked,
                    _ if revoked_only => continue,
                    Marker::Host => &mut self.keys,
                    Marker::Authority => &mut self.authorities,
                };
                keys.push(Recorded {
                    key: entry.key.key_data().clone(),
                    place: place(),
                });
            }
        }
    }

    /// From now on only this key will do, unless it is revoked.
    fn pin(&mut self, line: &str) -> Result<(), HostKeyError> {
        let key = PublicKey::from_openssh(line.trim())
            .map_err(|_| HostKeyError::Pinned(line.to_owned()))?;
        self.authorities.clear();
        self.keys = vec![Recorded {
            key: key.key_data().clone(),
            place: "the machine list".to_owned(),
        }];
        Ok(())
    }

    fn read_revoked(&mut self, file: &Path) -> Result<(), HostKeyError> {
        let failed = |reason: &str| HostKeyError::File {
            file: file.to_owned(),
            reason: reason.to_owned(),
        };
        let text = read(file)?.ok_or_else(|| failed("no such file"))?;
        if text.starts_with("SSHKRL") {
            return Err(failed(
                "it is a binary revocation list, and only lists of public keys are read",
            ));
        }
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{}:{}", file.display(), index + 1);
            let key = PublicKey::from_openssh(line.trim())
                .map_err(|_| failed(&format!("line {} is no public key", index + 1)))?;
            let key = key.key_data().clone();
            self.revoked.push(Recorded { key, place });
        }
        Ok(())
    }

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

    /// Whether there is an authority whose word would do.
    pub(super) fn has_authority(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// Judges the key that the host shows.
    pub(super) fn check(&self, shown: &PublicKey) -> Result<(), HostKeyError> {
        self.check_revoked(shown.key_data())?;
        if self.find(&self.keys, shown.key_data()).is_some() {
            return Ok(());
        }
        match self.keys.first() {
            Some(known) => Err(HostKeyError::Changed {
                shown: Fingerprint(shown.key_data()).to_string(),
                expected: Fingerprint(&known.key).to_string(),
                record: known.place.clone(),
            }),
            None => Err(HostKeyError::Unknown {
                shown: Fingerprint(shown.key_data()).to_string(),
                line: self.known_hosts_line(shown),
                file: self.file.clone(),
                broken: match self.broken.as_slice() {
                    [] => String::new(),
                    broken => format!(" (not understood: {})", broken.join("; ")),
                },
            }),
        }
    }

    /// Judges the certificate that the host shows, at a time in seconds since 1970. A key that is
    /// known by itself needs none.
    pub(super) fn check_certificate(
        &self,
        shown: &Certificate,
        now: u64,
    ) -> Result<(), HostKeyError> {
        self.check_revoked(shown.public_key())?;
        self.check_revoked(shown.signature_key())?;
        let Some(authority) = self.find(&self.authorities, shown.signature_key()) else {
            return self.check(&PublicKey::new(shown.public_key().clone(), ""));
        };
        let Err(reason) = self.vouches(authority, shown, now) else {
            return Ok(());
        };
        if self.find(&self.keys, shown.public_key()).is_some() {
            return Ok(());
        }
        Err(HostKeyError::Certificate {
            id: shown.key_id().to_owned(),
            record: authority.place.clone(),
            reason,
        })
    }

    fn vouches(&self, authority: &Recorded, shown: &Certificate, now: u64) -> Result<(), String> {
        if shown.cert_type() != CertType::Host {
            return Err("is a user's and no host's".to_owned());
        }
        // OpenSSH has not believed SHA-1 since 8.2.
        let algorithm = shown.signature().algorithm();
        if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
            return Err(format!("is signed with {algorithm}, which is too weak"));
        }
        if now < shown.valid_after() || now >= shown.valid_before() {
            return Err("is not valid at this time".to_owned());
        }
        let fingerprint = authority.key.fingerprint(HashAlg::Sha256);
        shown
            .validate_at(now, [&fingerprint])
            .map_err(|error| format!("is not valid: {error}"))?;
        if let Some((option, _)) = shown.critical_options().iter().next() {
            return Err(format!(
                "has the condition {option:?}, which no host can fulfil"
            ));
        }
        let principals = shown.valid_principals();
        // Names of certificates may be patterns; a certificate for nobody is none for everybody.
        let named = principals
            .iter()
            .any(|name| pattern::matches(&name.to_ascii_lowercase(), &self.principal));
        if !named {
            let names = principals.join(", ");
            return Err(format!("is for {names:?} and not for {:?}", self.principal));
        }
        Ok(())
    }

    fn find<'a>(&self, recorded: &'a [Recorded], key: &KeyData) -> Option<&'a Recorded> {
        recorded.iter().find(|recorded| recorded.key == *key)
    }

    fn check_revoked(&self, key: &KeyData) -> Result<(), HostKeyError> {
        match self.find(&self.revoked, key) {
            None => Ok(()),
            Some(revoked) => Err(HostKeyError::Revoked {
                key: Fingerprint(key).to_string(),
                record: revoked.place.clone(),
            }),
        }
    }

    fn known_hosts_line(&self, key: &PublicKey) -> String {
        let mut bare = key.clone();
        bare.set_comment("");
        let text = bare.to_openssh().unwrap_or_default();
        format!("{} {text}", self.name)
    }
}

/// RSA keys are one kind, whatever hash signs with them.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    match (a, b) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        _ => a == b,
    }
}

struct Fingerprint<'a>(&'a KeyData);

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
mod tests;
