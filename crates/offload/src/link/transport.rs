//! The byte stream that SSH is spoken over: TCP, a command, or a channel of another link.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::prompt_ack::PromptAck;
use super::ssh_config::AddressFamily;
use super::{AddressRules, LinkError};

/// How long an address has for itself before the next one is tried beside it, as RFC 8305 has it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;
/// How much of a command's standard error is kept for messages, in bytes.
const MAX_STDERR: u64 = 4096;
/// How long a command that has ended is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What SSH is spoken over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A transport that ends when its [`Tether`] is dropped, whatever russh's own task, which holds it,
/// is waiting for: it does not look up while keys are exchanged.
pub(super) struct Tethered {
    inner: Box<dyn Transport>,
    tether: oneshot::Receiver<()>,
}

/// See [`Tethered`].
pub(super) struct Tether {
    _held: oneshot::Sender<()>,
}

impl Tethered {
    pub(super) fn new(inner: Box<dyn Transport>) -> (Self, Tether) {
        let (held, tether) = oneshot::channel();
        (Tethered { inner, tether }, Tether { _held: held })
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(&mut self.tether).poll(context).is_ready()
    }
}

impl AsyncRead for Tethered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.is_cut(context) {
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.inner).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Tethered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_cut(context) {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Pin::new(&mut self.inner).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.is_cut(context) {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Pin::new(&mut self.inner).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Connects to the first of the host's addresses that answers, and says how long its answer took.
/// `silence`: how long data may wait for its acknowledgement before the connection is given up.
pub(super) async fn connect_tcp(
    host: &str,
    port: u16,
    rules: &AddressRules,
    silence: Duration,
) -> Result<(PromptAck, Duration), LinkError> {
    let failed = |reason: String| LinkError::Connect {
        address: format!("{host} port {port}"),
        reason,
    };
    let found = lookup_host((host, port))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let source = match &rules.bind {
        Some(source) => Some(
            source
                .parse::<IpAddr>()
                .map_err(|_| failed(format!("BindAddress is not an address: {source:?}")))?,
        ),
        None => None,
    };
    let fits = |address: &SocketAddr| {
        let family = match rules.family {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        };
        family && source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    };
    let mut attempts = JoinSet::new();
    for (index, address) in found.filter(fits).take(MAX_ADDRESSES).enumerate() {
        let start = HEAD_START * u32::try_from(index).unwrap_or(u32::MAX);
        attempts.spawn(async move {
            tokio::time::sleep(start).await;
            let begin = Instant::now();
            let stream = connect_from(source, address).await?;
            Ok((stream, begin.elapsed()))
        });
    }
    let mut reason = "the host has no such address".to_owned();
    while let Some(attempt) = attempts.join_next().await {
        match attempt.unwrap_or_else(|error| Err(io::Error::from(error))) {
            Ok((stream, round_trip)) => {
                let stream = PromptAck::new(stream, silence);
                let stream = stream.map_err(|error| failed(error.to_string()))?;
                return Ok((stream, round_trip));
            }
            Err(error) => reason = error.to_string(),
        }
    }
    Err(failed(reason))
}

async fn connect_from(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(address).await;
    };
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

/// The standard input and output of a command, which is killed when this is dropped.
#[derive(Debug)]
pub(super) struct CommandStream {
    _child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// What a command says on its standard error.
#[derive(Debug)]
pub(super) struct Complaint {
    beginning: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Complaint {
    /// All of it, as one line, once the command has ended.
    pub(super) async fn text(self) -> String {
        // It has been killed, or has ended by itself; only a child of its own could outlive it.
        let _ = tokio::time::timeout(LAST_WORDS, self.listener).await;
        let bytes = self
            .beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes)
            .trim_end()
            .replace(['\r', '\n'], "; ")
    }
}

impl CommandStream {
    /// Starts a command with the shell, as OpenSSH does.
    ///
    /// It stays in this process's group, so that whoever kills that kills the command too. It gets
    /// none of this process's own descriptors: a daemon that waits for the end of one of those
    /// would wait for the command.
    pub(super) fn start(command: &str) -> io::Result<(Self, Complaint)> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!(
                "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec {command}"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let errors = child.stderr.take().expect("it was asked for above");
        let beginning = Arc::default();
        let complaint = Complaint {
            listener: tokio::spawn(listen(errors, Arc::clone(&beginning))),
            beginning,
        };
        let ends = child.stdin.take().zip(child.stdout.take());
        let (input, output) = ends.expect("both were asked for above");
        let stream = CommandStream {
            _child: child,
            input,
            output,
        };
        Ok((stream, complaint))
    }
}

/// Keeps the beginning, and reads on so that the command is never held up.
async fn listen(errors: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut beginning = errors.take(MAX_STDERR);
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = beginning.read(&mut chunk).await {
        let mut kept = said.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..count]);
    }
    let _ = tokio::io::copy(&mut beginning.into_inner(), &mut tokio::io::sink()).await;
}

impl AsyncRead for CommandStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
