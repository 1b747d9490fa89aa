//! An SSH connection to a machine, by russh.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Preferred, cipher, compression};
use tokio::sync::mpsc::{self, Sender};

use super::authenticate::authenticate;
use super::channel::{Ending, EndsWith, MAX_UNHEARD, stream};
use super::host_key::Record;
use super::keys::KeyFiles;
use super::ssh_config::program;
use super::transport::{CommandStream, Complaint, Tether, Tethered, Transport, connect_tcp};
use super::{ByteStream, HostKeyError, LinkError, Route, SshTarget, Step, Timeouts};

/// The least and the most that a host may send on a channel before it hears of our having read it.
/// Our memory is bounded by the channel's buffer of 100 packets, not by this; but sshd 9.2 reads up
/// to 16 MiB of it ahead into a buffer that it moves about: 1 GiB over a link without delay took 8.7 s
/// with a window of 64 MiB, 7.0 s with 16, 4.4 s with 2 or 4. Over 50 ms, 2 MiB carry 19 MiB/s and
/// 64 MiB 459. What seems near may still be far where a proxy accepts for the host, and nobody knows before the
/// first channel is open.
const WINDOW: RangeInclusive<u32> = 4 << 20..=64 << 20;
/// What a link is assumed to carry, in bytes/s: a window has room for what it carries in a round trip.
const BANDWIDTH: f64 = 1.25e9;
/// How long a host is given to read our goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Host keys that are believed, in order of preference: OpenSSH's, SHA-1 not among them.
const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// An authenticated connection to a machine. Dropping it cuts the connection; [`SshLink::close`]
/// says goodbye first.
pub struct SshLink {
    handle: Handle<Judge>,
    timeouts: Timeouts,
    ending: Ending,
    /// The host key that was believed.
    shown: Arc<OnceLock<Shown>>,
    /// How long the host took to open the first channel.
    round_trip: OnceLock<Duration>,
    /// Dropped with the link, it ends the connection.
    _tether: Tether,
    /// The link to the jump host that carries this one.
    through: Option<Box<SshLink>>,
}

impl std::fmt::Debug for SshLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshLink")
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}

impl SshLink {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When any step fails or outlasts its bound.
    pub async fn connect(target: &SshTarget) -> Result<Self, LinkError> {
        let keys = KeyFiles::read(&target.credentials)?;
        let record = target.host_keys.record(&target.host, target.port)?;
        let timeouts = target.timeouts;
        let reached = reach(target).await?;
        let config = Arc::new(config(
            &record,
            target,
            window(reached.round_trip, target.round_trip),
        ));
        let ending = Ending::default();
        let shown = Arc::default();
        let judge = Judge {
            record,
            shown: Arc::clone(&shown),
            timeouts,
            ending: ending.clone(),
        };
        let (transport, tether) = Tethered::new(reached.transport);
        let exchange = client::connect_stream(config, transport, judge);
        let exchanged = within(timeouts.key_exchange, Step::KeyExchange, exchange).await;
        let mut handle = match exchanged.and_then(|exchanged| Ok(exchanged?)) {
            Ok(handle) => handle,
            Err(error) => {
                drop(tether);
                return Err(because(error, target, reached.complaint).await);
            }
        };
        let trying = authenticate(&mut handle, &target.user, &target.credentials, keys);
        within(timeouts.authentication, Step::Authentication, trying).await??;
        Ok(SshLink {
            handle,
            timeouts,
            ending,
            shown,
            round_trip: OnceLock::new(),
            _tether: tether,
            through: reached.through,
        })
    }

    /// Opens a stream to a Unix socket on the machine (`direct-streamlocal@openssh.com`). Nothing
    /// is started there: 7 ms where an exec of `nix-daemon --stdio` takes 29-63.
    ///
    /// # Errors
    /// When the host refuses, as it does for keys with `restrict` and where nothing listens.
    pub async fn open_socket(&self, path: &str) -> Result<ByteStream, LinkError> {
        let way = format!("socket {path}");
        let opening = self.handle.channel_open_direct_streamlocal(path);
        let channel = self.opened(self.timeouts.channel, Step::Channel, &way, opening);
        let channel = channel.await?;
        let ending = self.ending.clone();
        Ok(stream(channel, EndsWith::Eof, way, None, ending))
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
        let (sender, receiver) = mpsc::channel(MAX_UNHEARD);
        let stream = self.start(command, Some(sender)).await?;
        Ok(ByteStream {
            said: Some(receiver),
            ..stream
        })
    }

    async fn start(
        &self,
        command: &str,
        listener: Option<Sender<Bytes>>,
    ) -> Result<ByteStream, LinkError> {
        let way = format!("command {command:?}");
        let opening = self.handle.channel_open_session();
        let channel = self.opened(self.timeouts.channel, Step::Channel, &way, opening);
        let channel = channel.await?;
        channel.exec(false, command).await.map_err(LinkError::ssh)?;
        let ending = self.ending.clone();
        Ok(stream(channel, EndsWith::Close, way, listener, ending))
    }

    /// Has the host connect to another one. The next link's `bound` for its connection holds.
    async fn onward(&self, next: &SshTarget) -> Result<Channel<client::Msg>, LinkError> {
        let way = format!("connection to {} port {}", next.host, next.port);
        // Where the connection comes from is a formality.
        let opening = self.handle.channel_open_direct_tcpip(
            next.host.as_str(),
            u32::from(next.port),
            "127.0.0.1",
            0,
        );
        let bound = next.timeouts.connect;
        self.opened(bound, Step::Connect, &way, opening).await
    }

    async fn opened(
        &self,
        bound: Duration,
        step: Step,
        way: &str,
        opening: impl Future<Output = Result<Channel<client::Msg>, russh::Error>>,
    ) -> Result<Channel<client::Msg>, LinkError> {
        let begin = Instant::now();
        match within(bound, step, opening).await? {
            Ok(channel) => {
                self.round_trip.get_or_init(|| begin.elapsed());
                Ok(channel)
            }
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(LinkError::Channel {
                way: way.to_owned(),
                reason: format!("{reason:?}"),
            }),
            Err(other) => Err(LinkError::ssh(other)),
        }
    }

    /// Whether the keys of the host, and of those that this link goes through, would still be believed: they may
    /// have been revoked or replaced since.
    ///
    /// # Errors
    /// Why not.
    pub fn check_host_keys(&self, target: &SshTarget) -> Result<(), HostKeyError> {
        if let (Some(through), Route::Jump(jump)) = (&self.through, &target.route) {
            through.check_host_keys(jump)?;
        }
        let record = target.host_keys.record(&target.host, target.port)?;
        match self.shown.get() {
            Some(shown) => shown.judge(&record),
            None => Ok(()),
        }
    }

    /// How long the host took to open the first channel, if it has.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.get().copied()
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Ends the connection, and those that carry it.
    pub async fn close(self) {
        let mut link = Some(Box::new(self));
        while let Some(mut ended) = link {
            let goodbye = async {
                let by_us = russh::Disconnect::ByApplication;
                ended.handle.disconnect(by_us, "", "").await?;
                (&mut ended.handle).await
            };
            // The connection ends either way.
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
            link = ended.through.take();
        }
    }
}

/// What a link is made over.
struct Reached {
    transport: Box<dyn Transport>,
    /// How long the host took to answer, if that is known.
    round_trip: Option<Duration>,
    through: Option<Box<SshLink>>,
    complaint: Option<Complaint>,
}

async fn reach(target: &SshTarget) -> Result<Reached, LinkError> {
    let timeouts = &target.timeouts;
    match &target.route {
        Route::Direct => {
            let (host, port) = (target.host.as_str(), target.port);
            let connecting = connect_tcp(host, port, &target.addresses, timeouts.silence());
            let connected = within(timeouts.connect, Step::Connect, connecting).await?;
            let (stream, round_trip) = connected?;
            Ok(Reached {
                transport: Box::new(stream),
                round_trip: Some(round_trip),
                through: None,
                complaint: None,
            })
        }
        Route::Jump(jump) => {
            let in_trouble = |error| LinkError::Jump {
                host: jump.host.clone(),
                error: Box::new(error),
            };
            let link = Box::pin(SshLink::connect(jump)).await.map_err(in_trouble)?;
            let begin = Instant::now();
            let channel = link.onward(target).await.map_err(in_trouble)?;
            Ok(Reached {
                transport: Box::new(channel.into_stream()),
                round_trip: Some(begin.elapsed()),
                through: Some(Box::new(link)),
                complaint: None,
            })
        }
        Route::Command(command) => {
            let started = CommandStream::start(command);
            let (stream, complaint) = started.map_err(|error| LinkError::Command {
                command: program(command),
                reason: error.to_string(),
            })?;
            Ok(Reached {
                transport: Box::new(stream),
                round_trip: None,
                through: None,
                complaint: Some(complaint),
            })
        }
    }
}

/// What a proxy command has said is the better reason for a key exchange that has not begun.
async fn because(error: LinkError, target: &SshTarget, complaint: Option<Complaint>) -> LinkError {
    let (Route::Command(command), Some(complaint)) = (&target.route, complaint) else {
        return error;
    };
    if matches!(error, LinkError::HostKey(_)) {
        return error;
    }
    let said = complaint.text().await;
    let reason = match (said.is_empty(), &error) {
        (true, _) => error.to_string(),
        // How its end was noticed tells nothing more.
        (false, LinkError::Ssh(_)) => said,
        (false, _) => format!("{said} ({error})"),
    };
    LinkError::Command {
        command: program(command),
        reason,
    }
}

/// Waits for `future` no longer than `limit`.
async fn within<T>(
    limit: Duration,
    step: Step,
    future: impl Future<Output = T>,
) -> Result<T, LinkError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| LinkError::TimedOut { step, limit })
}

/// The window for a host that answered after `now`, or after `last` when it was reached before: the largest where
/// nobody knows.
fn window(now: Option<Duration>, last: Option<Duration>) -> u32 {
    let (least, most) = WINDOW.into_inner();
    match now.max(last) {
        // The conversion saturates.
        Some(round_trip) => ((round_trip.as_secs_f64() * BANDWIDTH) as u32).clamp(least, most),
        None => most,
    }
}

fn config(record: &Record, target: &SshTarget, window_size: u32) -> client::Config {
    let timeouts = &target.timeouts;
    client::Config {
        window_size,
        nodelay: true,
        keepalive_interval: Some(timeouts.keep_alive),
        keepalive_max: timeouts.keep_alive_misses as usize,
        preferred: Preferred {
            key: Cow::Owned(record.prefer(&HOST_KEYS)),
            host_key_certificates: match record.has_authority() {
                true => Cow::Owned(HOST_KEYS.to_vec()),
                false => Cow::Borrowed(&[]),
            },
            // AES in hardware is 1.5 times as fast as chacha20 for sshd, which is the bottleneck.
            cipher: Cow::Borrowed(&[
                cipher::AES_128_GCM,
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_128_CTR,
            ]),
            compression: match target.compression {
                true => Cow::Borrowed(&[compression::ZLIB_LEGACY, compression::NONE]),
                false => Cow::Borrowed(&[compression::NONE]),
            },
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// What a host shows of itself.
enum Shown {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl From<&PublicKeyOrCertificate> for Shown {
    fn from(shown: &PublicKeyOrCertificate) -> Self {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => Shown::Key(key.clone()),
            PublicKeyOrCertificate::Certificate(certificate) => {
                Shown::Certificate(Box::new((*certificate).clone()))
            }
        }
    }
}

impl Shown {
    /// Whether it is to be believed by now.
    fn judge(&self, record: &Record) -> Result<(), HostKeyError> {
        match self {
            Shown::Key(key) => record.check(key),
            Shown::Certificate(certificate) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = since.map_or(0, |since| since.as_secs());
                record.check_certificate(certificate, now)
            }
        }
    }
}

/// Judges the host key while keys are exchanged, and hears why the connection ends.
struct Judge {
    record: Record,
    shown: Arc<OnceLock<Shown>>,
    timeouts: Timeouts,
    ending: Ending,
}

/// Why a connection ends, in the words of russh or in ours.
#[derive(Debug)]
enum Broken {
    HostKey(HostKeyError),
    Ssh(russh::Error),
}

impl From<HostKeyError> for Broken {
    fn from(error: HostKeyError) -> Self {
        Broken::HostKey(error)
    }
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Broken::Ssh(error)
    }
}

impl From<Broken> for LinkError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::HostKey(error) => error.into(),
            Broken::Ssh(error) => LinkError::ssh(error),
        }
    }
}

impl client::Handler for Judge {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        let shown = Shown::from(shown);
        shown.judge(&self.record)?;
        self.shown.get_or_init(|| shown);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        let Timeouts {
            keep_alive,
            keep_alive_misses,
            ..
        } = self.timeouts;
        self.ending.set(match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                format!("the host has hung up: {}", said.message)
            }
            DisconnectReason::Error(Broken::Ssh(russh::Error::KeepaliveTimeout)) => format!(
                "the host is silent: no answer to {keep_alive_misses} keepalives in {} s each (bounds keep-alive and keep-alive-misses, or ServerAliveInterval and ServerAliveCountMax)",
                keep_alive.as_secs_f32()
            ),
            DisconnectReason::Error(error) => {
                format!("the connection broke: {}", LinkError::from(error))
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farther_the_host_the_larger_the_window() {
        let far = |millis| Some(Duration::from_millis(millis));
        let after = |millis| window(far(millis), None);
        assert_eq!(after(0), 4 << 20);
        assert_eq!(after(10), 12_500_000);
        assert_eq!(after(50), 62_500_000);
        assert_eq!(after(86_400_000), 64 << 20);
        assert_eq!(window(far(0), far(10)), 12_500_000);
        assert_eq!(window(far(10), far(0)), 12_500_000);
        assert_eq!(window(None, None), 64 << 20);
    }
}
