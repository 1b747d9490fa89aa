//! Archives for a client: of this host's paths, and of outputs that are on machines.

use nar::Dump;
use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::operation::NarFromPath;

use super::build::build;
use super::harvest::{HandOnError, Handed, Harvest};
use super::record::Record;
use super::serve::{EndpointError, Session, tell};
use crate::log::{Level, Log};

/// Bytes read from a local path and sent at a time.
const CHUNK: usize = 256 << 10;

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    /// Sends the archive of a path: of an output on a machine, or of this host.
    pub(super) async fn send_archive(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let made = self.harvest.as_ref().and_then(|harvest| harvest.info(path));
        if made.is_none() && self.store.known(path)?.is_none() {
            let Some(record) = self.records.read(path) else {
                let name = self.store.store_dir().print(path);
                return Ok(self.fail(format!("path is not valid: {name}")).await?);
            };
            if let Err(why) = self.reach(record).await? {
                return Ok(self.fail(why).await?);
            }
        } else if made.is_none() {
            return self.send_local(path).await;
        }
        // The record stays until it is old: who made the same, in another process, has yet to fetch it.
        self.hand_on(path).await
    }

    /// Connects to the machine that has a recorded output. The inner error is why it is not reached.
    async fn reach(&mut self, record: Record) -> Result<Result<(), String>, EndpointError> {
        let (sender, _) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, 0);
        let reached = tokio::select! {
            reached = self.fleet.reach(&record.machine, &mut log) => reached,
            () = self.server.hung_up() => return Err(EndpointError::Gone),
        };
        Ok(reached.map(|lease| self.harvest = Some(Harvest::recorded(lease, record))))
    }

    /// The archive of an output, from the machine to the client. When the machine gets into trouble,
    /// another one makes the output again. The client only hears that it comes once it does; where
    /// then no machine goes on with the same bytes the conversation ends, for there is no other way to
    /// take back what was sent.
    async fn hand_on(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let (mut begun, mut handed) = (false, Handed::nothing());
        loop {
            let (sender, _) = tokio::sync::mpsc::unbounded_channel();
            let mut log = Log::to_client(&sender, 0);
            let harvest = self.harvest.as_mut().expect("it has the output");
            let server = &mut self.server;
            let take = async |bytes: &[u8]| {
                if !begun {
                    server.answer::<NarFromPath>(&()).await?;
                    begun = true;
                }
                server.raw(bytes).await
            };
            let error = match harvest.hand_on(path, &mut handed, &mut log, take).await {
                Ok(()) => return Ok(()),
                Err(HandOnError::Client(error)) => return Err(error.into()),
                Err(error) => error,
            };
            let why = match error {
                HandOnError::Machine(..) => match self.make_again(path, begun).await? {
                    Ok(()) => continue,
                    Err(why) => format!("{error}; {why}"),
                },
                _ => error.to_string(),
            };
            return match begun {
                true => Err(EndpointError::Output(why)),
                false => Ok(self.fail(why).await?),
            };
        }
    }

    /// Has another machine make what the last one made, and cannot hand on. The inner error is why
    /// `path` is not the same again.
    async fn make_again(
        &mut self,
        path: &StorePath,
        begun: bool,
    ) -> Result<Result<(), String>, EndpointError> {
        let harvest = self.harvest.take().expect("it has the output");
        let promised = harvest.info(path).map(|valid| valid.info.nar_hash);
        let (lease, order) = harvest.into_parts();
        let Some(order) = order else {
            let why = "it was built on another connection".to_owned();
            return Ok(Err(why));
        };
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, self.verbosity);
        let (fleet, store) = (&mut self.fleet, &self.store);
        let work = async {
            let message = format!("offload: {} is given up", lease.machine.uri);
            log.daemon.message(Level::Warning, &message);
            fleet.give_up(*lease).await;
            build(fleet, store, order, &mut log).await
        };
        let server = &mut self.server;
        tokio::pin!(work);
        let (result, harvest) = loop {
            tokio::select! {
                biased;
                // Within an archive there is no place for words.
                Some(message) = messages.recv() => if !begun {
                    tell(server, message, &mut messages).await?;
                },
                done = &mut work => break done,
                () = server.hung_up() => return Err(EndpointError::Gone),
            }
        };
        while !begun && let Ok(message) = messages.try_recv() {
            self.server.log(message).await?;
        }
        let Some(harvest) = harvest else {
            return Ok(Err(result.error.to_string()));
        };
        let made = harvest.info(path).map(|valid| valid.info.nar_hash);
        let uri = harvest.uri().to_owned();
        self.harvest = Some(harvest);
        Ok(match made == promised {
            true => Ok(()),
            false => Err(format!("{uri} made something else of the same derivation")),
        })
    }

    async fn send_local(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let mut dump = match Dump::new(self.store.real_path(path)) {
            Ok(dump) => dump,
            Err(error) => return Ok(self.fail(error.to_string()).await?),
        };
        self.server.answer::<NarFromPath>(&()).await?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = dump.fill(&mut buffer);
            let length = length.map_err(|error| EndpointError::Output(error.to_string()))?;
            if length == 0 {
                return Ok(());
            }
            self.server.raw(&buffer[..length]).await?;
        }
    }
}
