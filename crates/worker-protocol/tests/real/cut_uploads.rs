//! Uploads with less data than they need: every daemon says so, and goes on.

use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use worker_protocol::client::{Client, Options};
use worker_protocol::operation::{AddToStoreNar, ImportPaths, IsValidPath, UploadOperation};
use worker_protocol::{Error, Version};

use crate::daemon::{Daemon, GuixDaemon, file_nar, source};

/// Uploads `data`, and then asks for something else. Returns the daemon's error.
async fn refused<R, W, O>(client: &mut Client<R, W>, operation: &O, data: &[u8]) -> String
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: UploadOperation,
{
    let log = &mut |_| {};
    let conversation = async {
        client.handshake(log).await.expect("it is let in");
        let reply = async {
            let mut upload = client.upload(operation).await?;
            upload.write(data, log).await?;
            let ticket = upload.finish(log).await?;
            client.reply(ticket, log).await.map(|_| ())
        };
        let error = match reply.await {
            Err(Error::Remote(error)) => error.to_string(),
            other => panic!("{} with half its data: {other:?}", O::NAME),
        };
        // 2.34.8 has dropped ImportPaths, and ends the connection of who asks for it.
        if error.contains("invalid operation") {
            return error;
        }
        let path = StorePath::from_base_name(&format!("{}-absent", "1".repeat(32)));
        let path = path.expect("a good name");
        let valid = client.call(&IsValidPath { path }, log).await;
        assert_eq!(valid, Ok(false), "after {error}");
        error
    };
    let within = timeout(Duration::from_secs(20), conversation);
    within.await.expect("nobody waits for more data")
}

#[tokio::test]
async fn nix_says_that_data_is_missing_and_goes_on() {
    for daemon in Daemon::all() {
        let program = daemon.version().await;
        for version in [21, 22, 23, 32, 34].map(Version::nix) {
            let options = Options {
                version,
                ..Options::nix(daemon.store_dir.clone())
            };
            let connect = || daemon.connect(options.clone());
            let nar = file_nar(&vec![1; 100_000], false);
            let add = |size: usize| {
                let mut path = source(&daemon.store_dir, &format!("cut-{size}"), &nar);
                path.info.nar_size = size as u64;
                AddToStoreNar {
                    path,
                    repair: false,
                    dont_check_signatures: true,
                }
            };
            for size in [0, 8, 50_000, 65_536] {
                let (mut client, _process) = connect();
                let error = refused(&mut client, &add(size), &nar[..size]).await;
                eprintln!("{program} at {version}, {size} bytes: {error}");
            }
            for data in [&b""[..], &[1], &[1, 0, 0, 0, 0, 0, 0, 0, 13]] {
                let (mut client, _process) = connect();
                let error = refused(&mut client, &ImportPaths {}, data).await;
                eprintln!("{program} at {version}, import: {error}");
            }
        }
    }
}

#[tokio::test]
async fn guix_says_that_data_is_missing_and_goes_on() {
    for daemon in GuixDaemon::all().await {
        for data in [&b""[..], &[1], &[1, 0, 0, 0, 0, 0, 0, 0, 13]] {
            let mut client = daemon.connect(Options::guix(StoreDir::GUIX)).await;
            let error = refused(&mut client, &ImportPaths {}, data).await;
            eprintln!("guix: {error}");
        }
    }
}
