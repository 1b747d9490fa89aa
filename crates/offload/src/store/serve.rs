//! Serves one client of the endpoint.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::operation::{
    BuildDerivation, IsValidPath, QueryPathInfo, QueryValidPaths, SetOptions,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::{Error, Log as Message, PathInfo, RemoteError, Request};

use super::bounds::Bounds;
use super::build::{build, options, order};
use super::daemon::LocalDaemon;
use super::forward::forward;
use super::harvest::Harvest;
use super::patient::PatientWriter;
use super::privileges::without_privileges;
use super::record::{self, Records};
use crate::fleet::Fleet;
use crate::job::BuildOptions;
use crate::link::{Identity, Timeouts};
use crate::local::{HostBounds, LocalError, LocalStore, NixPrograms, NixStore, StoreLocation};
use crate::log::Log;
use crate::machines::Machine;
use crate::slots::{SlotDirectory, SlotError};

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
    /// Bounds for others on this host.
    pub host_bounds: HostBounds,
    /// What a client may ask for.
    pub bounds: Bounds,
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
    /// The client says something wrong, or is gone in the middle of saying it.
    #[error("failed to {0} (client)")]
    Client(#[from] Error),
    /// The client is gone, and waits for no answer.
    #[error("client hung up before it was answered")]
    Gone,
    /// The client is there, and does not do what it has begun.
    #[error("client does not {what} within {} s (bound client-{name})", bound.as_secs_f64())]
    Late {
        /// What it is waited for to do.
        what: &'static str,
        /// How long.
        bound: Duration,
        /// What that is called.
        name: &'static str,
    },
    /// The client sends more than anybody needs.
    #[error("client sends more than {0} bytes of data with one request")]
    UploadSize(u64),
    /// An output that was promised could not be handed on.
    #[error("{0}")]
    Output(String),
}

/// Serves one client until it hangs up. Whatever it was having built is given up then. `is_trusted`:
/// whether it may do what this host's daemon lets trusted users do, as which it knows us.
///
/// # Errors
/// When the coordinator's store cannot be used, or the conversation breaks.
pub async fn serve<R, W>(
    reader: R,
    writer: W,
    is_trusted: bool,
    coordinator: &Coordinator,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let store = NixStore::open(
        coordinator.location.clone(),
        coordinator.programs.clone(),
        coordinator.host_bounds,
    )?
    .local;
    let store_dir = store.store_dir().clone();
    let slots = SlotDirectory::open(coordinator.state_dir.join("current-load"))?;
    let knowledge = coordinator.state_dir.join("offload");
    let fleet = Fleet::new(
        coordinator.machines.clone(),
        slots,
        &knowledge,
        coordinator.identity.clone(),
        coordinator.timeouts,
        store_dir.clone(),
    );
    let version = concat!("offload ", env!("CARGO_PKG_VERSION"));
    let options = Options {
        trusted: Some(is_trusted),
        max_message: coordinator.bounds.request_size,
        ..Options::nix(store_dir.clone(), version)
    };
    let bounds = coordinator.bounds;
    let writer = PatientWriter::new(writer, bounds.silence);
    let mut session = Session {
        server: Server::new(reader, writer, options),
        daemon: LocalDaemon::new(
            coordinator.daemon_socket.clone(),
            store_dir.clone(),
            coordinator.timeouts.connect,
        ),
        records: Records::new(record::directory(&knowledge), store_dir),
        store,
        fleet,
        harvest: None,
        verbosity: VERBOSITY,
        options: BuildOptions::default(),
        bounds,
        is_trusted,
    };
    if !session.greets().await? {
        return Ok(());
    }
    while let Some(request) = session.next_request().await? {
        session.handle(request).await?;
    }
    Ok(())
}

/// Waits until the client has done something, or the bound of that name is over.
pub(super) async fn within<T>(
    (name, bound): (&'static str, Duration),
    what: &'static str,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, EndpointError> {
    match tokio::time::timeout(bound, doing).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(EndpointError::Late { what, bound, name }),
    }
}

/// One client, and what it is served with.
pub(super) struct Session<R, W> {
    pub(super) server: Server<R, PatientWriter<W>>,
    pub(super) store: LocalStore,
    daemon: LocalDaemon,
    pub(super) fleet: Fleet,
    /// Outputs that are on a machine.
    pub(super) harvest: Option<Harvest>,
    /// Outputs that other connections have left on machines.
    pub(super) records: Records,
    pub(super) verbosity: u64,
    options: BuildOptions,
    bounds: Bounds,
    is_trusted: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    /// Whether the client wants anything at all: one that only looks whether somebody listens does not.
    async fn greets(&mut self) -> Result<bool, EndpointError> {
        let server = &mut self.server;
        let greeting = async {
            server.request_begins().await?;
            if server.buffered() == 0 {
                return Ok(false);
            }
            server.accept().await.map(|()| true)
        };
        within(("greeting", self.bounds.greeting), "greet", greeting).await
    }

    async fn next_request(&mut self) -> Result<Option<Request>, EndpointError> {
        let (server, bounds) = (&mut self.server, self.bounds);
        // Answers that it does not take are no request that does not come.
        server.flush().await?;
        within(
            ("idle", bounds.idle),
            "ask for anything",
            server.request_begins(),
        )
        .await?;
        within(
            ("request", bounds.request),
            "end its request",
            server.next_request(),
        )
        .await
    }

    async fn handle(&mut self, request: Request) -> Result<(), EndpointError> {
        let request = match self.is_trusted {
            true => request,
            false => match without_privileges(request) {
                Ok(request) => request,
                Err(name) => {
                    let why =
                        format!("{name} is for trusted users: root, and whom the endpoint runs as");
                    return Ok(self.fail(why).await?);
                }
            },
        };
        match request {
            Request::SetOptions(asked) => {
                self.verbosity = asked.verbosity;
                self.options = options(&asked);
                self.server.answer::<SetOptions>(&()).await?;
            }
            Request::IsValidPath(asked) => match self.valid(&BTreeSet::from([asked.path])) {
                Ok(valid) => {
                    let is_valid = !valid.is_empty();
                    self.server.answer::<IsValidPath>(&is_valid).await?;
                }
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
            other => forward(&mut self.server, &mut self.daemon, other, &self.bounds).await?,
        }
        Ok(())
    }

    pub(super) async fn fail(&mut self, why: String) -> Result<(), Error> {
        self.server.fail(RemoteError::new(why)).await
    }

    /// What is known of a path: of an output on a machine, or here.
    fn info(&self, path: &StorePath) -> Result<Option<PathInfo>, LocalError> {
        let made = self.harvest.as_ref().and_then(|harvest| harvest.info(path));
        if let Some(valid) = made {
            return Ok(Some(valid.info.clone()));
        }
        let recorded = || Some(self.records.read(path)?.valid.info);
        Ok(self.store.known(path)?.or_else(recorded))
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
        let order = match order(&self.store, request, self.options) {
            Ok(order) => order,
            Err(why) => return Ok(self.fail(why).await?),
        };
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, self.verbosity);
        let (server, store) = (&mut self.server, &self.store);
        self.fleet.begin_build();
        let work = build(&mut self.fleet, store, order, &mut log);
        tokio::pin!(work);
        let (result, harvest) = loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => tell(server, message, &mut messages).await?,
                done = &mut work => break done,
                () = server.hung_up() => return Err(EndpointError::Gone),
            }
        };
        while let Ok(message) = messages.try_recv() {
            server.log(message).await?;
        }
        self.harvest = harvest;
        let records = self.harvest.iter().flat_map(Harvest::records);
        records.for_each(|record| self.records.write(&record));
        Ok(self.server.answer::<BuildDerivation>(&result).await?)
    }
}

/// Sends a message, and those that have come meanwhile, in one go.
pub(super) async fn tell<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    server: &mut Server<R, W>,
    message: Message,
    more: &mut tokio::sync::mpsc::UnboundedReceiver<Message>,
) -> Result<(), Error> {
    server.log(message).await?;
    while let Ok(message) = more.try_recv() {
        server.log(message).await?;
    }
    server.flush().await
}
