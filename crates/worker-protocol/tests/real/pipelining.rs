//! What is gained by not waiting.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use worker_protocol::Version;
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{
    AddTempRoot, AddToStoreNar, IsValidPath, NarFromPath, SetOptions,
};

use crate::daemon::{Daemon, GuixDaemon, file_nar, source};

/// Which way bytes went through a link: each turn once, `>` to the daemon and `<` back.
type Turns = Arc<Mutex<String>>;

/// A link to a daemon, with a proxy in the middle that passes bytes on.
struct Link {
    stream: DuplexStream,
    turns: Turns,
    tasks: [JoinHandle<()>; 2],
}

impl Link {
    /// A link on which bytes take so long, each way.
    fn new(reader: ChildStdout, writer: ChildStdin, delay: Duration) -> Link {
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let (from_client, to_client) = tokio::io::split(theirs);
        let turns = Turns::default();
        let there = pass(from_client, writer, '>', turns.clone(), delay);
        let back = pass(reader, to_client, '<', turns.clone(), delay);
        let tasks = [tokio::spawn(there), tokio::spawn(back)];
        Link {
            stream,
            turns,
            tasks,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn pass<R, W>(mut from: R, mut to: W, direction: char, turns: Turns, delay: Duration)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut buffer).await.expect("it can be read");
        if count == 0 {
            return;
        }
        note(&turns, direction);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn note(turns: &Turns, direction: char) {
    let mut turns = turns.lock().expect("nothing panics");
    if !turns.ends_with(direction) {
        turns.push(direction);
    }
}

fn path(number: u64) -> StorePath {
    StorePath::from_base_name(&format!("{number:032}-absent")).expect("a good name")
}

/// Handshake, options and 50 queries: the turns that a proxy saw.
async fn turns(daemon: &Daemon, options: Options) -> String {
    let (client, _process) = daemon.connect(options.clone());
    let (reader, writer, _) = client.into_parts();
    let mut link = Link::new(reader, writer, Duration::ZERO);
    let turns = link.turns.clone();
    let (reader, writer) = tokio::io::split(&mut link.stream);
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
    turns.lock().expect("nothing panics").clone()
}

#[tokio::test]
async fn a_handshake_and_50_queries_are_one_round_trip() {
    for daemon in Daemon::all() {
        let (mut client, _process) = daemon.connect(Options::nix(daemon.store_dir.clone()));
        client.handshake(&mut |_| {}).await.expect("a handshake");
        let version = client.version().expect("it is known");
        let options = Options::nix(daemon.store_dir.clone());
        let assumed = Options {
            assume: Some(version),
            ..options.clone()
        };
        assert_eq!(turns(&daemon, assumed).await, "><", "{version}");
        assert_eq!(turns(&daemon, options).await, "><><", "{version}");
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
        let mut link = Link::new(reader, writer, Duration::from_millis(1));
        let (reader, writer) = tokio::io::split(&mut link.stream);
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

/// A guix-daemon takes what it finds on its socket at the wrong time for an error. 16 KiB are some 200 of
/// these requests, so that some wait for the next write.
#[tokio::test]
async fn a_guix_daemon_answers_what_left_in_one_write() {
    const CONVERSATIONS: usize = 50;
    const REQUESTS: u64 = 300;
    for daemon in GuixDaemon::all().await {
        eprintln!("guix-daemon of {}", daemon.root.display());
        for _ in 0..CONVERSATIONS {
            let options = Options {
                assume: Some(Version::GUIX_OLDEST),
                together: Options::TOGETHER,
                ..Options::guix(StoreDir::GUIX)
            };
            let mut client = daemon.connect(options).await;
            let mut log = |_| {};
            let mut tickets = Vec::new();
            for number in 0..REQUESTS {
                let path = path(number);
                let root = client.queue(&AddTempRoot { path: path.clone() }).await;
                let valid = client.queue(&IsValidPath { path }).await;
                tickets.push((root.expect("queued"), valid.expect("queued")));
            }
            for (root, valid) in tickets {
                client.reply(root, &mut log).await.expect("it is protected");
                assert_eq!(client.reply(valid, &mut log).await, Ok(false));
            }
        }
    }
}
