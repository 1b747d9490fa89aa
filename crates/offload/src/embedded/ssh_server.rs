//! The machine: an SSH server on loopback that leads to its store daemon and nowhere else.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelOpenFailure};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{DirectoryStore, GuixExport, Misbehaviour, daemon, guix};
use crate::remote::{GUIX_SOCKET, NIX_SOCKET};

/// Why the machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Files or sockets.
    #[error("failed to start the embedded machine: {0}")]
    Io(#[from] io::Error),
    /// Making its keys.
    #[error("failed to make a key for the embedded machine: {0}")]
    Key(#[from] russh::keys::ssh_key::Error),
}

/// A running machine. Ends when dropped.
#[derive(Debug)]
pub struct Machine {
    store: Arc<DirectoryStore>,
    port: u16,
    host_key: PublicKey,
    client_key: PathBuf,
    hurried: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Machine {
    /// Starts a machine with its store at `folder/store`. It lets in the key at
    /// `folder/client-key`, which is made if there is none. Two machines may share a folder.
    ///
    /// # Errors
    /// When the files or the socket cannot be made.
    pub async fn start(
        folder: &Path,
        misbehaviour: Option<Misbehaviour>,
    ) -> Result<Self, MachineError> {
        Self::open(folder, Daemon::Nix(misbehaviour)).await
    }

    /// Starts a machine with a scripted guix-daemon, whose paths are named as if they stood at `folder/store`. `seed`
    /// is that of the key that it signs with.
    ///
    /// # Errors
    /// As [`Machine::start`].
    pub async fn start_guix(
        folder: &Path,
        seed: [u8; 32],
        export: GuixExport,
    ) -> Result<Self, MachineError> {
        Self::open(folder, Daemon::Guix { seed, export }).await
    }

    async fn open(folder: &Path, daemon: Daemon) -> Result<Self, MachineError> {
        std::fs::create_dir_all(folder)?;
        let store = Arc::new(DirectoryStore::create(&folder.join("store"))?);
        let host_key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?;
        let client_key = folder.join("client-key");
        let key = match client_key.exists() {
            true => PrivateKey::read_openssh_file(&client_key)?,
            false => PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?,
        };
        key.write_openssh_file(&client_key, LineEnding::LF)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let hurried = Arc::default();
        let door = Door {
            lets_in: key.public_key().clone(),
            store: store.clone(),
            daemon,
            hurried: Arc::clone(&hurried),
        };
        let public = host_key.public_key().clone();
        let config = Arc::new(Config {
            keys: vec![host_key],
            auth_rejection_time: std::time::Duration::from_millis(100),
            ..Config::default()
        });
        Ok(Machine {
            store,
            port,
            host_key: public,
            client_key,
            hurried,
            task: tokio::spawn(listen(listener, config, door)),
        })
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &DirectoryStore {
        &self.store
    }

    /// How often its guix-daemon was asked for more than it had waited for, where it does not bear that.
    #[must_use]
    pub fn hurried(&self) -> usize {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Its URI, `ssh-ng://builder@127.0.0.1:PORT`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("ssh-ng://builder@127.0.0.1:{}", self.port)
    }

    /// Its line for a machine list, host key and all.
    #[must_use]
    pub fn line(&self, system: &str) -> String {
        let host_key = self.host_key.to_openssh().unwrap_or_default();
        format!(
            "{} {system} {} 4 1 - - {}",
            self.uri(),
            self.client_key.display(),
            data_encoding::BASE64.encode(host_key.as_bytes()),
        )
    }
}

async fn listen(listener: TcpListener, config: Arc<Config>, door: Door) {
    // Tasks end with the set, and with it when the machine is dropped.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(admit(stream, config.clone(), door.clone()));
    }
}

async fn admit(stream: TcpStream, config: Arc<Config>, door: Door) -> Result<(), russh::Error> {
    stream.set_nodelay(true)?;
    russh::server::run_stream(config, stream, door).await?.await
}

/// Decides who gets in, and where to.
#[derive(Debug, Clone)]
struct Door {
    lets_in: PublicKey,
    store: Arc<DirectoryStore>,
    daemon: Daemon,
    hurried: Arc<AtomicUsize>,
}

/// What is behind the door.
#[derive(Debug, Clone, Copy)]
enum Daemon {
    Nix(Option<Misbehaviour>),
    Guix { seed: [u8; 32], export: GuixExport },
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        match key.public_key.key_data() == self.lets_in.key_data() {
            true => Ok(Auth::Accept),
            false => Ok(Auth::reject()),
        }
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: russh::server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_daemon = match self.daemon {
            Daemon::Nix(Some(Misbehaviour::HasNoDaemon)) => false,
            Daemon::Nix(_) => socket_path == NIX_SOCKET,
            Daemon::Guix { .. } => socket_path == GUIX_SOCKET,
        };
        if !is_daemon {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        reply.accept().await;
        let (store, daemon) = (self.store.clone(), self.daemon);
        let hurried = self.hurried.clone();
        tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(channel.into_stream());
            // A conversation that ends badly is for the client to tell.
            let _ = match daemon {
                Daemon::Nix(misbehaviour) => {
                    daemon::serve(reader, writer, store, misbehaviour).await
                }
                Daemon::Guix { seed, export } => {
                    let store_dir = store.store_dir().clone();
                    guix::serve(reader, writer, store_dir, seed, export, &hurried).await
                }
            };
        });
        Ok(())
    }
}
