//! Serves one client of the endpoint.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use nar::Dump;
use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::operation::{
    BuildDerivation, IsValidPath, NarFromPath, QueryPathInfo, QueryValidPaths, SetOptions,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::{Error, Log as Message, PathInfo, RemoteError, Request};

use super::build::{HandOnError, Harvest, build, job, options};
use super::daemon::LocalDaemon;
use super::forward::{client_is_gone, forward};
use crate::fleet::Fleet;
use crate::job::BuildOptions;
use crate::link::{Identity, Timeouts};
use crate::local::{LocalError, LocalStore, NixPrograms, NixStore, StoreLocation};
use crate::log::Log;
use crate::machines::Machine;
use crate::slots::{SlotDirectory, SlotError};

/// How long a client may take to greet, and to take in what it asked for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes read from a local path and sent at a time.
const CHUNK: usize = 256 << 10;
/// The level of messages that a client gets that does not say: as Nix has it.
const VERBOSITY: u64 = 3;

/// What the endpoint is in front of.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// The machines.
    pub machines: Vec<Machine>,
    /// The coordinator's own store.
    pub location: StoreLocation,
    /// Nix's own programs, for that store.
    pub programs: NixPrograms,
    /// Where slots, queues and knowledge are kept: the daemon's state directory.
    pub state_dir: PathBuf,
    /// The socket of the coordinator's own daemon.
    pub daemon_socket: PathBuf,
    /// Whose keys are used.
    pub identity: Identity,
    /// Bounds for connecting.
    pub timeouts: Timeouts,
}

/// Why a client is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The coordinator's own store cannot be used.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Slots cannot be looked at.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The client says something wrong, or is gone in the middle.
    #[error("failed to {0}")]
    Client(#[from] Error),
    /// The client is there, and neither says nor takes anything.
    #[error("client has done nothing for {} s", PATIENCE.as_secs())]
    Stalled,
    /// An output that was promised could not be handed on.
    #[error("{0}")]
    Output(String),
}

/// Serves one client until it hangs up. Whatever it was having built is given up then.
///
/// # Errors
/// When the coordinator's store cannot be used, or the conversation breaks.
pub async fn serve<R, W>(
    reader: R,
    writer: W,
    coordinator: &Coordinator,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let store = NixStore::open(coordinator.location.clone(), coordinator.programs.clone())?.local;
    let store_dir = store.store_dir().clone();
    let slots = SlotDirectory::open(coordinator.state_dir.join("current-load"))?;
    let fleet = Fleet::new(
        coordinator.machines.clone(),
        slots,
        &coordinator.state_dir.join("offload"),
        coordinator.identity.clone(),
        coordinator.timeouts,
        store_dir.clone(),
    );
    let version = concat!("offload ", env!("CARGO_PKG_VERSION"));
    let options = Options {
        // Who may talk to us may build: the socket's mode, or the daemon, says who that is.
        trusted: Some(true),
        ..Options::nix(store_dir.clone(), version)
    };
    let mut session = Session {
        server: Server::new(reader, writer, options),
        daemon: LocalDaemon::new(coordinator.daemon_socket.clone(), store_dir),
        store,
        fleet,
        harvest: None,
        verbosity: VERBOSITY,
        options: BuildOptions::default(),
    };
    let greeted = tokio::time::timeout(PATIENCE, session.server.accept()).await;
    greeted.map_err(|_| EndpointError::Stalled)??;
    while let Some(request) = session.server.next_request().await? {
        session.handle(request).await?;
    }
    Ok(())
}

struct Session<R, W> {
    server: Server<R, W>,
    store: LocalStore,
    daemon: LocalDaemon,
    fleet: Fleet,
    /// Outputs that are on a machine.
    harvest: Option<Harvest>,
    verbosity: u64,
    options: BuildOptions,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    async fn handle(&mut self, request: Request) -> Result<(), EndpointError> {
        match request {
            Request::SetOptions(asked) => {
                self.verbosity = asked.verbosity;
                self.options = options(&asked);
                self.server.answer::<SetOptions>(&()).await?;
            }
            Request::IsValidPath(asked) => match self.info(&asked.path) {
                Ok(info) => self.server.answer::<IsValidPath>(&info.is_some()).await?,
                Err(error) => self.fail(error.to_string()).await?,
            },
            Request::QueryValidPaths(asked) => match self.valid(&asked.paths) {
                Ok(valid) => self.server.answer::<QueryValidPaths>(&valid).await?,
                Err(error) => self.fail(error.to_string()).await?,
            },
            Request::QueryPathInfo(asked) => match self.info(&asked.path) {
                Ok(info) => self.server.answer::<QueryPathInfo>(&info).await?,
                Err(error) => self.fail(error.to_string()).await?,
            },
            Request::NarFromPath(asked) => self.send_archive(&asked.path).await?,
            Request::BuildDerivation(asked) => self.build(asked).await?,
            other => forward(&mut self.server, &mut self.daemon, other).await?,
        }
        Ok(())
    }

    async fn fail(&mut self, why: String) -> Result<(), Error> {
        self.server.fail(RemoteError::new(why)).await
    }

    /// What is known of a path: of an output on a machine, or here.
    fn info(&self, path: &StorePath) -> Result<Option<PathInfo>, LocalError> {
        let made = self.harvest.as_ref().and_then(|harvest| harvest.info(path));
        match made {
            Some(valid) => Ok(Some(valid.info.clone())),
            None => self.store.known(path),
        }
    }

    fn valid(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>, LocalError> {
        let mut valid = self.store.valid(paths)?;
        if let Some(harvest) = &self.harvest {
            let made = paths.iter().filter(|path| harvest.info(path).is_some());
            valid.extend(made.cloned());
        }
        Ok(valid)
    }

    async fn build(&mut self, request: BuildDerivation) -> Result<(), EndpointError> {
        // The machine of the build before is free for others.
        self.harvest = None;
        let (job, demand) = match job(&self.store, request, self.options) {
            Ok(job) => job,
            Err(why) => return Ok(self.fail(why).await?),
        };
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, self.verbosity);
        let (server, store) = (&mut self.server, &self.store);
        let work = build(&mut self.fleet, store, &job, &demand, &mut log);
        tokio::pin!(work);
        let (result, harvest) = loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => tell(server, message, &mut messages).await?,
                done = &mut work => break done,
                () = server.hung_up() => return Err(client_is_gone().into()),
            }
        };
        while let Ok(message) = messages.try_recv() {
            server.log(message).await?;
        }
        self.harvest = harvest;
        Ok(self.server.answer::<BuildDerivation>(&result).await?)
    }

    async fn send_archive(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let made = self.harvest.as_mut();
        match made.filter(|harvest| harvest.info(path).is_some()) {
            Some(_) => self.hand_on(path).await,
            None => self.send_local(path).await,
        }
    }

    /// The archive of an output, from the machine to the client. The client only hears that it comes
    /// once it does; a machine in trouble after that ends the conversation, for there is no other way
    /// to take back what was sent.
    async fn hand_on(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let (sender, _messages) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, 0);
        let harvest = self.harvest.as_mut().expect("it has the output");
        let server = &mut self.server;
        let mut begun = false;
        let take = async |bytes: &[u8]| {
            if !begun {
                server.answer::<NarFromPath>(&()).await?;
                begun = true;
            }
            let taken = tokio::time::timeout(PATIENCE, server.raw(bytes)).await;
            taken.unwrap_or_else(|_| Err(client_is_gone()))
        };
        match harvest.hand_on(path, &mut log, take).await {
            Ok(()) => Ok(()),
            Err(HandOnError::Client(error)) => Err(error.into()),
            Err(error) if !begun => Ok(self.fail(error.to_string()).await?),
            Err(error) => Err(EndpointError::Output(error.to_string())),
        }
    }

    async fn send_local(&mut self, path: &StorePath) -> Result<(), EndpointError> {
        let name = self.store.store_dir().print(path);
        let known = self.store.known(path)?;
        let mut dump = match Dump::new(self.store.real_path(path)) {
            Ok(dump) if known.is_some() => dump,
            Ok(_) => return Ok(self.fail(format!("path is not valid: {name}")).await?),
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
            let taken = tokio::time::timeout(PATIENCE, self.server.raw(&buffer[..length])).await;
            taken.map_err(|_| EndpointError::Stalled)??;
        }
    }
}

/// Sends a message, and those that have come meanwhile, in one go.
async fn tell<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    server: &mut Server<R, W>,
    message: Message,
    more: &mut tokio::sync::mpsc::UnboundedReceiver<Message>,
) -> Result<(), EndpointError> {
    let telling = async {
        server.log(message).await?;
        while let Ok(message) = more.try_recv() {
            server.log(message).await?;
        }
        server.flush().await
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    told.map_err(|_| EndpointError::Stalled)??;
    Ok(())
}
