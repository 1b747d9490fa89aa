//! A daemon's requests as they come in, and what their words are in its store.

use std::collections::BTreeSet;

use derivation::Derivation;
use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Dialect, SettingsError, guix, nix};
use crate::job::{BuildOptions, Job, JobError, parse_derivation, parse_path};
use crate::local::{LocalError, LocalStore, LocationError};
use crate::slots::SlotError;

/// Why the hook ends without having accepted a build.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error("failed to read the daemon's request: {0}")]
    Read(#[from] std::io::Error),
    #[error("the daemon's request makes no sense: failed to {0}")]
    Nix(#[from] nix::Error),
    #[error("the daemon's request makes no sense: failed to {0}")]
    Guix(#[from] guix::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Slots(#[from] SlotError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("the daemon asked for something out of turn")]
    OutOfTurn,
}

/// The daemon's side of the conversation.
pub(super) struct Requests<R, D> {
    stream: R,
    conversation: D,
}

impl<R: AsyncRead + Unpin, D: Dialect> Requests<R, D>
where
    ServeError: From<D::Error>,
{
    /// What comes in by `stream`.
    pub(super) fn new(stream: R) -> Self {
        let conversation = D::default();
        Requests {
            stream,
            conversation,
        }
    }

    /// The build that was offered last is accepted.
    pub(super) fn accepted(&mut self) {
        self.conversation.accepted();
    }

    /// The next event, or `None` when the daemon hung up where it may.
    pub(super) async fn next(&mut self) -> Result<Option<D::Event>, ServeError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(event) = self.conversation.poll()? {
                return Ok(Some(event));
            }
            match self.stream.read(&mut buffer).await? {
                0 => {
                    self.conversation.handle_end()?;
                    return Ok(None);
                }
                length => self.conversation.handle(&buffer[..length]),
            }
        }
    }
}

/// What cannot be built elsewhere is found out before a machine is troubled.
pub(super) fn read_derivation(
    store: &LocalStore,
    derivation: &str,
) -> Result<(StorePath, Derivation<'static>), ServeError> {
    let path = parse_path(store.store_dir(), derivation)?;
    let text = store.read_derivation(&path)?;
    let derivation = parse_derivation(store.store_dir(), &path, &text)?;
    Ok((path, derivation))
}

/// What is to be done once the daemon has named the `inputs` to be there, and the `wanted` outputs.
pub(super) fn job(
    store: &LocalStore,
    (path, derivation): (StorePath, Derivation<'static>),
    inputs: &[String],
    wanted: &[String],
    options: BuildOptions,
) -> Result<Job, ServeError> {
    let store_dir = store.store_dir();
    let inputs: BTreeSet<_> = inputs
        .iter()
        .map(|path| parse_path(store_dir, path))
        .collect::<Result<_, _>>()?;
    Ok(Job::new(
        store_dir, path, derivation, inputs, wanted, options,
    )?)
}
