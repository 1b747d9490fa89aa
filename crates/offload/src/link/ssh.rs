//! An SSH connection to a machine, by russh. No type of russh's leaves this file's room.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelReadHalf, Preferred, cipher};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::host_key::Record;
use super::prompt_ack::PromptAck;
use super::{ByteStream, HostKeyError, HostKeys};

/// Receive window per channel. At 50 ms round-trip time 2 MiB (russh's default) carries 19 MiB/s
/// and 64 MiB 459 MiB/s; memory is bounded by the channel's buffer of 100 packets, not by this.
const WINDOW: u32 = 64 << 20;
/// How much of a remote program's standard error is kept for messages, in bytes.
const MAX_STDERR: usize = 4096;

/// Bounds for everything that is waited for while a link is set up and used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name look-up and TCP connection.
    pub connect: Duration,
    /// SSH version exchange and key exchange.
    pub key_exchange: Duration,
    /// Authentication, all keys together.
    pub authentication: Duration,
    /// Opening a channel.
    pub channel: Duration,
    /// Silence on the link after which it is probed; three probes without answer end it.
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            key_exchange: Duration::from_secs(20),
            authentication: Duration::from_secs(20),
            channel: Duration::from_secs(20),
            keep_alive: Duration::from_secs(20),
        }
    }
}

/// The private keys to authenticate with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// This key file, nothing else.
    KeyFile(PathBuf),
    /// Those of these files that exist, in this order.
    AnyOf(Vec<PathBuf>),
}

/// Everything needed to connect to a machine.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Remote user.
    pub user: String,
    /// Keys to authenticate with.
    pub credentials: Credentials,
    /// Keys that the host may show.
    pub host_keys: HostKeys,
    /// Bounds for every wait.
    pub timeouts: Timeouts,
}

/// Why a machine cannot be reached. Complete with "failed to reach MACHINE: ".
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The private key file cannot be read.
    #[error("failed to read the private key {}: {reason}", file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The private key is protected by a passphrase, which nobody is there to type.
    #[error("private key is protected by a passphrase, and a build hook cannot ask for it: {}", .0.display())]
    Passphrase(PathBuf),
    /// None of the default key files exists.
    #[error("no private key is given, and none of the default ones exists: {0}")]
    NoKey(String),
    /// The host key is refused.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No TCP connection.
    #[error("failed to connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// A step took longer than its bound.
    #[error("no answer within {} s to {step}", bound.as_secs_f32())]
    TimedOut {
        /// What was waited for.
        step: &'static str,
        /// How long.
        bound: Duration,
    },
    /// The host refuses every key.
    #[error("user {user} is refused with {keys}")]
    Refused {
        /// The remote user.
        user: String,
        /// The key files that were tried.
        keys: String,
    },
    /// A channel could not be opened.
    #[error("{way} is refused: {reason}")]
    Channel {
        /// What the channel should have reached.
        way: String,
        /// What the host said.
        reason: String,
    },
    /// Anything else in the SSH protocol.
    #[error("ssh: {0}")]
    Ssh(#[from] russh::Error),
}

/// An authenticated connection to a machine. Dropping it cuts the connection; [`SshLink::close`]
/// says goodbye first.
pub struct SshLink {
    handle: Handle<Judge>,
    timeouts: Timeouts,
}

impl std::fmt::Debug for SshLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshLink").finish_non_exhaustive()
    }
}

impl SshLink {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When any step fails or outlasts its bound.
    pub async fn connect(target: &SshTarget) -> Result<Self, LinkError> {
        let keys = load_keys(&target.credentials)?;
        let record = target.host_keys.record(&target.host, target.port)?;
        let timeouts = target.timeouts;
        let tcp = within(timeouts.connect, "the TCP connection", connect_tcp(target)).await??;
        let config = Arc::new(config(&record, timeouts));
        let judge = Judge { record };
        let mut handle = within(
            timeouts.key_exchange,
            "the SSH key exchange",
            client::connect_stream(config, tcp, judge),
        )
        .await??;
        within(
            timeouts.authentication,
            "SSH authentication",
            authenticate(&mut handle, &target.user, keys),
        )
        .await??;
        Ok(SshLink { handle, timeouts })
    }

    /// Opens a stream to a Unix socket on the machine (`direct-streamlocal@openssh.com`). Nothing
    /// is started there: 7 ms where an exec of `nix-daemon --stdio` takes 29-63.
    ///
    /// # Errors
    /// When the host refuses, as it does for keys with `restrict` and where nothing listens.
    pub async fn open_socket(&self, path: &str) -> Result<ByteStream, LinkError> {
        let way = format!("socket {path}");
        let opening = self.handle.channel_open_direct_streamlocal(path);
        let channel = self.opened(&way, opening).await?;
        Ok(stream(channel, EndsWith::Eof, way, None))
    }

    /// Runs a command on the machine and opens a stream to its standard input and output. What it
    /// writes to standard error is what the read error says when its output ends.
    ///
    /// # Errors
    /// When the host refuses. A command that does not exist is seen by its end only.
    pub async fn exec(&self, command: &str) -> Result<ByteStream, LinkError> {
        self.start(command, None).await
    }

    /// As [`SshLink::exec`], and hands out standard error as it comes, too.
    ///
    /// # Errors
    /// As [`SshLink::exec`].
    pub async fn exec_and_listen(&self, command: &str) -> Result<ByteStream, LinkError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let stream = self.start(command, Some(sender)).await?;
        Ok(ByteStream {
            said: Some(receiver),
            ..stream
        })
    }

    async fn start(
        &self,
        command: &str,
        listener: Option<UnboundedSender<Bytes>>,
    ) -> Result<ByteStream, LinkError> {
        let way = format!("command {command:?}");
        let channel = self
            .opened(&way, self.handle.channel_open_session())
            .await?;
        channel.exec(false, command).await?;
        Ok(stream(channel, EndsWith::Close, way, listener))
    }

    async fn opened(
        &self,
        way: &str,
        opening: impl Future<Output = Result<Channel<client::Msg>, russh::Error>>,
    ) -> Result<Channel<client::Msg>, LinkError> {
        match within(self.timeouts.channel, "opening a channel", opening).await? {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(LinkError::Channel {
                way: way.to_owned(),
                reason: format!("{reason:?}"),
            }),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends the connection.
    pub async fn close(self) {
        let goodbye = self
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "");
        // The connection ends either way.
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

/// Waits for `future` no longer than `bound`.
async fn within<T>(
    bound: Duration,
    step: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, LinkError> {
    tokio::time::timeout(bound, future)
        .await
        .map_err(|_| LinkError::TimedOut { step, bound })
}

async fn connect_tcp(target: &SshTarget) -> Result<PromptAck, LinkError> {
    let address = (target.host.as_str(), target.port);
    let connected = TcpStream::connect(address).await.and_then(PromptAck::new);
    connected.map_err(|error| LinkError::Connect {
        address: format!("{} port {}", target.host, target.port),
        reason: error.to_string(),
    })
}

fn config(record: &Record, timeouts: Timeouts) -> client::Config {
    let defaults = Preferred::DEFAULT;
    client::Config {
        window_size: WINDOW,
        nodelay: true,
        keepalive_interval: Some(timeouts.keep_alive),
        keepalive_max: 3,
        preferred: Preferred {
            key: Cow::Owned(record.prefer(&defaults.key)),
            // AES in hardware is 1.5 times as fast as chacha20 for sshd, which is the bottleneck.
            cipher: Cow::Borrowed(&[
                cipher::AES_128_GCM,
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_128_CTR,
            ]),
            ..defaults
        },
        ..client::Config::default()
    }
}

/// Judges the host key while keys are exchanged.
struct Judge {
    record: Record,
}

impl client::Handler for Judge {
    type Error = LinkError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, LinkError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.record.check(key)?;
                Ok(true)
            }
            // Never asked for: the configuration lists no certificate algorithms.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

/// A private key and the file that it came from.
struct NamedKey {
    file: PathBuf,
    key: Arc<PrivateKey>,
}

fn load_keys(credentials: &Credentials) -> Result<Vec<NamedKey>, LinkError> {
    match credentials {
        Credentials::KeyFile(file) => Ok(vec![load_key(file)?]),
        Credentials::AnyOf(files) => {
            let keys = files
                .iter()
                .filter(|file| file.exists())
                .map(|file| load_key(file))
                .collect::<Result<Vec<_>, _>>()?;
            if keys.is_empty() {
                return Err(LinkError::NoKey(list(files.iter().map(PathBuf::as_path))));
            }
            Ok(keys)
        }
    }
}

fn load_key(file: &Path) -> Result<NamedKey, LinkError> {
    match russh::keys::load_secret_key(file, None) {
        Ok(key) => Ok(NamedKey {
            file: file.to_owned(),
            key: Arc::new(key),
        }),
        Err(russh::keys::Error::KeyIsEncrypted) => Err(LinkError::Passphrase(file.to_owned())),
        Err(error) => Err(LinkError::KeyFile {
            file: file.to_owned(),
            reason: error.to_string(),
        }),
    }
}

async fn authenticate(
    handle: &mut Handle<Judge>,
    user: &str,
    keys: Vec<NamedKey>,
) -> Result<(), LinkError> {
    for NamedKey { key, .. } in &keys {
        let hash = if key.algorithm().is_rsa() {
            // Hosts that do not say what they support are asked with SHA-512: OpenSSH has it since
            // 7.2, and has refused SHA-1 since 8.8.
            let said = handle.best_supported_rsa_hash().await?;
            said.unwrap_or(Some(HashAlg::Sha512))
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
        if let AuthResult::Success = handle.authenticate_publickey(user, key).await? {
            return Ok(());
        }
    }
    Err(LinkError::Refused {
        user: user.to_owned(),
        keys: list(keys.iter().map(|named| named.file.as_path())),
    })
}

fn list<'a>(files: impl Iterator<Item = &'a Path>) -> String {
    files
        .map(|file| file.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Which message is the last of a channel that matters to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndsWith {
    /// A socket's channel stays half open after its peer has closed, until we close too.
    Eof,
    /// A command's standard error may follow the end of its standard output.
    Close,
}

fn stream(
    channel: Channel<client::Msg>,
    ends_with: EndsWith,
    way: String,
    listener: Option<UnboundedSender<Bytes>>,
) -> ByteStream {
    let (read_half, write_half) = channel.split();
    let reader = ChannelReader {
        half: read_half,
        rest: Bytes::new(),
        complaint: Vec::new(),
        listener,
        ends_with,
    };
    ByteStream::new(reader, write_half.make_writer(), way)
}

/// The data of a channel as a byte stream. What a command writes to standard error becomes the
/// read error when its output ends.
struct ChannelReader {
    half: ChannelReadHalf,
    rest: Bytes,
    complaint: Vec<u8>,
    listener: Option<UnboundedSender<Bytes>>,
    ends_with: EndsWith,
}

impl ChannelReader {
    fn end(&mut self) -> io::Result<()> {
        let complaint = std::mem::take(&mut self.complaint);
        if complaint.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&complaint);
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            text.trim_end().replace('\n', "; "),
        ))
    }

    /// Keeps the end of it: that is where the reason for an end stands.
    fn complain(&mut self, data: Bytes) {
        self.complaint.extend_from_slice(&data);
        let excess = self.complaint.len().saturating_sub(MAX_STDERR);
        self.complaint.drain(..excess);
        if let Some(listener) = &self.listener {
            // Whoever does not listen any more does not want it.
            let _ = listener.send(data);
        }
    }
}

impl AsyncRead for ChannelReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            // A fresh future per poll: receiving from the queue behind it is safe to drop.
            let message = ready!(pin!(self.half.wait()).poll(context));
            match message {
                Some(ChannelMsg::Data { data }) => self.rest = data,
                Some(ChannelMsg::ExtendedData { data, .. }) => self.complain(data),
                Some(ChannelMsg::Eof) if self.ends_with == EndsWith::Eof => {
                    return Poll::Ready(self.end());
                }
                Some(ChannelMsg::Close) | None => return Poll::Ready(self.end()),
                Some(_) => {}
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}
