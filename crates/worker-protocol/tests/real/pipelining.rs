//! What is gained by not waiting.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use store_path::StorePath;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use worker_protocol::Version;
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{AddToStoreNar, IsValidPath, NarFromPath, SetOptions};

use crate::daemon::{Daemon, file_nar, source};

/// A stream that notes in which direction bytes go: each turn once.
struct Turns<S> {
    stream: S,
    turns: Arc<Mutex<String>>,
}

impl<S> Turns<S> {
    fn note(&self, direction: char) {
        let mut turns = self.turns.lock().expect("nothing panics");
        if !turns.ends_with(direction) {
            turns.push(direction);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(task, buffer))?;
        self.note('<');
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note('>');
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

fn path(number: u64) -> StorePath {
    StorePath::from_base_name(&format!("{number:032}-absent")).expect("a good name")
}

/// A handshake and 50 queries are one turn out and one back.
#[tokio::test]
async fn a_conversation_is_one_round_trip() {
    for daemon in Daemon::all() {
        let (mut client, _process) = daemon.connect(Options::nix(daemon.store_dir.clone()));
        client.handshake(&mut |_| {}).await.expect("a handshake");
        let version = client.version().expect("it is known").min(Version::nix(37));

        let options = Options {
            assume: Some(version),
            ..Options::nix(daemon.store_dir.clone())
        };
        let (client, _process) = daemon.connect(options.clone());
        let (reader, writer, _) = client.into_parts();
        let turns = Arc::new(Mutex::new(String::new()));
        let reader = Turns {
            stream: reader,
            turns: turns.clone(),
        };
        let writer = Turns {
            stream: writer,
            turns: turns.clone(),
        };
        let mut client = Client::new(reader, writer, options);
        let set = client.queue(&SetOptions::default()).await.expect("queued");
        let mut tickets = Vec::new();
        for number in 0..50 {
            let ask = IsValidPath { path: path(number) };
            tickets.push(client.queue(&ask).await.expect("queued"));
        }
        client
            .reply(set, &mut |_| {})
            .await
            .expect("options are set");
        for ticket in tickets {
            assert_eq!(client.reply(ticket, &mut |_| {}).await, Ok(false));
        }
        assert_eq!(*turns.lock().expect("nothing panics"), "><", "{version}");
    }
}

/// Passes on what comes, a millisecond later.
async fn delay<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut from: R, mut to: W) {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut buffer).await.expect("it can be read");
        tokio::time::sleep(Duration::from_millis(1)).await;
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn one_by_one<R, W>(client: &mut Client<R, W>, count: u64) -> f64
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let started = Instant::now();
    for number in 0..count {
        let ask = IsValidPath { path: path(number) };
        assert_eq!(client.call(&ask, &mut |_| {}).await, Ok(false));
    }
    count as f64 / started.elapsed().as_secs_f64()
}

async fn at_once<R, W>(client: &mut Client<R, W>, count: u64) -> f64
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let started = Instant::now();
    let mut tickets = Vec::new();
    for number in 0..count {
        let ask = IsValidPath { path: path(number) };
        tickets.push(client.queue(&ask).await.expect("queued"));
    }
    for ticket in tickets {
        assert_eq!(client.reply(ticket, &mut |_| {}).await, Ok(false));
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// On one machine a round trip costs no more than the daemon's work, so that little can be gained. A link that takes
/// a millisecond each way is what pipelining is for.
#[tokio::test]
async fn queries_at_once_are_many_times_faster_over_a_link() {
    for daemon in Daemon::all() {
        let version = daemon.version().await;
        let options = Options::nix(daemon.store_dir.clone());
        let (mut client, _process) = daemon.connect(options.clone());
        let (single, many) = (
            one_by_one(&mut client, 10_000).await,
            at_once(&mut client, 10_000).await,
        );
        eprintln!("{version} here: {single:.0} queries a second one by one, {many:.0} at once");

        let (client, _process) = daemon.connect(options.clone());
        let (reader, writer, _) = client.into_parts();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (from_client, to_client) = tokio::io::split(theirs);
        tokio::spawn(delay(reader, to_client));
        tokio::spawn(delay(from_client, writer));
        let (reader, writer) = tokio::io::split(ours);
        let mut client = Client::new(reader, writer, options);
        let (single, many) = (
            one_by_one(&mut client, 200).await,
            at_once(&mut client, 10_000).await,
        );
        eprintln!("{version} afar: {single:.0} queries a second one by one, {many:.0} at once");
        assert!(
            many > 5.0 * single,
            "{version}: {many} at once, {single} one by one"
        );
    }
}

/// An archive of 256 MiB to the daemon and back. The figures are printed.
#[tokio::test]
async fn a_large_archive_goes_both_ways() {
    for daemon in Daemon::all() {
        let (mut client, _process) = daemon.connect(Options::nix(daemon.store_dir.clone()));
        let log = &mut |_| {};
        let nar = file_nar(&vec![9; 256 << 20], false);
        let path = source(&daemon.store_dir, "large", &nar);
        let add = AddToStoreNar {
            path: path.clone(),
            repair: false,
            dont_check_signatures: true,
        };
        let started = Instant::now();
        let mut upload = client.upload(&add).await.expect("begun");
        for piece in nar.chunks(1 << 18) {
            upload.write(piece, log).await.expect("taken");
        }
        let ticket = upload.finish(log).await.expect("complete");
        client.reply(ticket, log).await.expect("added");
        let there = started.elapsed();
        let started = Instant::now();
        client
            .call(
                &NarFromPath {
                    path: path.path.clone(),
                },
                log,
            )
            .await
            .expect("it follows");
        let mut left = &nar[..];
        while !left.is_empty() {
            let chunk = client.raw_chunk().await.expect("it comes");
            let count = chunk.len().min(left.len());
            assert!(chunk[..count] == left[..count]);
            left = &left[count..];
            client.consume(count);
        }
        let back = started.elapsed();
        let version = daemon.version().await;
        eprintln!("{version}: 256 MiB there in {there:.1?}, back in {back:.1?}");
        let valid = IsValidPath { path: path.path };
        assert_eq!(client.call(&valid, log).await, Ok(true));
    }
}
