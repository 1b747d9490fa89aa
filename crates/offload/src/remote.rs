//! A conversation with a machine's store daemon.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use worker_protocol::client::{Client, Options, Ticket};
use worker_protocol::operation::{AddTempRoot, QueryValidPaths};
use worker_protocol::{Error, Operation};

use crate::failure::{Failure, RemoteFailure};
use crate::link::{ByteStream, LinkError, SshLink, SshTarget, Traffic};
use crate::log::Log;
use crate::machines::Machine;

/// The socket of a Nix daemon, unless the machine's URI says otherwise.
pub(crate) const NIX_SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
/// The command for machines whose socket cannot be reached.
const NIX_DAEMON: &str = "nix-daemon --stdio";
/// How long a daemon may be silent about anything but a build. Old daemons make whoever adds a
/// temporary root wait for a garbage collection.
const SILENCE: Duration = Duration::from_secs(600);

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// An open conversation with a machine's store daemon. One per build: hanging up is the only way
/// to cancel a build.
pub struct Remote {
    pub(crate) client: Client<Reader, Writer>,
    link: SshLink,
    traffic: Traffic,
    way: String,
    uri: String,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("uri", &self.uri)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects to `machine` and shakes hands with its store daemon.
    ///
    /// # Errors
    /// When the machine cannot be reached, or has no store daemon.
    pub async fn connect(
        machine: &Machine,
        target: &SshTarget,
        store_dir: StoreDir,
        log: &mut Log,
    ) -> Result<Self, Failure> {
        let link = SshLink::connect(target).await?;
        let stream = open_daemon(&link, machine).await?;
        let ByteStream {
            reader,
            writer,
            traffic,
            way,
        } = stream;
        let mut remote = Remote {
            client: Client::new(reader, writer, Options::nix(store_dir)),
            link,
            traffic,
            way,
            uri: machine.uri.to_string(),
        };
        let mut forward = |message| log.forward(message);
        let greeted = tokio::time::timeout(SILENCE, remote.client.handshake(&mut forward)).await;
        match greeted {
            Ok(Ok(())) => Ok(remote),
            Ok(Err(error)) => Err(RemoteFailure::from(error).during("greet the store daemon")),
            Err(_) => Err(RemoteFailure::Silent(SILENCE).during("greet the store daemon")),
        }
    }

    /// The machine's store URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// How the daemon is reached: `socket /nix/..` or `command "nix-daemon --stdio"`.
    #[must_use]
    pub fn way(&self) -> &str {
        &self.way
    }

    /// Bytes that have passed, before encryption.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What the daemon says of itself, for messages: `nix 2.8.0, protocol 1.34`.
    #[must_use]
    pub fn description(&self) -> String {
        let version = self.client.version().map(|version| version.to_string());
        let program = self.client.daemon_version();
        [program, version.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", protocol ")
    }

    /// Protects `inputs` on the machine from its garbage collector for the length of the
    /// conversation, and asks which of them it lacks. One round trip.
    ///
    /// # Errors
    /// When the daemon fails or is silent.
    pub async fn missing(
        &mut self,
        inputs: &BTreeSet<StorePath>,
        use_substitutes: bool,
        log: &mut Log,
    ) -> Result<BTreeSet<StorePath>, Failure> {
        let action = "ask which inputs are missing";
        let mut roots = Vec::with_capacity(inputs.len());
        for path in inputs {
            let root = AddTempRoot { path: path.clone() };
            roots.push(self.queue(&root).await.map_err(|e| e.during(action))?);
        }
        let query = QueryValidPaths {
            paths: inputs.clone(),
            substitute: use_substitutes,
        };
        let query = self.queue(&query).await.map_err(|e| e.during(action))?;
        for root in roots {
            self.reply(root, log).await.map_err(|e| e.during(action))?;
        }
        let valid = self.reply(query, log).await.map_err(|e| e.during(action))?;
        Ok(inputs.difference(&valid).cloned().collect())
    }

    pub(crate) async fn queue<O: Operation>(
        &mut self,
        operation: &O,
    ) -> Result<Ticket<O>, RemoteFailure> {
        match tokio::time::timeout(SILENCE, self.client.queue(operation)).await {
            Ok(queued) => Ok(queued?),
            Err(_) => Err(RemoteFailure::Silent(SILENCE)),
        }
    }

    /// Waits for a reply that comes without a build.
    pub(crate) async fn reply<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
        log: &mut Log,
    ) -> Result<O::Reply, RemoteFailure> {
        let heard = Cell::new(Instant::now());
        let mut forward = |message| {
            heard.set(Instant::now());
            log.forward(message);
        };
        let reply = self.client.reply(ticket, &mut forward);
        unless_silent(SILENCE, &heard, reply).await
    }

    /// Ends the conversation and the connection.
    pub async fn close(self) {
        drop(self.client);
        self.link.close().await;
    }
}

/// Waits for `future` until nothing was heard for `bound`.
pub(crate) async fn unless_silent<T>(
    bound: Duration,
    heard: &Cell<Instant>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, RemoteFailure> {
    tokio::pin!(future);
    loop {
        let deadline = heard.get() + bound;
        // The clock first: whoever never stops talking keeps the future busy for ever.
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => {
                if heard.get() + bound <= deadline {
                    return Err(RemoteFailure::Silent(bound));
                }
            }
            result = &mut future => return Ok(result?),
        }
    }
}

/// The socket first, because nothing has to be started for it; a command where a key's
/// restrictions or an old sshd forbid that, or where the machine's URI names one.
async fn open_daemon(link: &SshLink, machine: &Machine) -> Result<ByteStream, Failure> {
    if let Some(program) = machine.uri.parameter("remote-program") {
        return Ok(link.exec(&format!("{program} --stdio")).await?);
    }
    let socket = match link.open_socket(NIX_SOCKET).await {
        Err(refused @ LinkError::Channel { .. }) => refused,
        opened => return Ok(opened?),
    };
    match link.exec(NIX_DAEMON).await {
        Err(refused @ LinkError::Channel { .. }) => {
            Err(Failure::NoDaemon(format!("{socket}; {refused}")))
        }
        opened => Ok(opened?),
    }
}
