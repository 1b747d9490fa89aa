//! Data that a daemon asks for, when there is less of it than the daemon wants.

use store_path::StoreDir;
use worker_protocol::client::Options;
use worker_protocol::operation::{ImportPaths, IsValidPath, Operation};
use worker_protocol::{Error, Version};

use crate::script::{ERROR, LAST, READ, Script};
use crate::{path, within};

/// The daemon asks once more than there is data, before or after the client says that this was all.
#[tokio::test]
async fn a_daemon_that_wants_more_than_there_is_gets_an_empty_block() {
    let nix = Options {
        version: Version::nix(21),
        ..Options::nix(StoreDir::NIX)
    };
    for (options, word) in [(nix, 0x115), (Options::guix(StoreDir::NIX), 0x164)] {
        for data in [&b""[..], b"half a stream"] {
            let (mut client, mut daemon) = Script::with_client(options.clone());
            let daemon = async {
                daemon.greet(word).await;
                assert_eq!(daemon.word().await, ImportPaths::NUMBER);
                let blocks = if data.is_empty() { 1 } else { 2 };
                let mut got = Vec::new();
                for _ in 0..blocks {
                    daemon
                        .say(|encoder| {
                            encoder.word(READ).word(1 << 16);
                        })
                        .await;
                    got.push(daemon.bytes().await);
                }
                assert_eq!(got.pop(), Some(vec![]), "the end");
                assert_eq!(got.concat(), data);
                daemon
                    .say(|encoder| {
                        encoder.word(ERROR).text("unexpected end-of-file").word(1);
                    })
                    .await;
                assert_eq!(daemon.word().await, IsValidPath::NUMBER);
                daemon.bytes().await;
                daemon
                    .say(|encoder| {
                        encoder.word(LAST).word(1);
                    })
                    .await;
            };
            let asker = async {
                let log = &mut |_| {};
                client.handshake(log).await.expect("it is let in");
                let mut upload = client.upload(&ImportPaths {}).await.expect("begun");
                upload.write(data, log).await.expect("taken");
                let ticket = upload.finish(log).await.expect("it has no announced size");
                let imported = client.reply(ticket, log).await;
                assert!(matches!(imported, Err(Error::Remote(_))), "{imported:?}");
                let valid = client.call(&IsValidPath { path: path("x") }, log).await;
                assert_eq!(valid, Ok(true));
            };
            within(async { tokio::join!(daemon, asker) }).await;
        }
    }
}
