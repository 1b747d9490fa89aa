//! What both sides say first.

use worker_protocol::Version;
use worker_protocol::client::{self, Progress};
use worker_protocol::server::{self, Progress as ServerProgress};

use crate::notation;
use crate::table::{all, context};

/// What a daemon and a client say at a version. The daemon is called `1`, and does not say whether it trusts
/// the client.
pub(crate) fn greeting(version: Version) -> (String, String) {
    let word = version.to_word();
    let (nix, minor) = (!version.is_guix(), version.minor());
    let features = if nix && minor >= 38 { "0" } else { "" };
    let program = if nix && minor >= 33 { "'1'" } else { "" };
    let trust = if nix && minor >= 35 { "0" } else { "" };
    let daemon = format!("0x6478696f {word} {features} {program} {trust} 0x616c7473");
    (daemon, format!("0x6e697863 {word} {features} 0 0"))
}

#[test]
fn greetings_at_every_version() {
    for version in all() {
        let store_dir = context(version).store_dir;
        let (daemon, words) = greeting(version);
        let (daemon, words) = (
            notation::bytes(&daemon, &store_dir),
            notation::bytes(&words, &store_dir),
        );
        for assume in [None, Some(version)] {
            let options = client::Options {
                version,
                assume,
                ..client::Options::nix(store_dir.clone())
            };
            let mut client = client::Session::new(options);
            let first = client.outgoing().to_vec();
            // 1.38's exchange of features waits for the daemon, unless its version is assumed.
            let waits = assume.is_none() && version == Version::nix(38);
            assert_eq!(first, words[..if waits { 16 } else { words.len() }]);
            client.receive(&daemon);
            assert_eq!(client.poll_handshake(), Ok(Progress::Ready(())));
            assert_eq!(client.outgoing(), words, "{version}");
            assert_eq!(client.version(), Some(version));
            let greeting = client.greeting().expect("it was read");
            let tells = !version.is_guix() && version.minor() >= 33;
            assert_eq!(greeting.daemon_version, tells.then(|| "1".into()));
            assert_eq!(greeting.trusted, None);
        }
        let mut options = server::Options::nix(store_dir, "1");
        options.version = version;
        let mut server = server::Session::new(options);
        server.receive(&words);
        assert_eq!(server.poll_accept(), Ok(ServerProgress::Ready(())));
        assert_eq!(server.outgoing(), daemon, "{version}");
        assert_eq!(server.version(), Some(version));
    }
}

#[test]
fn trust_is_told() {
    for (word, trusted) in [(0, None), (1, Some(true)), (2, Some(false))] {
        let version = Version::nix(35);
        let store_dir = context(version).store_dir;
        let daemon = format!("0x6478696f 0x123 '1' {word} 0x616c7473");
        let daemon = notation::bytes(&daemon, &store_dir);
        let mut client = client::Session::new(client::Options::nix(store_dir.clone()));
        client.receive(&daemon);
        assert_eq!(client.poll_handshake(), Ok(Progress::Ready(())));
        assert_eq!(client.greeting().expect("it was read").trusted, trusted);
        let mut options = server::Options::nix(store_dir.clone(), "1");
        options.version = version;
        options.trusted = trusted;
        let mut server = server::Session::new(options);
        server.receive(&notation::bytes("0x6e697863 0x123 0 0", &store_dir));
        assert_eq!(server.poll_accept(), Ok(ServerProgress::Ready(())));
        assert_eq!(server.outgoing(), daemon);
    }
}

/// A client may name a processor and ask for space: both are without meaning by now.
#[test]
fn obsolete_words_of_a_client_are_read() {
    for version in all() {
        let store_dir = context(version).store_dir;
        let features = match version == Version::nix(38) {
            true => "2 'one' 'another'",
            false => "",
        };
        let word = version.to_word();
        let words = format!("0x6e697863 {word} {features} 1 3 1");
        let mut options = server::Options::nix(store_dir.clone(), "1");
        options.version = version;
        let mut server = server::Session::new(options);
        server.receive(&notation::bytes(&words, &store_dir));
        assert_eq!(server.poll_accept(), Ok(ServerProgress::Ready(())));
        assert_eq!(server.buffered(), 0, "{version}");
    }
}
