//! Writes down what is said, so that it can be said again without a daemon.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use store_path::StoreDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use worker_protocol::Version;
use worker_protocol::client::{Client, Options};

use crate::conversation::Conversation;
use crate::daemon::{Daemon, GuixDaemon};

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

async fn record<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    client: Client<R, W>,
    options: Options,
    name: &str,
) {
    let copies = [Arc::<Mutex<Vec<u8>>>::default(), Arc::default()];
    let (reader, writer, _) = client.into_parts();
    let reader = Copying {
        stream: reader,
        copy: copies[0].clone(),
    };
    let writer = Copying {
        stream: writer,
        copy: copies[1].clone(),
    };
    let store_dir = options.store_dir.clone();
    let mut conversation = Conversation::new(Client::new(reader, writer, options));
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
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    for (end, bytes) in ["daemon", "client"].iter().zip(&copies) {
        let bytes = bytes.lock().expect("nothing panics");
        std::fs::write(directory.join(format!("{name}.{end}")), &bytes[..])
            .expect("it can be written");
    }
    std::fs::write(directory.join(format!("{name}.store")), store_dir.as_str())
        .expect("it can be written");
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
    }
    for daemon in GuixDaemon::all().await {
        let options = Options::guix(StoreDir::GUIX);
        let client = daemon.connect(options.clone()).await;
        record(client, options, &format!("guix-{}", daemon.version().await)).await;
    }
}
