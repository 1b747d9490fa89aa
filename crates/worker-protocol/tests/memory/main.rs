//! Both halves against each other, in memory.

mod asked_for;
mod handshake;
mod inexpressible;
mod lengths;
mod script;
mod store;
mod uploads;

use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::timeout;
use worker_protocol::client::{self, Client};
use worker_protocol::log::{ActivityKind, Field, Level, ResultKind};
use worker_protocol::operation::{
    AddMultipleToStore, AddToStoreNar, BuildDerivation, IsValidPath, NarFromPath, QueryPathInfo,
    QueryValidPaths, SetOptions,
};
use worker_protocol::server::{self, Server};
use worker_protocol::{
    BasicDerivation, BuildMode, BuildResult, BuildStatus, Error, Log, NarHash, PathInfo, Request,
    ValidPathInfo, Version,
};

type Half = DuplexStream;
type TestServer = Server<ReadHalf<Half>, WriteHalf<Half>>;
type TestClient = Client<ReadHalf<Half>, WriteHalf<Half>>;

async fn serve(mut server: TestServer) -> Result<(), Error> {
    let mut paths = store::Paths::new();
    store::serve(&mut server, &mut paths, &build_log(), &build_result()).await
}

fn build_log() -> Vec<Log> {
    vec![
        Log::StartActivity {
            id: 7,
            level: Level::INFO,
            kind: ActivityKind::BUILD,
            text: "building".into(),
            fields: vec![Field::Text("x.drv".into()), Field::Number(1)],
            parent: 0,
        },
        Log::Result {
            id: 7,
            kind: ResultKind::BUILD_LOG_LINE,
            fields: vec![Field::Text("a line".into())],
        },
        Log::StopActivity { id: 7 },
    ]
}

fn build_result() -> BuildResult {
    let mut result = BuildResult::new(BuildStatus::TimedOut);
    result.error = "too slow".into();
    result
}

fn path(name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", "1".repeat(32))).expect("a good name")
}

fn valid_path(name: &str, nar: &[u8]) -> ValidPathInfo {
    ValidPathInfo {
        path: path(name),
        info: PathInfo::new(NarHash::of(nar), nar.len() as u64)
            .with_deriver(path("deriver.drv"))
            .with_references([path("reference"), path("other")])
            .with_registration_time(12)
            .with_ultimate(true)
            .with_signatures(["a:b"]),
    }
}

/// A connected pair, with so many bytes of room between them in each direction.
fn pair(
    room: usize,
    client_version: Version,
    server_version: Version,
    assume: bool,
) -> (TestClient, TestServer) {
    let (ours, theirs) = duplex(room);
    let (reader, writer) = split(ours);
    let options = client::Options {
        version: client_version,
        assume: assume.then_some(client_version),
        ..client::Options::nix(StoreDir::NIX)
    };
    let client = Client::new(reader, writer, options);
    let (reader, writer) = split(theirs);
    let mut options = server::Options::nix(StoreDir::NIX, "2.99");
    options.version = server_version;
    options.trusted = Some(true);
    (client, Server::new(reader, writer, options))
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work)
        .await
        .expect("nothing hangs")
}

async fn fetch(client: &mut TestClient, size: usize) -> Result<Vec<u8>, Error> {
    let mut nar = Vec::new();
    while nar.len() < size {
        let chunk = client.raw_chunk().await?;
        let count = chunk.len().min(size - nar.len());
        nar.extend_from_slice(&chunk[..count]);
        client.consume(count);
    }
    Ok(nar)
}

#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
async fn talk(mut client: TestClient, version: Version, size: usize) -> Result<(), Error> {
    let mut log = Vec::new();
    let mut sink = |message| log.push(message);
    let nar = vec![5; size];
    let small = vec![6; 13];
    client.call(&SetOptions::default(), &mut sink).await?;

    let refused = AddToStoreNar {
        path: valid_path("refused", &nar),
        repair: false,
        dont_check_signatures: true,
    };
    if version.has_tunnelled_nar() {
        let result = async {
            let mut upload = client.upload(&refused).await?;
            for piece in nar.chunks(size / 40) {
                upload.write(piece, &mut sink).await?;
            }
            let ticket = upload.finish(&mut sink).await?;
            client.reply(ticket, &mut sink).await
        };
        assert!(matches!(result.await, Err(Error::Remote(error)) if error.message == "refused"));
    }

    let add = AddToStoreNar {
        path: valid_path("one", &nar),
        ..refused
    };
    let mut upload = client.upload(&add).await?;
    upload.write(&nar, &mut sink).await?;
    let add = upload.finish(&mut sink).await?;
    let info = client.queue(&QueryPathInfo { path: path("one") }).await?;
    let get = client.queue(&NarFromPath { path: path("one") }).await?;
    let fail = client
        .queue(&NarFromPath {
            path: path("nowhere"),
        })
        .await?;
    let derivation = BasicDerivation {
        builder: "/bin/sh".into(),
        ..BasicDerivation::default()
    };
    let build = BuildDerivation {
        path: path("x.drv"),
        derivation,
        mode: BuildMode::Check,
    };
    let build = client.queue(&build).await?;
    client.reply(add, &mut sink).await?;
    assert_eq!(
        client.reply(info, &mut sink).await?,
        Some(valid_path("one", &nar).info)
    );
    client.reply(get, &mut sink).await?;
    assert_eq!(fetch(&mut client, nar.len()).await?, nar);
    assert!(matches!(
        client.reply(fail, &mut sink).await,
        Err(Error::Remote(_))
    ));
    assert_eq!(client.reply(build, &mut sink).await?, build_result());

    if version.has_add_multiple_to_store() {
        let add = AddMultipleToStore {
            repair: false,
            dont_check_signatures: true,
        };
        let mut upload = client.upload_multiple(&add, 3).await?;
        for (name, nar) in [("a", &small), ("b", &nar), ("c", &small)] {
            upload.path(&valid_path(name, nar))?;
            for piece in nar.chunks(size / 3) {
                upload.write(piece, &mut sink).await?;
            }
        }
        let add = upload.finish(&mut sink).await?;
        let paths = [path("a"), path("b"), path("c"), path("d")].into();
        let valid = client
            .queue(&QueryValidPaths {
                paths,
                substitute: false,
            })
            .await?;
        client.reply(add, &mut sink).await?;
        assert_eq!(client.reply(valid, &mut sink).await?.len(), 3);
    }
    assert_eq!(client.version(), Some(version));
    assert_eq!(client.trusted(), version.has_trust().then_some(true));
    let expected = if version.has_activities() { 3 } else { 2 };
    let from_build = log
        .iter()
        .filter(|log| **log != Log::Next("adding\n".into()))
        .count();
    assert_eq!(from_build, expected, "{version}: {log:?}");
    Ok(())
}

#[tokio::test]
async fn every_version_whatever_the_room_between_the_halves() {
    for room in [1, 7, 64, 4096, 1 << 20] {
        let size = (room * 40).clamp(1000, 300_000);
        let versions: Vec<u8> = if room > 7 {
            (18..=38).collect()
        } else {
            vec![21, 37, 38]
        };
        for minor in versions {
            let version = Version::nix(minor);
            for assume in [false, true] {
                let (client, server) = pair(room, version, Version::NIX_NEWEST, assume);
                let (talked, served) =
                    within(async { tokio::join!(talk(client, version, size), serve(server)) })
                        .await;
                talked.unwrap_or_else(|error| panic!("{version}, {room}: {error}"));
                served.unwrap_or_else(|error| panic!("{version}, {room}: {error}"));
            }
            let (client, server) = pair(room, Version::NIX_NEWEST, version, false);
            let (talked, served) =
                within(async { tokio::join!(talk(client, version, size), serve(server)) }).await;
            talked.unwrap_or_else(|error| panic!("{version}, {room}: {error}"));
            served.unwrap_or_else(|error| panic!("{version}, {room}: {error}"));
        }
    }
}

#[tokio::test]
async fn guix_gets_one_request_at_a_time() {
    let (ours, theirs) = duplex(4096);
    let (reader, writer) = split(ours);
    let mut client = Client::new(reader, writer, client::Options::guix(StoreDir::GUIX));
    let (reader, writer) = split(theirs);
    let mut server = Server::new(reader, writer, server::Options::guix(StoreDir::GUIX));
    let daemon = async {
        while let Some(request) = server.next_request().await? {
            assert!(matches!(request, Request::IsValidPath(_)));
            // Nothing stands behind a request, however many were queued.
            let more = timeout(Duration::from_millis(20), server.hung_up()).await;
            assert!(more.is_err(), "the client waits");
            assert_eq!(server.buffered(), 0);
            server.log(Log::Next("a line".into())).await?;
            server.answer::<IsValidPath>(&true).await?;
        }
        let (_, _, unused) = server.into_parts();
        assert!(unused.is_empty());
        Ok::<(), Error>(())
    };
    let asker = async {
        let ask = IsValidPath { path: path("x") };
        let mut tickets = Vec::new();
        for _ in 0..5 {
            tickets.push(client.queue(&ask).await?);
        }
        client.flush().await?;
        let mut lines = 0;
        for ticket in tickets {
            assert!(client.reply(ticket, &mut |_| lines += 1).await?);
        }
        assert_eq!(lines, 5);
        drop(client);
        Ok::<(), Error>(())
    };
    let (served, asked) = within(async { tokio::join!(daemon, asker) }).await;
    served.expect("the client follows the protocol");
    asked.expect("the server follows the protocol");
}
