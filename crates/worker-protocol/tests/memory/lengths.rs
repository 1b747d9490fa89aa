//! A server whose clients send less or more data than they announce.

use store_path::StoreDir;
use worker_protocol::operation::{
    AddMultipleToStore, AddToStoreNar, ImportPaths, IsValidPath, NarFromPath, Operation,
};
use worker_protocol::server::{Options, Progress, Session};
use worker_protocol::wire::{Encoder, Kind};
use worker_protocol::{
    Context, Error, Misuse, Place, RemoteError, Request, ValidPathInfo, Value, Version,
};

use crate::{path, valid_path};

fn context(version: Version) -> Context {
    Context::new(StoreDir::NIX, version)
}

/// A server that has read `request`, with `data` behind it, and then another request.
fn asked(version: Version, request: impl Into<Request>, data: &[u8]) -> Session {
    let mut session = asked_alone(version, request, data);
    let mut bytes = Vec::new();
    let another = Request::from(IsValidPath { path: path("x") });
    another.encode(&mut Encoder::new(&mut bytes), &context(version));
    session.receive(&bytes);
    session
}

/// A server that has read `request`, with `data` behind it.
fn asked_alone(version: Version, request: impl Into<Request>, data: &[u8]) -> Session {
    let mut options = Options::nix(StoreDir::NIX, "1");
    options.version = version;
    let mut session = Session::new(options);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.word(0x6e69_7863).word(version.to_word());
    encoder.word(0).word(0);
    request.into().encode(&mut encoder, &context(version));
    session.receive(&bytes);
    session.receive(data);
    let request = session.poll_request().expect("it is one");
    assert!(matches!(request, Progress::Ready(Some(_))));
    session
}

/// Fails the request as a server does, and reads the one behind it.
fn go_on(session: &mut Session) {
    assert_eq!(session.poll_drain(), Ok(Progress::Ready(())));
    session.fail(RemoteError::new("no")).expect("its turn");
    let another = session.poll_request().expect("the connection goes on");
    assert!(matches!(
        another,
        Progress::Ready(Some(Request::IsValidPath(_)))
    ));
}

fn add(nar: &[u8]) -> AddToStoreNar {
    AddToStoreNar {
        path: valid_path("x", nar),
        repair: false,
        dont_check_signatures: true,
    }
}

fn frames(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        Encoder::new(&mut bytes).word(frame.len() as u64);
        bytes.extend_from_slice(frame);
    }
    Encoder::new(&mut bytes).word(0);
    bytes
}

fn wrong<T>(operation: &'static str, more: bool) -> Result<T, Error> {
    let place = Place {
        number: 1,
        operation,
    };
    Err(Error::WrongLength { place, more })
}

/// Reads the data to its end; how much there was of it.
fn read(session: &mut Session) -> Result<usize, Error> {
    let mut total = 0;
    while let Progress::Ready(true) = session.poll_upload()? {
        let count = session.upload().len();
        session.consume_upload(count);
        total += count;
    }
    Ok(total)
}

#[test]
fn framed_archives() {
    let version = Version::nix(32);
    let name = AddToStoreNar::NAME;
    let mut session = asked(version, add(&[1; 10]), &frames(&[&[1; 6], &[1; 4]]));
    assert_eq!(read(&mut session), Ok(10));
    let mut session = asked(version, add(&[1; 10]), &frames(&[&[1; 6], &[1; 3]]));
    assert_eq!(read(&mut session), wrong(name, false));
    go_on(&mut session);
    for surplus in [&[&[1; 11][..]][..], &[&[1; 10], &[1]]] {
        let mut session = asked(version, add(&[1; 10]), &frames(surplus));
        assert_eq!(read(&mut session), wrong(name, true));
        go_on(&mut session);
    }
}

#[test]
fn archives_that_are_asked_for() {
    let version = Version::nix(21);
    let mut block = Vec::new();
    Encoder::new(&mut block).bytes(&[1; 10]);
    let mut session = asked(version, add(&[1; 10]), &block);
    assert_eq!(read(&mut session), Ok(10));
    let mut session = asked(version, add(&[1; 9]), &block);
    assert_eq!(read(&mut session), wrong(AddToStoreNar::NAME, true));
    go_on(&mut session);
    let mut ended = Vec::new();
    Encoder::new(&mut ended).bytes(&[1; 10]).bytes(&[]);
    let mut session = asked(version, add(&[1; 11]), &ended);
    assert_eq!(read(&mut session), wrong(AddToStoreNar::NAME, false));
    go_on(&mut session);
}

/// The zeros behind a block may come later than the block.
#[test]
fn data_that_is_asked_for_and_comes_byte_by_byte() {
    let version = Version::nix(32);
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).bytes(b"one").bytes(b"three");
    Request::from(IsValidPath { path: path("x") })
        .encode(&mut Encoder::new(&mut bytes), &context(version));
    let mut session = asked_alone(version, ImportPaths {}, b"");
    let mut rest = bytes.iter();
    let mut wait = |session: &mut Session| session.receive(&[*rest.next().expect("more is there")]);
    let mut got = Vec::new();
    while got.len() < 8 {
        match session.poll_upload().expect("it is well-formed") {
            Progress::NeedBytes(_) => wait(&mut session),
            Progress::Ready(more) => {
                assert!(more);
                got.extend_from_slice(session.upload());
                session.consume_upload(session.upload().len());
            }
        }
    }
    assert_eq!(got, b"onethree");
    while let Progress::NeedBytes(_) = session.poll_drain().expect("it is well-formed") {
        wait(&mut session);
    }
    let added = session.answer::<ImportPaths>(&vec![]);
    added.expect("its data was read");
    loop {
        match session.poll_request().expect("it is well-formed") {
            Progress::NeedBytes(_) => wait(&mut session),
            Progress::Ready(next) => {
                assert!(matches!(next, Some(Request::IsValidPath(_))));
                return;
            }
        }
    }
}

/// The data of AddMultipleToStore: `count` paths are announced, `given` come.
fn many(count: u64, given: &[(&ValidPathInfo, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).word(count);
    for (path, nar) in given {
        path.encode(&mut Encoder::new(&mut bytes), &context(Version::nix(16)));
        bytes.extend_from_slice(nar);
    }
    bytes
}

/// Reads all paths and their archives.
fn read_many(session: &mut Session) -> Result<usize, Error> {
    let mut paths = 0;
    while let Progress::Ready(Some(_)) = session.poll_path()? {
        paths += 1;
    }
    Ok(paths)
}

#[test]
fn many_archives() {
    let operation = || AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let name = AddMultipleToStore::NAME;
    let (one, two) = (valid_path("one", &[1; 5]), valid_path("two", &[2; 7]));
    let both = many(2, &[(&one, &[1; 5]), (&two, &[2; 7])]);
    let short = many(2, &[(&one, &[1; 5]), (&two, &[2; 6])]);
    let more = many(1, &[(&one, &[1; 5]), (&two, &[2; 7])]);
    for (data, result) in [
        (both, Ok(2)),
        (short, wrong(name, false)),
        (more, wrong(name, true)),
    ] {
        for cut in [1, 3, 8, 100_000] {
            let parts: Vec<&[u8]> = data.chunks(cut).collect();
            let mut session = asked(Version::nix(32), operation(), &frames(&parts));
            assert_eq!(read_many(&mut session), result);
            go_on(&mut session);
        }
    }
}

#[test]
fn an_error_in_data_says_where_in_the_stream_it_is_however_that_is_framed() {
    let operation = || AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let mut data = many(1, &[(&valid_path("one", &[1; 5]), &[1; 5])]);
    // The length of the path, and half of it, are right.
    data[40] = 0xff;
    for cut in [4, 8, 20, 100_000] {
        let parts: Vec<&[u8]> = data.chunks(cut).collect();
        let framed = frames(&parts);
        let mut session = asked(Version::nix(32), operation(), &framed);
        let mut before = Vec::new();
        let mut encoder = Encoder::new(&mut before);
        encoder.word(0).word(0).word(0).word(0);
        let request = Request::from(operation());
        request.encode(&mut encoder, &context(Version::nix(32)));
        // The path is the second value of the data, behind the count.
        let within = 8 + 8 * (8 / cut + 1);
        let error = session.poll_path().expect_err("it is no path");
        let Error::Malformed { error, .. } = error else {
            panic!("{error}");
        };
        assert!(matches!(error.kind, Kind::Text { .. }));
        assert_eq!(error.offset, (before.len() + within) as u64, "by {cut}");
    }
}

#[test]
fn an_archive_is_sent_only_behind_its_answer() {
    let fetch = || NarFromPath { path: path("x") };
    let mut session = asked(Version::nix(32), fetch(), b"");
    let early = Err(Misuse::NoRawData.into());
    assert_eq!(session.raw(b"early"), early);
    session.answer::<NarFromPath>(&()).expect("its turn");
    session.raw(b"an archive").expect("its turn");
    session.poll_request().expect("the next one");
    assert_eq!(session.raw(b"late"), early);
    session.answer::<IsValidPath>(&true).expect("its turn");
    assert_eq!(session.raw(b"elsewhere"), early);
}
