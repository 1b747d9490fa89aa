//! Data that is sent while the daemon speaks, or while nobody reads.

use std::io;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use worker_protocol::client::{Client, Event, Options, Progress};
use worker_protocol::operation::{
    AddMultipleToStore, AddTextToStore, AddToStoreNar, IsValidPath, NarFromPath, Operation,
};
use worker_protocol::wire::{Decoder, Encoder, Kind, Stop};
use worker_protocol::{
    Context, Error, Incompatible, Log, Misuse, Place, RemoteError, Request, Version,
};

use crate::script::{LAST, Script};
use crate::{TestServer, pair, path, valid_path, within};

fn add(size: usize) -> AddToStoreNar {
    let nar = vec![4; size];
    AddToStoreNar {
        path: valid_path("x", &nar),
        repair: false,
        dont_check_signatures: true,
    }
}

async fn first_request(server: &mut TestServer) -> Request {
    server
        .next_request()
        .await
        .expect("it comes")
        .expect("the client has not hung up")
}

#[tokio::test]
async fn a_daemon_that_speaks_before_it_reads_stops_nobody() {
    let (mut client, mut server) = pair(4096, Version::nix(37), Version::nix(37), false);
    let size = 3 << 20;
    let daemon = async {
        first_request(&mut server).await;
        for _ in 0..2000 {
            server
                .log(Log::Next("x".repeat(1000).into()))
                .await
                .expect("it is read");
        }
        server
            .answer::<AddToStoreNar>(&())
            .await
            .expect("it is read");
        server.flush().await.expect("it is read");
    };
    let asker = async {
        let mut lines = 0;
        let mut log = |_| lines += 1;
        let mut upload = client.upload(&add(size)).await.expect("begun");
        for piece in vec![4; size].chunks(1 << 16) {
            upload.write(piece, &mut log).await.expect("taken");
        }
        let ticket = upload.finish(&mut log).await.expect("complete");
        client.reply(ticket, &mut log).await.expect("added");
        lines
    };
    let (_, lines) = within(async { tokio::join!(daemon, asker) }).await;
    assert_eq!(lines, 2000);
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_upload_and_nothing_else() {
    let (mut client, mut server) = pair(4096, Version::nix(37), Version::nix(37), false);
    let size = 50 << 20;
    let daemon = async {
        first_request(&mut server).await;
        let (reader, mut writer, unused) = server.into_parts();
        let mut reader = std::io::Cursor::new(unused).chain(reader);
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder
            .word(0x6378_7470)
            .text("Error")
            .word(0)
            .text("Error")
            .text("disk full");
        encoder.word(0).word(0);
        writer.write_all(&bytes).await.expect("it is read");
        // What was sent already is drained up to its end: the frame of length 0.
        let mut drained = 0;
        loop {
            match reader.read_u64_le().await.expect("the frames have an end") {
                0 => break,
                length => {
                    let mut frame = vec![0; usize::try_from(length).expect("it is small")];
                    reader
                        .read_exact(&mut frame)
                        .await
                        .expect("the frame is complete");
                    drained += frame.len();
                }
            }
        }
        assert_eq!(
            reader.read_u64_le().await.expect("a request"),
            IsValidPath::NUMBER
        );
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).word(0x616c_7473).word(1);
        writer.write_all(&bytes).await.expect("it is read");
        (drained, reader, writer)
    };
    let asker = async {
        let mut upload = client.upload(&add(size)).await.expect("begun");
        let error = loop {
            if let Err(error) = upload.write(&[4; 1 << 16], &mut |_| {}).await {
                break error;
            }
        };
        assert!(
            matches!(&error, Error::Remote(RemoteError { message, .. }) if *message == "disk full")
        );
        let again = upload.write(&[4; 1 << 16], &mut |_| {}).await;
        assert_eq!(again, Err(Misuse::NoUpload.into()));
        let end = upload.finish(&mut |_| {}).await.map(|_| ());
        assert_eq!(end, Err(Misuse::NoUpload.into()));
        let valid = client
            .call(&IsValidPath { path: path("x") }, &mut |_| {})
            .await;
        assert_eq!(valid, Ok(true));
    };
    let ((drained, ..), ()) = within(async { tokio::join!(daemon, asker) }).await;
    assert!(
        drained < 4 << 20,
        "{drained} bytes of {size} were sent in vain"
    );
}

#[tokio::test]
async fn an_abandoned_upload_ends_the_connection() {
    let (mut client, _server) = pair(4096, Version::nix(37), Version::nix(37), true);
    let before = client
        .queue(&IsValidPath { path: path("x") })
        .await
        .expect("queued");
    let mut upload = client.upload(&add(100)).await.expect("begun");
    upload.write(&[4; 60], &mut |_| {}).await.expect("taken");
    let error = upload
        .write(&[4; 60], &mut |_| {})
        .await
        .expect_err("it is too much");
    assert_eq!(
        error,
        Error::Misused(Misuse::TooMuchData {
            given: 60,
            left: 40
        })
    );
    let error = upload
        .finish(&mut |_| {})
        .await
        .expect_err("it is too little");
    let place = Place {
        number: 2,
        operation: "AddToStoreNar",
    };
    let because = Some(Misuse::TooLittleData { missing: 40 });
    let abandoned = Error::Abandoned { place, because };
    assert_eq!(error, abandoned);
    let error = within(client.reply(before, &mut |_| {})).await;
    assert_eq!(error, Err(abandoned));
}

/// How much of the data was taken is not known, so that to write it again would say some of it twice.
#[tokio::test]
async fn nothing_follows_a_write_that_was_dropped() {
    let (mut client, _server) = pair(4096, Version::nix(37), Version::nix(37), true);
    let size = 8 << 20;
    let data = vec![4; size];
    let mut upload = client.upload(&add(2 * size)).await.expect("begun");
    let log = &mut |_| {};
    tokio::select! {
        biased;
        _ = upload.write(&data, log) => panic!("nobody reads it"),
        () = std::future::ready(()) => {}
    }
    let place = Place {
        number: 1,
        operation: "AddToStoreNar",
    };
    let because = None;
    let abandoned = Error::Abandoned { place, because };
    let again = within(upload.write(&data, &mut |_| {})).await;
    assert_eq!(again, Err(abandoned.clone()));
    let end = upload.finish(&mut |_| {}).await.map(|_| ());
    assert_eq!(end, Err(abandoned));
}

#[tokio::test]
async fn a_send_that_was_dropped_took_nothing() {
    let (mut client, mut server) = pair(4096, Version::nix(37), Version::nix(37), true);
    let size = 4 << 20;
    let data: Vec<u8> = (0..size).map(|index| (index / 1000) as u8).collect();
    let mut operation = add(0);
    operation.path = valid_path("x", &data);
    let daemon = async {
        first_request(&mut server).await;
        let mut got = Vec::new();
        loop {
            let chunk = server.upload_chunk().await.expect("it comes");
            if chunk.is_empty() {
                break;
            }
            got.extend_from_slice(chunk);
            let count = chunk.len();
            server.consume_upload(count);
        }
        server.answer::<AddToStoreNar>(&()).await.expect("read");
        server.flush().await.expect("it is read");
        got
    };
    let asker = async {
        let mut upload = client.upload(&operation).await.expect("begun");
        let (mut sent, mut dropped) = (0, 0);
        while sent < size {
            tokio::select! {
                biased;
                event = upload.send(&data[sent..]) => match event.expect("taken") {
                    Event::Ready(count) => {
                        assert!((1..=256 << 10).contains(&count));
                        sent += count;
                    }
                    other => panic!("{other:?}"),
                },
                () = tokio::task::yield_now() => dropped += 1,
            }
        }
        assert!(dropped > 10);
        let ticket = upload.end().expect("complete");
        client.reply(ticket, &mut |_| {}).await.expect("added");
    };
    let (got, ()) = within(async { tokio::join!(daemon, asker) }).await;
    assert!(got == data);
}

#[tokio::test]
async fn much_data_leaves_in_small_frames() {
    let (mut client, mut server) = pair(4096, Version::nix(37), Version::nix(37), true);
    let size = 5 << 20;
    let daemon = async {
        first_request(&mut server).await;
        let (reader, _writer, unused) = server.into_parts();
        let mut reader = std::io::Cursor::new(unused).chain(reader);
        let mut largest = 0;
        loop {
            let length = reader.read_u64_le().await.expect("the frames have an end");
            largest = largest.max(length);
            if length == 0 {
                return largest;
            }
            let mut frame = vec![0; usize::try_from(length).expect("it is small")];
            reader.read_exact(&mut frame).await.expect("it is complete");
        }
    };
    let asker = async {
        let mut upload = client.upload(&add(size)).await.expect("begun");
        let log = &mut |_| {};
        upload.write(&vec![4; size], log).await.expect("taken");
        upload.finish(log).await.expect("complete");
        client.flush().await.expect("it is read");
    };
    let (largest, ()) = within(async { tokio::join!(daemon, asker) }).await;
    assert_eq!(largest, 256 << 10);
}

/// Who passes a log on slowly holds the daemon up, and not the log.
#[tokio::test]
async fn a_log_is_read_as_fast_as_it_is_taken() {
    let room = 1 << 16;
    let (mut client, mut server) = pair(room, Version::nix(37), Version::nix(37), true);
    let sent = std::cell::Cell::new(0);
    let lines = 4000;
    let daemon = async {
        first_request(&mut server).await;
        for _ in 0..lines {
            let line = Log::Next("x".repeat(1000).into());
            server.log(line).await.expect("it is read");
            server.flush().await.expect("it is read");
            sent.set(sent.get() + 1);
        }
        server.answer::<IsValidPath>(&true).await.expect("read");
        server.flush().await.expect("it is read");
    };
    let asker = async {
        let ask = IsValidPath { path: path("x") };
        let ticket = client.queue(&ask).await.expect("queued");
        let mut heard = 0;
        while let Event::Log(_) = client.next(ticket).await.expect("it goes on") {
            heard += 1;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let waiting = (sent.get() - heard) * 1000;
            assert!(waiting < 1 << 20, "{waiting} bytes wait");
        }
        assert_eq!(heard, lines);
    };
    within(async { tokio::join!(daemon, asker) }).await;
}

#[tokio::test]
async fn paths_are_counted_and_measured() {
    let (mut client, _server) = pair(1 << 20, Version::nix(37), Version::nix(37), true);
    let operation = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let mut upload = client.upload_multiple(&operation, 2).await.expect("begun");
    let log = &mut |_| {};
    let early = upload.write(b"x", log).await;
    assert_eq!(early, Err(Misuse::TooMuchData { given: 1, left: 0 }.into()));
    upload.path(&valid_path("a", b"abc")).expect("its turn");
    upload.write(b"ab", log).await.expect("taken");
    let early = upload.path(&valid_path("b", b"abc"));
    assert_eq!(early, Err(Misuse::TooLittleData { missing: 1 }.into()));
    upload.write(b"c", log).await.expect("taken");
    let early = upload.finish(log).await.map(|_| ());
    let place = Place {
        number: 1,
        operation: "AddMultipleToStore",
    };
    let because = Some(Misuse::PathCount {
        given: 1,
        announced: 2,
    });
    assert_eq!(early, Err(Error::Abandoned { place, because }));
}

#[tokio::test]
async fn replies_come_in_order_and_once() {
    let (mut client, mut server) = pair(4096, Version::nix(38), Version::nix(37), false);
    let daemon = async {
        while let Some(Request::IsValidPath(_)) = server.next_request().await.expect("it goes on") {
            server
                .answer::<IsValidPath>(&true)
                .await
                .expect("it is read");
        }
    };
    let asker = async {
        let ask = IsValidPath { path: path("x") };
        let first = client.queue(&ask).await.expect("queued");
        let second = client.queue(&ask).await.expect("queued");
        let log = &mut |_| {};
        let next = Place {
            number: 1,
            operation: "IsValidPath",
        };
        let early = client.reply(second, log).await;
        assert_eq!(early, Err(Misuse::OutOfOrder { wanted: 2, next }.into()));
        assert_eq!(client.reply(first, log).await, Ok(true));
        assert_eq!(
            client.reply(first, log).await,
            Err(Misuse::AlreadyRead(1).into())
        );
        assert_eq!(client.reply(second, log).await, Ok(true));
        // A wait that is given up loses nothing.
        let third = client.queue(&ask).await.expect("queued");
        tokio::select! {
            biased;
            _ = client.reply(third, log) => panic!("the server had no time to answer"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(client.reply(third, log).await, Ok(true));
        assert_eq!(client.raw_chunk().await, Err(Misuse::NoRawData.into()));
        drop(client);
    };
    within(async { tokio::join!(daemon, asker) }).await;
}

/// A daemon that says nothing more takes nothing more: the data is not kept for it.
#[tokio::test]
async fn an_upload_behind_other_requests_ends_when_the_daemon_does() {
    let (mut client, mut daemon) = Script::with_client(Options {
        version: Version::nix(32),
        assume: Some(Version::nix(32)),
        ..Options::nix(store_path::StoreDir::NIX)
    });
    let ask = IsValidPath { path: path("x") };
    let first = client.queue(&ask).await.expect("queued");
    let second = client.queue(&ask).await.expect("queued");
    let mut operation = add(0);
    operation.path.info.nar_size = 1 << 30;
    let mut upload = client.upload(&operation).await.expect("begun");
    let log = &mut |_| {};
    upload.write(b"a beginning", log).await.expect("taken");
    daemon.greet(0x120).await;
    daemon
        .say(|encoder| {
            encoder.word(LAST).word(1);
        })
        .await;
    daemon.say_no_more().await;
    let place = |number, operation| Place { number, operation };
    let error = within(async {
        let mut taken = 0;
        loop {
            match upload.write(&[4; 1 << 16], log).await {
                Ok(()) => taken += 1 << 16,
                Err(error) => break error,
            }
            assert!(taken < 4 << 20, "{taken} bytes are kept for nobody");
        }
    })
    .await;
    let closed = |place| Error::Closed { place };
    assert_eq!(error, closed(place(3, "AddToStoreNar")));
    drop(upload);
    assert_eq!(client.reply(first, log).await, Ok(true), "it had come");
    let error = client.reply(second, log).await;
    assert_eq!(error, Err(closed(place(2, "IsValidPath"))));
}

/// A writer that fails in a way that no reader hears of.
struct Unreachable;

impl AsyncWrite for Unreachable {
    fn poll_write(self: Pin<&mut Self>, _: &mut Task<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::NetworkUnreachable.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn why_nothing_could_be_sent_is_told_where_the_daemon_says_nothing() {
    let (ours, theirs) = tokio::io::duplex(100);
    let options = Options::nix(store_path::StoreDir::NIX);
    let options = Options {
        assume: Some(Version::nix(37)),
        ..options
    };
    let mut client = worker_protocol::client::Client::new(ours, Unreachable, options);
    let ask = IsValidPath { path: path("x") };
    let ticket = client.queue(&ask).await.expect("queued");
    tokio::select! {
        biased;
        _ = client.next(ticket) => panic!("the daemon is silent"),
        () = std::future::ready(()) => {}
    }
    let failure = client.output_failure().expect("it was tried");
    let kind = io::ErrorKind::NetworkUnreachable;
    assert!(matches!(&failure, Error::Io { kind: why, .. } if *why == kind));
    drop(theirs);
    let reply = within(client.next(ticket)).await;
    assert_eq!(reply, Err(failure));
}

#[tokio::test]
async fn a_ticket_is_of_its_own_connection() {
    let client = || pair(4096, Version::nix(37), Version::nix(37), true);
    let ((mut client, mut daemon), (mut other, _)) = (client(), client());
    let path = || path("x");
    let valid = client.queue(&IsValidPath { path: path() }).await;
    let fetch = other.queue(&NarFromPath { path: path() }).await;
    let place = |operation| Place {
        number: 1,
        operation,
    };
    let foreign = Misuse::ForeignTicket {
        wanted: place("NarFromPath"),
        next: place("IsValidPath"),
    };
    let log = &mut |_| {};
    let reply = client.reply(fetch.expect("queued"), log);
    let (reply, greeted) = within(async { tokio::join!(reply, daemon.accept()) }).await;
    greeted.expect("the client follows the protocol");
    assert_eq!(reply, Err(foreign.into()));
    valid.expect("queued");
}

#[test]
fn a_version_of_the_other_dialect_is_not_assumed() {
    let (version, assumed) = (Version::GUIX_NEWEST, Version::nix(37));
    let mut session = worker_protocol::client::Session::new(Options {
        assume: Some(assumed),
        ..Options::guix(store_path::StoreDir::GUIX)
    });
    let mixed = Incompatible::Dialects { version, assumed };
    assert_eq!(session.outgoing(), b"");
    let mixed = Error::Incompatible(mixed);
    assert_eq!(session.poll_version(), Err(mixed.clone()));
    let queued = session.queue(&IsValidPath { path: path("x") });
    assert_eq!(queued.map(|_| ()), Err(mixed));
}

#[test]
fn data_without_an_upload_is_refused() {
    let none = || Error::from(Misuse::NoUpload);
    let options = Options {
        assume: Some(Version::nix(37)),
        ..Options::nix(store_path::StoreDir::NIX)
    };
    let mut session = worker_protocol::client::Session::new(options);
    assert_eq!(session.upload(b"x"), Err(none()));
    assert_eq!(session.upload_path(&valid_path("x", b"")), Err(none()));
    assert_eq!(session.poll_upload(), Err(none()));
    assert_eq!(session.finish_upload(), Err(none()));
    let mut session = worker_protocol::serve::Session::new(store_path::StoreDir::NIX, None);
    assert_eq!(session.upload(b"x"), Err(none()));
    assert_eq!(session.finish_upload(), Err(none()));
}

/// Neither the messages' number nor their parts' sizes let a peer make more of one message than is allowed.
#[test]
fn a_message_larger_than_allowed_ends_the_session() {
    let mut session = worker_protocol::client::Session::new(Options {
        assume: Some(Version::nix(32)),
        max_message: 1 << 20,
        ..Options::nix(store_path::StoreDir::NIX)
    });
    let ask = worker_protocol::operation::QueryFailedPaths {};
    assert!(session.queue(&ask).is_err(), "only Guix has it");
    let ask = worker_protocol::operation::QueryDerivationOutputNames { path: path("x") };
    let ticket = session.queue(&ask).expect("queued");
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.word(0x6478_696f).word(0x120).word(LAST);
    encoder.word(LAST).word(1000);
    let greeting = bytes.len() - 8;
    session.receive(&bytes);
    let mut item = Vec::new();
    Encoder::new(&mut item).text(vec![b'x'; 30_000]);
    let mut taken = 0;
    let error = loop {
        match session.poll_reply(ticket) {
            Ok(_) => session.receive(&item),
            Err(error) => break error,
        }
        taken += item.len();
        assert!(taken < 2 << 20, "{taken} bytes of one message are held");
    };
    let place = Place {
        number: 1,
        operation: "QueryDerivationOutputNames",
    };
    let error_at = worker_protocol::wire::Error {
        offset: greeting as u64,
        kind: Kind::TooLarge { maximum: 1 << 20 },
    };
    let error_there = Error::Malformed {
        place,
        error: error_at,
    };
    assert_eq!(error, error_there);

    let mut options = worker_protocol::server::Options::nix(store_path::StoreDir::NIX, "1");
    options.max_message = 1 << 10;
    let mut session = worker_protocol::server::Session::new(options);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.word(0x6e69_7863).word(0x120).word(0).word(0);
    encoder.word(31).word(1 << 20);
    session.receive(&bytes);
    let error = session.poll_request().expect_err("it is too large");
    let Error::Malformed { error, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind, Kind::TooLarge { maximum: 1 << 10 });
}

/// A `.drv` file goes as text before 1.25 and in Guix's dialect, and can be large.
#[test]
fn a_text_may_be_as_long_as_a_file_and_its_name_as_long_as_a_name() {
    let context = Context::new(store_path::StoreDir::GUIX, Version::GUIX_NEWEST);
    let text = |name: usize, contents: usize| AddTextToStore {
        name: vec![b'x'; name].into(),
        contents: vec![b'x'; contents].into(),
        references: [].into(),
    };
    let read = |text: &AddTextToStore| {
        let mut bytes = Vec::new();
        text.encode(&mut Encoder::new(&mut bytes), &context);
        AddTextToStore::decode(&mut Decoder::new(&bytes), &context)
    };
    let large = text(5, 20 << 20);
    assert!(read(&large) == Ok(large));
    let stop = read(&text(100_000, 1)).expect_err("no name is so long");
    assert!(matches!(stop, Stop::Malformed(error) if error.offset == 0));
}

#[test]
fn no_more_than_what_came_is_held_for_a_length_that_was_only_announced() {
    let options = Options {
        assume: Some(Version::nix(37)),
        ..Options::nix(store_path::StoreDir::NIX)
    };
    let mut session = worker_protocol::client::Session::new(options);
    let ticket = session
        .queue(&NarFromPath { path: path("x") })
        .expect("queued");
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder
        .word(0x6478_696f)
        .word(0x125)
        .text("2")
        .word(1)
        .word(0x616c_7473);
    encoder.word(0x6f6c_6d67).word(16 << 20);
    session.receive(&bytes);
    assert_eq!(
        session.poll_reply(ticket),
        Ok(Progress::NeedBytes(16 << 20))
    );
    assert!(session.space().len() <= 1 << 20);
}

/// A writer that fails is often seen before the end of what the peer has said, which is waited for: an upload that
/// never has to wait would read all of its data for nobody.
#[tokio::test]
async fn an_upload_to_who_takes_nothing_waits_for_the_end_of_what_is_said() {
    for said in [&b""[..], b"a last word"] {
        let (reader, mut mouth) = duplex(1 << 10);
        let (writer, ear) = duplex(1 << 20);
        let mut client = Client::new(
            reader,
            writer,
            Options {
                version: Version::nix(32),
                assume: Some(Version::nix(32)),
                ..Options::nix(store_path::StoreDir::NIX)
            },
        );
        let mut operation = add(0);
        operation.path.info.nar_size = 1 << 30;
        let log = &mut |_| {};
        let mut upload = client.upload(&operation).await.expect("begun");
        drop(ear);
        let peer = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            mouth.write_all(said).await.expect("it is read");
            tokio::task::yield_now().await;
        });
        let error = within(async {
            let mut taken = 0;
            loop {
                match upload.write(&[4; 1 << 16], log).await {
                    Ok(()) => taken += 1 << 16,
                    Err(error) => break error,
                }
                assert!(taken < 4 << 20, "{taken} bytes are read for nobody");
            }
        })
        .await;
        peer.await.expect("it is done");
        match said {
            b"" => assert!(matches!(error, Error::Closed { .. }), "{error:?}"),
            _ => assert!(matches!(error, Error::Incompatible(_)), "{error:?}"),
        }
    }
}
