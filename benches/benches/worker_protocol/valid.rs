use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::IsValidPath;

use crate::CHUNK;
use crate::daemon::{Daemon, path};

/// 10,000 queries whether a path is valid, one by one and all at once, on this machine and over a link that takes a
/// millisecond each way.
pub(crate) fn bench(criterion: &mut Criterion, runtime: &Runtime) {
    const COUNT: u32 = 10_000;
    let daemon = Daemon::new();
    let mut group = criterion.benchmark_group("worker-protocol/valid");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function("at once", |bencher| {
        let (mut client, _process) = runtime.block_on(daemon.connect());
        bencher.iter(|| runtime.block_on(ask_at_once(&mut client, COUNT)));
    });
    group.bench_function("one by one", |bencher| {
        let (mut client, _process) = runtime.block_on(daemon.connect());
        bencher.iter(|| runtime.block_on(ask_one_by_one(&mut client, COUNT)));
    });
    for (name, count, at_once) in [
        ("at once, 2 ms away", COUNT, true),
        ("one by one, 2 ms away", COUNT / 50, false),
    ] {
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(BenchmarkId::new(name, count), |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(afar(&daemon, rounds, count, at_once)));
        });
    }
    group.finish();
}

/// How long `rounds` times `count` queries take when each direction is a millisecond long.
async fn afar(daemon: &Daemon, rounds: u64, count: u32, at_once: bool) -> Duration {
    let (reader, writer, _process) = daemon.start();
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (from_client, to_client) = tokio::io::split(theirs);
    let delays = [
        tokio::spawn(delay(reader, to_client)),
        tokio::spawn(delay(from_client, writer)),
    ];
    let (reader, writer) = tokio::io::split(ours);
    let mut client = Client::new(reader, writer, Options::nix(daemon.store_dir.clone()));
    client.handshake(&mut |_| {}).await.expect("a handshake");
    let started = Instant::now();
    for _ in 0..rounds {
        match at_once {
            true => ask_at_once(&mut client, count).await,
            false => ask_one_by_one(&mut client, count).await,
        }
    }
    let took = started.elapsed();
    for delay in delays {
        delay.abort();
    }
    took
}

/// Passes on what comes, a millisecond later.
async fn delay<R, W>(mut from: R, mut to: W)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn ask_one_by_one<R, W>(client: &mut Client<R, W>, count: u32)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    for number in 0..count {
        let ask = IsValidPath { path: path(number) };
        assert_eq!(client.call(&ask, &mut |_| {}).await, Ok(false));
    }
}

async fn ask_at_once<R, W>(client: &mut Client<R, W>, count: u32)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut tickets = Vec::with_capacity(count as usize);
    for number in 0..count {
        let ask = IsValidPath { path: path(number) };
        tickets.push(client.queue(&ask).await.expect("queued"));
    }
    for ticket in tickets {
        assert_eq!(client.reply(ticket, &mut |_| {}).await, Ok(false));
    }
}
