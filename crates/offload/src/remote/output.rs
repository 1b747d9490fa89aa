//! Asking for an output, and reading it.

use std::time::Duration;

use store_path::StorePath;
use worker_protocol::PathInfo;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{NarFromPath, QueryPathInfo};
use worker_protocol::serve;

use super::{Conversation, Remote, queue, reply};
use crate::failure::{Failure, RemoteFailure};
use crate::log::Log;

/// How long a machine may send nothing of an archive.
const STALL: Duration = Duration::from_secs(600);

/// The claims to what is known of an output, and then to its archive.
pub(crate) enum OutputClaim {
    Worker {
        info: Ticket<QueryPathInfo>,
        archive: Ticket<NarFromPath>,
    },
    Serve {
        infos: Ticket<serve::QueryPathInfos>,
        archive: Ticket<serve::DumpStorePath>,
    },
}

impl Remote {
    /// Asks for `path`, which need not exist yet: a daemon answers in order.
    pub(crate) async fn queue_output(&mut self, path: StorePath) -> Result<OutputClaim, Failure> {
        let failed = |error: RemoteFailure| error.during("ask for the outputs");
        match &mut self.conversation {
            Conversation::Worker(client) => {
                let info = queue(client, &QueryPathInfo { path: path.clone() }).await;
                let info = info.map_err(failed)?;
                let archive = queue(client, &NarFromPath { path }).await.map_err(failed)?;
                Ok(OutputClaim::Worker { info, archive })
            }
            Conversation::Serve(serve) => {
                let paths = [path.clone()].into();
                let infos = serve.queue(&serve::QueryPathInfos { paths }).await;
                let infos = infos.map_err(failed)?;
                let archive = serve.queue(&serve::DumpStorePath { path }).await;
                let archive = archive.map_err(failed)?;
                Ok(OutputClaim::Serve { infos, archive })
            }
        }
    }

    /// What the machine knows of an output; `None` if it has none.
    pub(crate) async fn output_info(
        &mut self,
        claim: &OutputClaim,
        log: &mut Log,
    ) -> Result<Option<PathInfo>, Failure> {
        let info = match (&mut self.conversation, claim) {
            (Conversation::Worker(client), OutputClaim::Worker { info, .. }) => {
                reply(client, *info, log).await
            }
            (Conversation::Serve(serve), OutputClaim::Serve { infos, .. }) => {
                let infos = serve.reply(*infos, log).await;
                infos.map(|infos| infos.into_iter().next().map(|valid| valid.info))
            }
            _ => unreachable!("a conversation has one protocol"),
        };
        info.map_err(|error| error.during("ask for the outputs"))
    }

    /// Waits for the archive to begin; [`Remote::archive_chunk`] reads it.
    pub(crate) async fn open_archive(
        &mut self,
        claim: OutputClaim,
        log: &mut Log,
    ) -> Result<(), RemoteFailure> {
        match (&mut self.conversation, claim) {
            (Conversation::Worker(client), OutputClaim::Worker { archive, .. }) => {
                reply(client, archive, log).await
            }
            (Conversation::Serve(serve), OutputClaim::Serve { archive, .. }) => {
                serve.reply(archive, log).await
            }
            _ => unreachable!("a conversation has one protocol"),
        }
    }

    /// The next bytes of the archive, and perhaps some behind it.
    pub(crate) async fn archive_chunk(&mut self) -> Result<&[u8], RemoteFailure> {
        let chunk = async {
            match &mut self.conversation {
                Conversation::Worker(client) => client.raw_chunk().await,
                Conversation::Serve(serve) => serve.raw_chunk().await,
            }
        };
        match tokio::time::timeout(STALL, chunk).await {
            Ok(chunk) => Ok(chunk?),
            Err(_) => Err(RemoteFailure::Silent(STALL)),
        }
    }

    /// Says how many bytes of the last chunk were the archive's.
    pub(crate) fn consume(&mut self, count: usize) {
        match &mut self.conversation {
            Conversation::Worker(client) => client.consume(count),
            Conversation::Serve(serve) => serve.consume(count),
        }
    }
}
