//! The keys that are tried: from files, with certificates beside them, and from an agent.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};

use super::LinkError;

/// Largest key file, in bytes: an RSA key of 16384 bits takes 13 KiB.
const MAX_FILE: u64 = 1 << 20;

/// The keys to authenticate with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Private key files, in the order in which they are tried. A public key stands for the
    /// private key that the agent has of it.
    pub files: Vec<PathBuf>,
    /// Whose choice the files are.
    pub choice: KeyChoice,
    /// Certificates for any of the keys. If there are none, `KEY-cert.pub` beside each key.
    pub certificates: Vec<PathBuf>,
    /// The socket of an agent.
    pub agent: Option<PathBuf>,
    /// Whether the agent's other keys are left alone.
    pub identities_only: bool,
}

/// Whose choice the key files are, which decides what follows when one is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChoice {
    /// The machine's own: it has to be usable, and no other is tried.
    Machine,
    /// The configuration's: those that are of no use are passed over.
    Configured,
    /// Nobody's: those that exist.
    Default,
}

impl Credentials {
    /// This key file, nothing else.
    #[must_use]
    pub fn key_file(file: impl Into<PathBuf>) -> Self {
        Credentials {
            files: vec![file.into()],
            choice: KeyChoice::Machine,
            certificates: Vec::new(),
            agent: None,
            identities_only: true,
        }
    }
}

/// A key to try.
pub(super) struct Candidate {
    /// The file, or what the agent calls it.
    pub(super) name: String,
    pub(super) public: PublicKey,
    /// What is shown instead of the public key.
    pub(super) certificate: Option<Certificate>,
    pub(super) signer: Signer,
}

/// Who has the private key.
pub(super) enum Signer {
    Key(Arc<PrivateKey>),
    Agent,
}

/// What the files hold: private keys, public keys to ask the agent about, and why others are of
/// no use.
#[derive(Default)]
pub(super) struct KeyFiles {
    found: Vec<Found>,
    certificates: Vec<Certificate>,
    /// Whether certificates stand beside keys.
    beside: bool,
    /// Why files are passed over: `/root/.ssh/id_rsa has a passphrase`.
    pub(super) passed_over: Vec<String>,
}

struct Found {
    file: PathBuf,
    public: PublicKey,
    private: Option<Arc<PrivateKey>>,
    /// Why the private key is of no use, if it is not.
    trouble: Option<LinkError>,
}

impl KeyFiles {
    /// Reads the files.
    pub(super) fn read(credentials: &Credentials) -> Result<Self, LinkError> {
        let mut files = KeyFiles {
            beside: credentials.certificates.is_empty(),
            ..KeyFiles::default()
        };
        let is_machines = credentials.choice == KeyChoice::Machine;
        for file in &credentials.files {
            match find(file) {
                Ok(Some(found)) => files.found.push(found),
                Ok(None) if is_machines => return Err(key_file(file, "no such file")),
                Ok(None) => {}
                Err(error) if is_machines => return Err(error),
                Err(error) => files.passed_over.push(error.to_string()),
            }
        }
        for file in &credentials.certificates {
            match certificate(file) {
                Ok(Some(certificate)) => files.certificates.push(certificate),
                Ok(None) => files
                    .passed_over
                    .push(format!("no such file: {}", file.display())),
                Err(reason) => files.passed_over.push(reason),
            }
        }
        if credentials.agent.is_none() {
            files.without_agent(is_machines)?;
            if files.found.is_empty() {
                return Err(LinkError::NoKey(files.nothing(&credentials.files)));
            }
        }
        Ok(files)
    }

    /// Leaves out what only an agent could sign with.
    fn without_agent(&mut self, is_machines: bool) -> Result<(), LinkError> {
        for found in std::mem::take(&mut self.found) {
            match found.trouble {
                None => self.found.push(found),
                Some(error) if is_machines => return Err(error),
                Some(error) => self.passed_over.push(error.to_string()),
            }
        }
        Ok(())
    }

    fn nothing(&self, files: &[PathBuf]) -> String {
        let mut nothing: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        if !self.passed_over.is_empty() {
            nothing = self.passed_over.clone();
        }
        nothing.join(", ")
    }

    /// All keys in the order in which they are tried: those of the files, then the agent's others.
    pub(super) fn candidates(
        mut self,
        agents: Vec<AgentIdentity>,
        credentials: &Credentials,
    ) -> (Vec<Candidate>, Vec<String>) {
        let mut candidates = Vec::new();
        let has = |key: &KeyData| {
            agents
                .iter()
                .any(|agent| agent.public_key().key_data() == key)
        };
        let mut taken = Vec::new();
        for found in std::mem::take(&mut self.found) {
            let signer = match found.private {
                Some(key) => Signer::Key(key),
                None if has(found.public.key_data()) => Signer::Agent,
                None => {
                    let trouble = found.trouble.map(|error| error.to_string());
                    self.passed_over.extend(trouble);
                    continue;
                }
            };
            taken.push(found.public.key_data().clone());
            let beside = match self.beside {
                true => self.beside(&found.file),
                false => None,
            };
            let name = found.file.display().to_string();
            self.push(&mut candidates, name, found.public, signer, beside);
        }
        let wants_others = credentials.choice != KeyChoice::Machine && !credentials.identities_only;
        for agent in agents.into_iter().filter(|_| wants_others) {
            let name = format!("the agent's key {:?}", agent.comment());
            match agent {
                AgentIdentity::PublicKey { key, .. } if taken.contains(key.key_data()) => {}
                AgentIdentity::PublicKey { key, .. } => {
                    self.push(&mut candidates, name, key, Signer::Agent, None);
                }
                AgentIdentity::Certificate { certificate, .. } => candidates.push(Candidate {
                    name,
                    public: PublicKey::new(certificate.public_key().clone(), ""),
                    certificate: Some(certificate),
                    signer: Signer::Agent,
                }),
            }
        }
        (candidates, self.passed_over)
    }

    fn beside(&mut self, file: &Path) -> Option<Certificate> {
        let mut name = file.as_os_str().to_owned();
        name.push("-cert.pub");
        match certificate(Path::new(&name)) {
            Ok(certificate) => certificate,
            Err(reason) => {
                self.passed_over.push(reason);
                None
            }
        }
    }

    /// A key, but its certificates first: whoever has one is not let in without, as a rule, and
    /// each try is a round trip.
    fn push(
        &self,
        candidates: &mut Vec<Candidate>,
        name: String,
        public: PublicKey,
        signer: Signer,
        beside: Option<Certificate>,
    ) {
        let certificates = self.certificates.iter().cloned().chain(beside);
        let ours = certificates.filter(|found| found.public_key() == public.key_data());
        candidates.extend(ours.map(|certificate| Candidate {
            name: format!("{name} (certificate {:?})", certificate.key_id()),
            public: public.clone(),
            certificate: Some(certificate),
            signer: signer.clone(),
        }));
        candidates.push(Candidate {
            name,
            public,
            certificate: None,
            signer,
        });
    }
}

impl Clone for Signer {
    fn clone(&self) -> Self {
        match self {
            Signer::Key(key) => Signer::Key(key.clone()),
            Signer::Agent => Signer::Agent,
        }
    }
}

/// What a key file holds; `None` where there is no file.
fn find(file: &Path) -> Result<Option<Found>, LinkError> {
    let public_file = file.with_added_extension("pub");
    let Some(text) = read(file).map_err(|reason| key_file(file, &reason))? else {
        // Only the public half may be here, and the private one in the agent.
        return Ok(public_key(&public_file).map(|public| Found {
            file: file.to_owned(),
            public,
            private: None,
            trouble: Some(key_file(file, "no such file")),
        }));
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(Some(Found {
            file: file.to_owned(),
            public,
            private: None,
            trouble: Some(key_file(
                file,
                "it is a public key, and no agent has the private one",
            )),
        }));
    }
    let trouble = match russh::keys::decode_secret_key(&text, None) {
        Ok(private) => {
            return Ok(Some(Found {
                file: file.to_owned(),
                public: private.public_key().clone(),
                private: Some(Arc::new(private)),
                trouble: None,
            }));
        }
        Err(russh::keys::Error::KeyIsEncrypted) => LinkError::Passphrase(file.to_owned()),
        Err(_) if is_encrypted(&text) => LinkError::Passphrase(file.to_owned()),
        Err(error) => key_file(file, &error.to_string()),
    };
    // OpenSSH's own format has the public half in clear text.
    let inside = PrivateKey::from_openssh(&text);
    let public = inside.map(|key| key.public_key().clone()).ok();
    match public.or_else(|| public_key(&public_file)) {
        Some(public) => Ok(Some(Found {
            file: file.to_owned(),
            public,
            private: None,
            trouble: Some(trouble),
        })),
        None => Err(trouble),
    }
}

/// Whether a PEM file says that it is encrypted: PKCS#8 in its first line, older ones in a header.
fn is_encrypted(text: &str) -> bool {
    text.lines().take(3).any(|line| line.contains("ENCRYPTED"))
}

fn public_key(file: &Path) -> Option<PublicKey> {
    let text = read(file).ok()??;
    PublicKey::from_openssh(text.trim()).ok()
}

fn certificate(file: &Path) -> Result<Option<Certificate>, String> {
    let failed = |reason: &str| format!("failed to read {}: {reason}", file.display());
    let Some(text) = read(file).map_err(|reason| failed(&reason))? else {
        return Ok(None);
    };
    Certificate::from_openssh(text.trim())
        .map(Some)
        .map_err(|error| failed(&error.to_string()))
}

/// The text of a file; `None` where there is none.
fn read(file: &Path) -> Result<Option<String>, String> {
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let mut text = String::new();
    let read = opened.take(MAX_FILE).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    Ok(Some(text))
}

fn key_file(file: &Path, reason: &str) -> LinkError {
    LinkError::KeyFile {
        file: file.to_owned(),
        reason: reason.to_owned(),
    }
}
