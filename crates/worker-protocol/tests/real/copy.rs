//! The example program between real daemons.

use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::net::UnixStream;
use tokio::time::timeout;
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{AddToStoreNar, NarFromPath, QueryPathInfo};
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

use crate::copy_example;
use crate::daemon::{Daemon, file_nar};

fn path(name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", "1".repeat(32))).expect("a good name")
}

/// Three paths that refer to each other, and their archives.
fn closure() -> Vec<(ValidPathInfo, Vec<u8>)> {
    let references = [("c", vec![]), ("b", vec!["c"]), ("a", vec!["a", "b", "c"])];
    let each = references.map(|(name, references)| {
        let size = if name == "b" { 3 << 20 } else { 10 };
        let nar = file_nar(&vec![name.as_bytes()[0]; size], false);
        let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64)
            .with_deriver(path("x.drv"))
            .with_references(references.into_iter().map(path))
            .with_signatures(["key:c2lnbmF0dXJl"]);
        let path = path(name);
        (ValidPathInfo { path, info }, nar)
    });
    each.into()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

#[tokio::test]
async fn a_closure_goes_from_each_daemon_to_the_next() {
    let mut listening = Vec::new();
    for daemon in Daemon::all() {
        let version = daemon.version().await;
        match daemon.listen().await {
            Some((socket, process)) => listening.push((version, socket, daemon, process)),
            None => eprintln!("not asked for: {version}, whose store is a temporary directory"),
        }
    }
    let Some((_, first, ..)) = listening.first() else {
        return;
    };
    within(fill(first)).await;
    for pair in listening.windows(2) {
        let [(from_version, from, ..), (to_version, to, ..)] = pair else {
            unreachable!("two stand in each");
        };
        let sockets = [from, to].map(|socket| socket.to_str().expect("it is UTF-8"));
        let copied = copy_example::copy(sockets[0], sockets[1], path("a"));
        assert_eq!(within(copied).await.expect("it is copied"), (3, 3));
        let again = copy_example::copy(sockets[0], sockets[1], path("a"));
        assert_eq!(within(again).await.expect("it is there"), (3, 0));
        within(check(to)).await;
        eprintln!("copied from {from_version} to {to_version}");
    }
    // The oldest, which takes one path at a time, is first: so there, too, from the newest.
    let (_, last, ..) = listening.last().expect("there is a first");
    let oldest = Daemon::all()
        .into_iter()
        .find(|daemon| daemon.store_dir == StoreDir::NIX);
    let oldest = oldest.expect("there was one");
    let (to, _process) = oldest.listen().await.expect("a root");
    let sockets = [last, &to].map(|socket| socket.to_str().expect("it is UTF-8"));
    let copied = copy_example::copy(sockets[0], sockets[1], path("a"));
    assert_eq!(within(copied).await.expect("it is copied"), (3, 3));
    within(check(&to)).await;
}

async fn connect(
    socket: &std::path::Path,
) -> Client<tokio::net::unix::OwnedReadHalf, tokio::net::unix::OwnedWriteHalf> {
    let stream = UnixStream::connect(socket).await.expect("it listens");
    let (reader, writer) = stream.into_split();
    Client::new(reader, writer, Options::nix(StoreDir::NIX))
}

async fn fill(socket: &std::path::Path) {
    let log = &mut |_| {};
    let mut client = connect(socket).await;
    for (path, nar) in closure() {
        let add = AddToStoreNar {
            path,
            repair: false,
            dont_check_signatures: true,
        };
        let mut upload = client.upload(&add).await.expect("begun");
        upload.write(&nar, log).await.expect("taken");
        let ticket = upload.finish(log).await.expect("complete");
        client.reply(ticket, log).await.expect("added");
    }
}

async fn check(socket: &std::path::Path) {
    let log = &mut |_| {};
    let mut client = connect(socket).await;
    for (ValidPathInfo { path, info }, nar) in closure() {
        let query = QueryPathInfo { path: path.clone() };
        let found = client.call(&query, log).await;
        let found = found.expect("it answers").expect("it is valid");
        let expected = info.with_registration_time(found.registration_time);
        assert_eq!(found, expected);
        let fetched = client.call(&NarFromPath { path }, log).await;
        fetched.expect("it follows");
        let mut left = &nar[..];
        while !left.is_empty() {
            let chunk = client.raw_chunk().await.expect("it comes");
            let count = chunk.len().min(left.len());
            assert!(chunk[..count] == left[..count]);
            client.consume(count);
            left = &left[count..];
        }
    }
}
