//! What a daemon says between a request and its reply.

use worker_protocol::client::{self, Progress};
use worker_protocol::log::{ActivityKind, Field, Level, ResultKind};
use worker_protocol::operation::IsValidPath;
use worker_protocol::server;
use worker_protocol::{Error, Log, RemoteError, Version};

use crate::notation::{self, path};
use crate::table::{all, context};

const LAST: &str = "0x616c7473";

fn asking(version: Version) -> (client::Session, client::Ticket<IsValidPath>) {
    let options = client::Options {
        version,
        assume: Some(version),
        ..client::Options::nix(context(version).store_dir)
    };
    let mut client = client::Session::new(options);
    let (greeting, _) = crate::handshake::greeting(version);
    client.receive(&notation::bytes(&greeting, &context(version).store_dir));
    let greeted = client.poll_handshake();
    assert_eq!(greeted, Ok(Progress::Ready(())), "{version}");
    let ask = IsValidPath { path: path('A') };
    let ticket = client.queue(&ask).expect("queued");
    (client, ticket)
}

fn asked(version: Version) -> server::Session {
    let store_dir = context(version).store_dir;
    let mut options = server::Options::nix(store_dir.clone(), "1");
    options.version = version;
    let mut server = server::Session::new(options);
    let (_, words) = crate::handshake::greeting(version);
    server.receive(&notation::bytes(&format!("{words} 1 A"), &store_dir));
    server.poll_request().expect("a request");
    let greeting = server.outgoing().len();
    server.sent(greeting);
    server
}

fn start() -> Log {
    Log::StartActivity {
        id: 77,
        level: Level::INFO,
        kind: ActivityKind::BUILD,
        text: "building".into(),
        fields: vec![Field::Text("/x.drv".into()), Field::Number(1)],
        parent: 5,
    }
}

fn line() -> Log {
    Log::Result {
        id: 77,
        kind: ResultKind::BUILD_LOG_LINE,
        fields: vec![Field::Text("a line".into())],
    }
}

/// A message, its bytes at a version, and what is read of them.
fn messages(version: Version) -> Vec<(Log, &'static str, Vec<Log>)> {
    let next = |text: &str| Log::Next(text.into());
    let stop = Log::StopActivity { id: 77 };
    let progress = Log::Result {
        id: 77,
        kind: ResultKind::PROGRESS,
        fields: vec![Field::Number(1), Field::Number(2)],
    };
    let always = (
        next("hello\n"),
        r"0x6f6c6d67 'hello\n'",
        vec![next("hello\n")],
    );
    if version.is_guix() || version.minor() < 20 {
        // Activities became lines: what is not for people is not told.
        return vec![
            always,
            (
                start(),
                r"0x6f6c6d67 'building...\n'",
                vec![next("building...\n")],
            ),
            (line(), r"0x6f6c6d67 'a line\n'", vec![next("a line\n")]),
            (progress, "", vec![]),
            (stop, "", vec![]),
        ];
    }
    vec![
        always,
        (
            start(),
            "0x53545254 77 3 105 'building' 2 1 '/x.drv' 0 1 5",
            vec![start()],
        ),
        (line(), "0x52534c54 77 101 1 1 'a line'", vec![line()]),
        (
            progress.clone(),
            "0x52534c54 77 105 2 0 1 0 2",
            vec![progress],
        ),
        (stop.clone(), "0x53544f50 77", vec![stop]),
    ]
}

#[test]
fn messages_at_every_version() {
    for version in all() {
        let store_dir = context(version).store_dir;
        for (message, bytes, read) in messages(version) {
            let bytes = notation::bytes(bytes, &store_dir);
            let mut server = asked(version);
            server.log(message).expect("its turn");
            assert_eq!(server.outgoing(), bytes, "{version}");
            server.answer::<IsValidPath>(&true).expect("its turn");
            let end = notation::bytes(&format!("{LAST} 1"), &store_dir);
            assert_eq!(server.outgoing(), [&bytes[..], &end].concat());

            let (mut client, ticket) = asking(version);
            client.receive(server.outgoing());
            for message in read {
                assert_eq!(client.poll_reply(ticket), Ok(Progress::Log(message)));
            }
            assert_eq!(client.poll_reply(ticket), Ok(Progress::Ready(true)));
        }
    }
}

#[test]
fn errors_at_every_version() {
    let message = || RemoteError::new("no space");
    let structured = || {
        let traces = vec!["while building".into(), "while asked to".into()];
        message().with_level(Level::WARNING).with_traces(traces)
    };
    let told = structured().with_status(100);
    for version in all() {
        let store_dir = context(version).store_dir;
        let (bytes, read) = match !version.is_guix() && version.minor() >= 26 {
            true => (
                "0x63787470 'Error' 1 'Error' 'no space' 0 2 0 'while building' 0 'while asked to'",
                structured(),
            ),
            false => ("0x63787470 'no space' 100", message().with_status(100)),
        };
        let bytes = notation::bytes(bytes, &store_dir);
        let mut server = asked(version);
        server.fail(told.clone()).expect("its turn");
        assert_eq!(server.outgoing(), bytes, "{version}");
        let (mut client, ticket) = asking(version);
        client.receive(&bytes);
        assert_eq!(client.poll_reply(ticket), Err(Error::Remote(read)));
    }
}

/// As from a daemon that told none. Nix 2.3 ends with the status that it is told: 0 would be success.
#[test]
fn an_error_without_a_status_is_told_as_a_failure() {
    for version in all() {
        let bytes = match !version.is_guix() && version.minor() >= 26 {
            true => "0x63787470 'Error' 0 'Error' 'no' 0 0",
            false => "0x63787470 'no' 1",
        };
        let mut server = asked(version);
        server.fail(RemoteError::new("no")).expect("its turn");
        let expected = notation::bytes(bytes, &context(version).store_dir);
        assert_eq!(server.outgoing(), expected, "{version}");
    }
}

#[test]
fn data_before_a_reply() {
    for version in all() {
        let bytes = "0x64617416 'abc' 0x64617416 '' 0x616c7473 1";
        let bytes = notation::bytes(bytes, &context(version).store_dir);
        let mut server = asked(version);
        server.data(b"abc").expect("its turn");
        server.data(b"").expect("its turn");
        server.answer::<IsValidPath>(&true).expect("its turn");
        assert_eq!(server.outgoing(), bytes, "{version}");
        let (mut client, ticket) = asking(version);
        client.receive(&bytes);
        let block = Progress::Data(b"abc".to_vec());
        assert_eq!(client.poll_reply(ticket), Ok(block));
        assert_eq!(client.poll_reply(ticket), Ok(Progress::Data(vec![])));
        assert_eq!(client.poll_reply(ticket), Ok(Progress::Ready(true)));
    }
}
