//! Writes down what is said, so that it can be said again without a daemon.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use store_path::StoreDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use worker_protocol::client::{Client, Options};
use worker_protocol::{Version, serve};

use crate::conversation::Conversation;
use crate::daemon::{Daemon, GuixDaemon};
use crate::serve_conversation::ServeConversation;

/// A stream that keeps a copy of what passes through it.
struct Copying<S> {
    stream: S,
    copy: Arc<Mutex<Vec<u8>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Copying<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(task, buffer))?;
        self.copy
            .lock()
            .expect("nothing panics")
            .extend(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Copying<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(task, bytes))?;
        self.copy
            .lock()
            .expect("nothing panics")
            .extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// Streams that are copied, and what was read and written through them.
struct Copied<R, W> {
    reader: Copying<R>,
    writer: Copying<W>,
    copies: [Arc<Mutex<Vec<u8>>>; 2],
}

impl<R, W> Copied<R, W> {
    fn new(reader: R, writer: W) -> Copied<R, W> {
        let copies = [Arc::<Mutex<Vec<u8>>>::default(), Arc::default()];
        let copying = |index: usize| copies[index].clone();
        let (read, written) = (copying(0), copying(1));
        Copied {
            reader: Copying {
                stream: reader,
                copy: read,
            },
            writer: Copying {
                stream: writer,
                copy: written,
            },
            copies,
        }
    }
}

/// Writes a recording: what one side said, what the other one said, and where the store is.
fn keep(name: &str, ends: [&str; 2], copies: &[Arc<Mutex<Vec<u8>>>; 2], store_dir: &StoreDir) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let write = |end: &str, bytes: &[u8]| {
        let file = directory.join(format!("{name}.{end}"));
        std::fs::write(file, bytes).expect("it can be written");
    };
    for (end, bytes) in ends.iter().zip(copies) {
        write(end, &bytes.lock().expect("nothing panics"));
    }
    write("store", store_dir.as_str().as_bytes());
}

async fn record<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    client: Client<R, W>,
    options: Options,
    name: &str,
) {
    let (reader, writer, _) = client.into_parts();
    let copied = Copied::new(reader, writer);
    let store_dir = options.store_dir.clone();
    let client = Client::new(copied.reader, copied.writer, options);
    let mut conversation = Conversation::new(client);
    conversation
        .run()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}\n{:#?}", conversation.heard));
    let version = conversation
        .client
        .daemon_version()
        .unwrap_or("unknown")
        .to_owned();
    eprintln!("recorded {name}, which says it is {version}");
    keep(name, ["daemon", "client"], &copied.copies, &store_dir);
}

async fn record_serving(daemon: &Daemon) {
    let name = format!("serve/nix-{}", daemon.version().await);
    let mut program = daemon.command("nix-store");
    program
        .args(["--serve", "--write"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut process = program.spawn().expect("nix-store starts");
    let writer = process.stdin.take().expect("it is piped");
    let reader = process.stdout.take().expect("it is piped");
    let copied = Copied::new(reader, writer);
    let store_dir = daemon.store_dir.clone();
    let client = serve::Client::new(copied.reader, copied.writer, store_dir.clone(), None);
    let mut conversation = ServeConversation::new(client);
    conversation
        .run()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}\n{:#?}", conversation.heard));
    eprintln!("recorded {name}");
    keep(&name, ["server", "client"], &copied.copies, &store_dir);
}

#[tokio::test]
async fn recordings_are_made_when_asked_for() {
    if std::env::var_os("WORKER_PROTOCOL_RECORD").is_none() {
        eprintln!("LEFT OUT: recordings are made anew only with WORKER_PROTOCOL_RECORD set");
        return;
    }
    for daemon in Daemon::all() {
        let options = Options {
            version: Version::NIX_NEWEST,
            ..Options::nix(daemon.store_dir.clone())
        };
        let (client, _process) = daemon.connect(options.clone());
        record(client, options, &format!("nix-{}", daemon.version().await)).await;
        record_serving(&daemon).await;
    }
    for daemon in GuixDaemon::all().await {
        let options = Options::guix(StoreDir::GUIX);
        let client = daemon.connect(options.clone()).await;
        record(client, options, &format!("guix-{}", daemon.version().await)).await;
    }
}
