//! The keys of this host's Guix: the one that signs what is sent, and those by which others may sign.
//!
//! ECDSA on Ed25519, which `guix archive --generate-key` makes, is done here; any other kind of key is left to the
//! real `guix authenticate`.

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::HEXLOWER;
use guix_signature::{Acl, SecretKey};

use super::LocalError;
use super::authenticate::{Authenticate, AuthenticateError};

/// Largest key or access-control list that is read, in bytes; a list has some 150 for each key.
const MAX_KEY_FILE: u64 = 16 << 20;

/// Where the keys are, and who is asked about those that are not understood here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixKeys {
    /// The directory of `signing-key.sec` and `acl`, `/etc/guix`.
    pub directory: PathBuf,
    /// The real `guix`, if there is one.
    pub guix: Option<GuixProgram>,
}

/// The real `guix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixProgram {
    /// Where it is.
    pub path: PathBuf,
    /// How long it may take for an answer: [`HostBounds::program`](super::HostBounds::program).
    pub patience: Duration,
}

/// Signs what is sent.
#[derive(Debug)]
pub(crate) enum Signer {
    Here(Box<SecretKey>),
    Guix {
        key: PathBuf,
        guix: Box<Authenticate>,
    },
}

/// Knows whose signatures count.
#[derive(Debug)]
pub(crate) struct Authority {
    acl: Acl,
    guix: Option<GuixProgram>,
}

/// Why a signature does not do.
#[derive(Debug)]
pub(crate) enum Untrusted {
    /// The signature, or who made it, is no good.
    Signature(String),
    /// This host could not find out.
    Unknown(AuthenticateError),
}

impl GuixKeys {
    /// The key that signs what is sent, `signing-key.sec`.
    ///
    /// # Errors
    /// When it cannot be read or understood, not even by `guix authenticate`.
    pub(crate) fn signer(&self) -> Result<Signer, LocalError> {
        let path = self.directory.join("signing-key.sec");
        let text = super::store::read_bounded(&path, MAX_KEY_FILE)?;
        match SecretKey::parse(&text) {
            Ok(key) => Ok(Signer::Here(Box::new(key))),
            Err(error) if error.is_unsupported() => {
                let guix = self.guix.as_ref().ok_or(AuthenticateError::NoGuix)?;
                let guix = Box::new(Authenticate::start(guix)?);
                Ok(Signer::Guix { key: path, guix })
            }
            Err(error) => Err(LocalError::Key { path, error }),
        }
    }

    /// The keys by which others may sign, `acl`.
    ///
    /// # Errors
    /// When they cannot be read or understood.
    pub(crate) fn authority(&self) -> Result<Authority, LocalError> {
        let path = self.directory.join("acl");
        let text = super::store::read_bounded(&path, MAX_KEY_FILE)?;
        match Acl::parse(&text) {
            Ok(acl) => Ok(Authority {
                acl,
                guix: self.guix.clone(),
            }),
            Err(error) => Err(LocalError::Key { path, error }),
        }
    }
}

impl Signer {
    /// The text of a signature of `hash`, a SHA-256.
    pub(crate) async fn sign(&mut self, hash: &[u8; 32]) -> Result<Vec<u8>, LocalError> {
        match self {
            Signer::Here(key) => Ok(key.sign(hash).to_text()),
            Signer::Guix { key, guix } => Ok(guix.sign(key, hash).await?),
        }
    }
}

impl Authority {
    /// Checks that `signature` is one of `hash`, a SHA-256, and by a key that may sign.
    pub(crate) async fn verify(&self, signature: &[u8], hash: &[u8; 32]) -> Result<(), Untrusted> {
        match self.acl.verify(signature, hash) {
            Ok(_) => Ok(()),
            Err(error) if error.is_unsupported() => self.ask(signature, hash).await,
            Err(error) => Err(Untrusted::Signature(error.to_string())),
        }
    }

    /// `guix authenticate` looks into the list itself, and tells which hash was signed.
    async fn ask(&self, signature: &[u8], hash: &[u8; 32]) -> Result<(), Untrusted> {
        let guix = self.guix.as_ref().ok_or(AuthenticateError::NoGuix);
        let started = guix.and_then(Authenticate::start);
        let mut guix = started.map_err(Untrusted::Unknown)?;
        match guix.verify(signature).await {
            Ok(signed) if signed == *hash => Ok(()),
            Ok(signed) => Err(Untrusted::Signature(format!(
                "signature is of something else: signed {}, actual {}",
                HEXLOWER.encode(&signed),
                HEXLOWER.encode(hash)
            ))),
            Err(error @ AuthenticateError::Refused { .. }) => {
                Err(Untrusted::Signature(error.to_string()))
            }
            Err(error) => Err(Untrusted::Unknown(error)),
        }
    }
}
