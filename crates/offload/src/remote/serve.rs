//! The serve protocol's side of a conversation: `nix-store --serve --write`, which is what keys
//! with a forced command often allow. It trusts every user; what it says on the way comes on
//! standard error.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use store_path::StoreDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use worker_protocol::client::Ticket;
use worker_protocol::serve::{
    AddToStoreNar, BuildDerivation, BuildSettings, Client, Command, QueryValidPaths, Upload,
};
use worker_protocol::{BuildResult, Error, ValidPathInfo};

use super::ask::{Asked, Question};
use super::{MAX_TALK, Reader, Writer, unless_silent, unless_talkative};
use crate::failure::{Failure, RemoteFailure};
use crate::job::Job;
use crate::link::Timeouts;
use crate::log::{Log, Said};

/// How long the end of standard error is waited for when a conversation is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A conversation in the serve protocol.
pub(crate) struct Serve {
    client: Client<Reader, Writer>,
    /// Standard error, as it comes. Fed while anything is read.
    said: Receiver<Bytes>,
    /// See [`Timeouts::answer`].
    pub(crate) answer: Duration,
}

impl Serve {
    /// Begins a conversation and asks `question`, in one flight.
    pub(super) async fn greet(
        reader: Reader,
        writer: Writer,
        said: Receiver<Bytes>,
        store_dir: StoreDir,
        question: &Question,
        timeouts: Timeouts,
    ) -> Result<(Self, Option<Asked>), Failure> {
        let client = Client::new(reader, writer, store_dir, None);
        let mut serve = Serve {
            client,
            said,
            answer: timeouts.answer,
        };
        let asked = serve.ask(question).await?;
        let greeting = timeouts.greeting;
        let greeted = tokio::time::timeout(greeting, serve.client.handshake()).await;
        greeted
            .map_err(|_| RemoteFailure::Unwelcoming(greeting))
            .and_then(|greeted| Ok(greeted?))
            .map_err(|error| error.during("greet nix-store --serve"))?;
        Ok((serve, asked))
    }

    pub(super) fn description(&self) -> String {
        match self.client.version() {
            Some(version) => format!("serve protocol {version}"),
            None => "serve protocol".to_owned(),
        }
    }

    pub(super) async fn queue<C: Command>(
        &mut self,
        command: &C,
    ) -> Result<Ticket<C>, RemoteFailure> {
        Ok(self.client.queue(command).await?)
    }

    pub(crate) async fn reply<C: Command>(
        &mut self,
        ticket: Ticket<C>,
        log: &mut Log,
    ) -> Result<C::Reply, RemoteFailure> {
        self.reply_behind(ticket, MAX_TALK, log).await
    }

    /// Waits for a reply before which no more than `most` bytes are said.
    pub(super) async fn reply_behind<C: Command>(
        &mut self,
        ticket: Ticket<C>,
        most: u64,
        log: &mut Log,
    ) -> Result<C::Reply, RemoteFailure> {
        let heard = Cell::new(Instant::now());
        let talked = Cell::new(0);
        let mut hear = |said: Said| {
            talked.set(talked.get() + said.size());
            log.forward(said);
            heard.set(Instant::now());
        };
        let reply = listening(&mut self.said, &mut hear, self.client.reply(ticket));
        unless_talkative(most, &talked, unless_silent(self.answer, &heard, reply)).await
    }

    /// Asking locks the inputs, too: they stay while the conversation lasts.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Option<Asked>, Failure> {
        if question.inputs.is_empty() {
            return Ok(None);
        }
        let query = QueryValidPaths {
            lock: true,
            substitute: question.use_substitutes(),
            paths: question.inputs.clone(),
        };
        let action = "ask which inputs are missing";
        let valid = self.queue(&query).await;
        let valid = valid.map_err(|error| error.during(action))?;
        Ok(Some(Asked::by_serve(question, valid)))
    }

    /// Begins to add a path, whose archive follows.
    pub(crate) async fn add(
        &mut self,
        path: ValidPathInfo,
    ) -> Result<Upload<'_, Reader, Writer, AddToStoreNar>, Error> {
        self.client.upload(&AddToStoreNar { path }).await
    }

    pub(super) async fn queue_build(
        &mut self,
        job: &Job,
    ) -> Result<Ticket<BuildDerivation>, RemoteFailure> {
        let seconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs());
        let settings = BuildSettings {
            max_silent_time: seconds(job.options.silence),
            timeout: seconds(job.options.time),
            max_log_size: job.options.log_size,
            keep_failed: job.options.keep_failed,
            ..BuildSettings::default()
        };
        let request = BuildDerivation {
            path: job.path.clone(),
            derivation: job.derivation.clone(),
            settings,
        };
        self.queue(&request).await
    }

    pub(super) async fn built(
        &mut self,
        ticket: Ticket<BuildDerivation>,
        hear: &mut impl FnMut(Said),
    ) -> Result<BuildResult, Error> {
        let reply = self.client.reply(ticket);
        listening(&mut self.said, hear, reply).await
    }

    pub(super) async fn raw_chunk(&mut self) -> Result<&[u8], Error> {
        self.client.raw_chunk().await
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.client.consume(count);
    }

    /// Ends the conversation and hears the rest of standard error: the end of a build's log may
    /// come behind its result.
    pub(super) async fn finish(&mut self, log: &mut Log) {
        let said = &mut self.said;
        let ended = async {
            self.client.end().await;
            while let Some(bytes) = said.recv().await {
                log.forward(Said::Raw(bytes));
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, ended).await;
    }
}

/// Waits for `reply`, and passes on what is said meanwhile.
async fn listening<T>(
    said: &mut Receiver<Bytes>,
    hear: &mut impl FnMut(Said),
    reply: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::pin!(reply);
    loop {
        tokio::select! {
            biased;
            Some(bytes) = said.recv() => hear(Said::Raw(bytes)),
            reply = &mut reply => {
                while let Ok(bytes) = said.try_recv() {
                    hear(Said::Raw(bytes));
                }
                return reply;
            }
        }
    }
}
