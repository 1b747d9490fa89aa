//! Asking for an output, and reading it.

use store_path::StorePath;
use worker_protocol::PathInfo;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{NarFromPath, QueryPathInfo};
use worker_protocol::serve;

use super::{Conversation, Remote, queue, reply};
use crate::failure::{Failure, RemoteFailure};
use crate::log::Log;

/// The claim to what is known of an output.
pub(crate) enum InfoClaim {
    Worker(Ticket<QueryPathInfo>),
    Serve(Ticket<serve::QueryPathInfos>),
}

/// The claim to an output's archive.
pub(crate) enum ArchiveClaim {
    Worker(Ticket<NarFromPath>),
    Serve(Ticket<serve::DumpStorePath>),
}

const ASKING: &str = "ask for the outputs";

impl Remote {
    /// Asks what is known of `path`, which need not exist yet: a daemon answers in order.
    pub(crate) async fn queue_info(&mut self, path: StorePath) -> Result<InfoClaim, Failure> {
        let claim = match &mut self.conversation {
            Conversation::Worker(client) => {
                let ticket = queue(client, &QueryPathInfo { path }).await;
                ticket.map(InfoClaim::Worker)
            }
            Conversation::Serve(serve) => {
                let paths = [path].into();
                let ticket = serve.queue(&serve::QueryPathInfos { paths }).await;
                ticket.map(InfoClaim::Serve)
            }
        };
        claim.map_err(|error| error.during(ASKING))
    }

    /// Asks for the archive of `path`.
    pub(crate) async fn queue_archive(&mut self, path: StorePath) -> Result<ArchiveClaim, Failure> {
        let claim = match &mut self.conversation {
            Conversation::Worker(client) => {
                let ticket = queue(client, &NarFromPath { path }).await;
                ticket.map(ArchiveClaim::Worker)
            }
            Conversation::Serve(serve) => {
                let ticket = serve.queue(&serve::DumpStorePath { path }).await;
                ticket.map(ArchiveClaim::Serve)
            }
        };
        claim.map_err(|error| error.during(ASKING))
    }

    /// What the machine knows of an output; `None` if it has none.
    pub(crate) async fn output_info(
        &mut self,
        claim: InfoClaim,
        log: &mut Log,
    ) -> Result<Option<PathInfo>, Failure> {
        let info = match (&mut self.conversation, claim) {
            (Conversation::Worker(client), InfoClaim::Worker(ticket)) => {
                reply(client, ticket, log).await
            }
            (Conversation::Serve(serve), InfoClaim::Serve(ticket)) => {
                let infos = serve.reply(ticket, log).await;
                infos.map(|infos| infos.into_iter().next().map(|valid| valid.info))
            }
            _ => unreachable!("a conversation has one protocol"),
        };
        info.map_err(|error| error.during(ASKING))
    }

    /// Waits for the archive to begin; [`Remote::archive_chunk`] reads it.
    pub(crate) async fn open_archive(
        &mut self,
        claim: ArchiveClaim,
        log: &mut Log,
    ) -> Result<(), RemoteFailure> {
        match (&mut self.conversation, claim) {
            (Conversation::Worker(client), ArchiveClaim::Worker(ticket)) => {
                reply(client, ticket, log).await
            }
            (Conversation::Serve(serve), ArchiveClaim::Serve(ticket)) => {
                serve.reply(ticket, log).await
            }
            _ => unreachable!("a conversation has one protocol"),
        }
    }

    /// The next bytes of the archive, and perhaps some behind it.
    pub(crate) async fn archive_chunk(&mut self) -> Result<&[u8], RemoteFailure> {
        let answer = self.timeouts.answer;
        let chunk = async {
            match &mut self.conversation {
                Conversation::Worker(client) => client.raw_chunk().await,
                Conversation::Serve(serve) => serve.raw_chunk().await,
            }
        };
        match tokio::time::timeout(answer, chunk).await {
            Ok(chunk) => Ok(chunk?),
            Err(_) => Err(RemoteFailure::Silent(answer)),
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
