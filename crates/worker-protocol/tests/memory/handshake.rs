//! Peers that are newer than this crate, and what they call themselves.

use store_path::StoreDir;
use worker_protocol::client::{self, Progress};
use worker_protocol::operation::IsValidPath;
use worker_protocol::server;
use worker_protocol::wire::Encoder;
use worker_protocol::{Error, Incompatible, Request, Version};

use crate::path;

const CLIENT: u64 = 0x6e69_7863;
const DAEMON: u64 = 0x6478_696f;
const LAST: u64 = 0x616c_7473;
const FEATURES: [&str; 3] = ["realisation-v9", "", "what nobody has thought of yet"];

fn bytes(write: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

fn features(encoder: &mut Encoder<'_>, features: &[&str]) {
    encoder.list(features, |encoder, feature| {
        encoder.text(feature);
    });
}

#[test]
fn a_newer_daemon_with_unknown_features_is_spoken_to_without_them() {
    for word in [0x126, 0x127, 0x140, 0x1ff] {
        for assume in [None, Some(Version::nix(38)), Some(Version::nix(37))] {
            let options = client::Options {
                version: Version::NIX_NEWEST,
                assume,
                ..client::Options::nix(StoreDir::NIX)
            };
            let mut client = client::Session::new(options);
            let announced = assume.unwrap_or(Version::NIX_NEWEST);
            client.receive(&bytes(|encoder| {
                encoder.word(DAEMON).word(word);
                if announced.has_features() {
                    features(encoder, &FEATURES);
                }
                encoder.text("9.0").word(1).word(LAST);
                encoder.word(LAST).word(1);
            }));
            client.poll_version().expect("it is newer than needed");
            let ask = IsValidPath { path: path("x") };
            let ticket = client.queue(&ask).expect("the version is known");
            assert_eq!(client.poll_reply(ticket), Ok(Progress::Ready(true)));
            assert_eq!(client.version(), Some(announced));
            let greeting = client.greeting().expect("it was read");
            let named = announced.has_features().then_some(FEATURES);
            assert_eq!(
                greeting.features,
                named.iter().flatten().copied().collect::<Vec<_>>()
            );

            let expected = bytes(|encoder| {
                encoder.word(CLIENT).word(announced.to_word());
                if announced.has_features() {
                    features(encoder, &[]);
                }
                encoder.word(0).word(0);
                encoder.word(1).text(StoreDir::NIX.print(&path("x")));
            });
            assert_eq!(client.outgoing(), expected, "{word:#x} {assume:?}");
        }
    }
}

#[test]
fn a_newer_client_with_unknown_features_is_served_without_them() {
    for word in [0x126, 0x127, 0x140, 0x1ff] {
        let mut server = server::Session::new(server::Options::nix(StoreDir::NIX, "0.1"));
        server.receive(&bytes(|encoder| {
            encoder.word(CLIENT).word(word);
            features(encoder, &FEATURES);
            encoder.word(0).word(0);
            encoder.word(1).text(StoreDir::NIX.print(&path("x")));
        }));
        let request = server.poll_request().expect("it is newer than needed");
        let ask = Request::from(IsValidPath { path: path("x") });
        assert_eq!(request, server::Progress::Ready(Some(ask)));
        assert_eq!(server.version(), Some(Version::NIX_NEWEST));
        assert_eq!(server.client_features(), FEATURES);
        server.answer::<IsValidPath>(&false).expect("its turn");
        let expected = bytes(|encoder| {
            encoder.word(DAEMON).word(0x126);
            features(encoder, &[]);
            encoder.text("0.1").word(0).word(LAST);
            encoder.word(LAST).word(0);
        });
        assert_eq!(server.outgoing(), expected);
    }
}

/// 0x111 (1.17) is too old, a major version of 2 too new.
#[test]
fn versions_that_are_not_spoken_are_named() {
    for word in [0, 0x111, 0x200, 0x10126, u64::MAX] {
        let refused = Error::Incompatible(Incompatible::Version(word));
        let mut client = client::Session::new(client::Options::nix(StoreDir::NIX));
        client.receive(&bytes(|encoder| {
            encoder.word(DAEMON).word(word);
        }));
        assert_eq!(client.poll_version(), Err(refused.clone()));
        let mut server = server::Session::new(server::Options::nix(StoreDir::NIX, "0.1"));
        server.receive(&bytes(|encoder| {
            encoder.word(CLIENT).word(word);
        }));
        assert_eq!(server.poll_accept(), Err(refused));
    }
}
