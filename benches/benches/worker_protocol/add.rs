use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use store_path::StoreDir;
use tokio::runtime::Runtime;
use worker_protocol::Version;
use worker_protocol::client::{Options, Session};
use worker_protocol::operation::{AddMultipleToStore, AddToStoreNar};

use crate::daemon::{Daemon, DaemonClient, Source, source};

/// How many paths are added.
const COUNT: u32 = 10_000;

/// 10,000 small paths in one upload: what the session makes of them, and all of it with a daemon. Beside it the same
/// paths in a request each, sent at once and one by one.
pub(crate) fn bench(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("worker-protocol/add");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function("10,000 together, into memory", |bencher| {
        let paths = small(&Daemon::new());
        bencher.iter(|| encode_together(&paths));
    });
    group.bench_function("10,000 together", |bencher| {
        bencher.iter_custom(|rounds| {
            let add = async |client: &mut DaemonClient, paths: &[_]| {
                send_together(client, paths).await;
            };
            runtime.block_on(adding(rounds, add))
        });
    });
    for (name, wait) in [
        ("10,000 each by itself, at once", false),
        ("10,000 each by itself, one by one", true),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let add = async |client: &mut DaemonClient, paths: &[_]| {
                    send_each(client, paths, wait).await;
                };
                runtime.block_on(adding(rounds, add))
            });
        });
    }
    group.finish();
}

fn small(daemon: &Daemon) -> Vec<Source> {
    let each = |number: u32| source(&daemon.store_dir, "small", &number.to_le_bytes());
    (0..COUNT).map(each).collect()
}

/// How long `rounds` of adding take, each to a new store.
async fn adding(rounds: u64, add: impl AsyncFn(&mut DaemonClient, &[Source])) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        let daemon = Daemon::new();
        let paths = small(&daemon);
        let (mut client, _process) = daemon.connect().await;
        let started = Instant::now();
        add(&mut client, &paths).await;
        took += started.elapsed();
    }
    took
}

fn encode_together(paths: &[Source]) -> usize {
    let mut session = Session::new(Options {
        assume: Some(Version::nix(37)),
        ..Options::nix(StoreDir::NIX)
    });
    let operation = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let begun = session.begin_multiple(&operation, paths.len() as u64);
    begun.expect("begun");
    let mut sent = 0;
    for (path, nar) in paths {
        session.upload_path(path).expect("its turn");
        session.upload(nar).expect("taken");
        let count = session.outgoing().len();
        black_box(session.outgoing());
        session.sent(count);
        sent += count;
    }
    session.finish_upload().expect("complete");
    sent + session.outgoing().len()
}

async fn send_together(client: &mut DaemonClient, paths: &[Source]) {
    let log = &mut |_| {};
    let operation = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let upload = client.upload_multiple(&operation, paths.len() as u64).await;
    let mut upload = upload.expect("begun");
    for (path, nar) in paths {
        upload.path(path).expect("its turn");
        upload.write(nar, log).await.expect("taken");
    }
    let ticket = upload.finish(log).await.expect("complete");
    client.reply(ticket, log).await.expect("added");
}

pub(crate) async fn send_each(client: &mut DaemonClient, paths: &[Source], wait: bool) {
    let log = &mut |_| {};
    let mut tickets = Vec::new();
    for (path, nar) in paths {
        let add = AddToStoreNar {
            path: path.clone(),
            repair: false,
            dont_check_signatures: true,
        };
        let mut upload = client.upload(&add).await.expect("begun");
        upload.write(nar, log).await.expect("taken");
        let ticket = upload.finish(log).await.expect("complete");
        match wait {
            true => client.reply(ticket, log).await.expect("added"),
            false => tickets.push(ticket),
        }
    }
    for ticket in tickets {
        client.reply(ticket, log).await.expect("added");
    }
}
