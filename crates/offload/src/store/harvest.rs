//! The outputs of a client's last build. They stay on the machine until they are asked for.

use std::collections::BTreeMap;

use nar::{Digest, Fingerprint};
use store_path::{ContentAddress, StorePath};
use worker_protocol::ValidPathInfo;

use super::build::Order;
use super::record::Record;
use crate::failure::{Failure, RemoteFailure};
use crate::fleet::Lease;
use crate::local::{ImportError, Passing};
use crate::log::Log;
use crate::remote::ArchiveClaim;

/// The machine of the last build, and what it made.
pub(super) struct Harvest {
    lease: Box<Lease>,
    /// What was built, if it was on this connection.
    order: Option<Order>,
    outputs: BTreeMap<StorePath, Output>,
}

/// One output on the machine.
pub(super) struct Output {
    pub(super) valid: ValidPathInfo,
    pub(super) address: Option<ContentAddress>,
    /// The archive, if it was asked for already.
    pub(super) archive: Option<ArchiveClaim>,
}

/// What a client has got of an archive from a machine that failed in the middle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed(Fingerprint);

impl Handed {
    pub(super) fn nothing() -> Self {
        Handed(Digest::new().finish())
    }
}

/// Why an output could not be handed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandOnError {
    /// The machine is in trouble.
    #[error("failed to copy an output from {0}: {1}")]
    Machine(String, Box<Failure>),
    /// What came is not what was promised.
    #[error("{1} (from {0})")]
    Content(String, ImportError),
    /// What came from a second machine does not begin like what came from the first.
    #[error("{0} made other bytes than the machine that failed before it")]
    Differs(String),
    /// The client.
    #[error("failed to {0}")]
    Client(#[from] worker_protocol::Error),
}

impl Harvest {
    pub(super) fn new(
        lease: Box<Lease>,
        order: Order,
        outputs: BTreeMap<StorePath, Output>,
    ) -> Self {
        Harvest {
            lease,
            order: Some(order),
            outputs,
        }
    }

    /// What another connection has built and written down.
    pub(super) fn recorded(lease: Box<Lease>, record: Record) -> Self {
        let output = Output {
            address: record.address,
            archive: None,
            valid: record.valid,
        };
        Harvest {
            lease,
            order: None,
            outputs: BTreeMap::from([(output.valid.path.clone(), output)]),
        }
    }

    /// What another connection has to know, if it may be asked: of several outputs each may be fetched
    /// on a connection of its own.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let outputs = self.outputs.values().filter(|_| self.outputs.len() > 1);
        outputs.map(|output| Record {
            machine: self.uri().to_owned(),
            valid: output.valid.clone(),
            address: output.address,
        })
    }

    /// What is known of `path`, if it is one of the outputs.
    pub(super) fn info(&self, path: &StorePath) -> Option<&ValidPathInfo> {
        Some(&self.outputs.get(path)?.valid)
    }

    /// The machine's URI.
    pub(super) fn uri(&self) -> &str {
        self.lease.machine.uri.as_str()
    }

    /// The machine, which may be given up, and what it was to build.
    pub(super) fn into_parts(self) -> (Box<Lease>, Option<Order>) {
        (self.lease, self.order)
    }

    /// Hands the archive of an output to `take` as it comes, but for what was `handed` on before: that
    /// is only compared. The end of it is only handed on when all of it was as promised.
    pub(super) async fn hand_on(
        &mut self,
        path: &StorePath,
        handed: &mut Handed,
        log: &mut Log,
        mut take: impl AsyncFnMut(&[u8]) -> Result<(), worker_protocol::Error>,
    ) -> Result<(), HandOnError> {
        let before = handed.0;
        let remote = &mut self.lease.remote;
        let uri = remote.uri().to_owned();
        let output = self.outputs.get_mut(path).expect("it was looked up before");
        let trouble = |failure| HandOnError::Machine(uri.clone(), Box::new(failure));
        let machine = |error: RemoteFailure| trouble(error.during("read it"));
        let content = |error| HandOnError::Content(uri.clone(), error);
        let claim = match output.archive.take() {
            Some(claim) => claim,
            None => remote.queue_archive(path.clone()).await.map_err(trouble)?,
        };
        remote.open_archive(claim, log).await.map_err(machine)?;
        let name = path.to_string();
        let mut passing = Passing::new(name, output.valid.clone(), output.address);
        loop {
            let chunk = match remote.archive_chunk().await {
                Ok(chunk) => chunk,
                Err(error) => {
                    if passing.size() > before.size {
                        handed.0 = passing.fingerprint();
                    }
                    return Err(machine(error));
                }
            };
            let repeats = before.size.saturating_sub(passing.size());
            let piece = match usize::try_from(repeats) {
                Ok(repeats) if (1..chunk.len()).contains(&repeats) => &chunk[..repeats],
                _ => chunk,
            };
            let (length, finished) = passing.pass(piece).map_err(content)?;
            if repeats == 0 && !finished {
                take(&piece[..length]).await?;
            } else if passing.size() == before.size && passing.fingerprint() != before {
                return Err(HandOnError::Differs(uri));
            }
            if finished {
                passing.finish().map_err(content)?;
                if repeats == 0 {
                    take(&piece[..length]).await?;
                }
                remote.consume(length);
                return Ok(());
            }
            remote.consume(length);
        }
    }
}

impl std::fmt::Debug for Harvest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harvest")
            .field("machine", &self.lease.machine.uri.as_str())
            .finish_non_exhaustive()
    }
}
