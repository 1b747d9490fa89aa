use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir};

use crate::client::{self, Progress, Ticket};
use crate::operation::{
    AddMultipleToStore, AddToStore, AddToStoreNar, BuildDerivation, ExportPath, ImportPaths,
    IsValidPath, NarFromPath, QueryAllValidPaths, QueryPathInfo, QueryValidPaths, Upload,
    UploadOperation,
};
use crate::wire::{Decoder, Encoder, Stop, limit};
use crate::{
    BasicDerivation, BuildMode, Context, Error, Misuse, NarHash, Operation, PathInfo, RemoteError,
    Request, ValidPathInfo, Version, server,
};

/// The most bytes that a message may have here: less than what many inputs announce.
const MESSAGE: usize = 2000;

/// What a session may hold of what it was given and has not yet understood.
const ROOM: usize = 1 << 20;

/// A version, from the first byte of an input.
pub(super) fn version_from(byte: u8) -> Version {
    let nix = Version::NIX_NEWEST.minor() - Version::NIX_OLDEST.minor() + 1;
    let guix = Version::GUIX_NEWEST.minor() - Version::GUIX_OLDEST.minor() + 1;
    match byte % (nix + guix) {
        minor if minor < nix => Version::nix(Version::NIX_OLDEST.minor() + minor),
        minor => Version::guix(Version::GUIX_OLDEST.minor() + minor - nix),
    }
}

/// Values of the basic shapes: what is read is written the same, and what is missing is really missing.
/// The first byte of `data` says which shapes, two bits each.
///
/// # Panics
/// If that does not hold.
pub fn wire_identity(data: &[u8]) {
    let Some((&shapes, bytes)) = data.split_first() else {
        return;
    };
    let mut decoder = Decoder::new(bytes);
    let mut out = Vec::new();
    for shape in [shapes & 3, shapes >> 2 & 3, shapes >> 4 & 3, shapes >> 6] {
        let before = decoder.clone();
        match copy(shape, &mut decoder, &mut Encoder::new(&mut out)) {
            Ok(()) => {}
            Err(Stop::Malformed(error)) => {
                assert!(error.offset <= bytes.len() as u64);
                return;
            }
            Err(Stop::Incomplete { at_least }) => {
                assert!(at_least > 0);
                // With so many bytes less than announced it must still be incomplete.
                let mut longer = bytes[before.consumed()..].to_vec();
                longer.resize(longer.len() + (at_least - 1).min(1 << 16), 0);
                let again = copy(
                    shape,
                    &mut Decoder::new(&longer),
                    &mut Encoder::new(&mut Vec::new()),
                );
                let sure = at_least - 1 <= 1 << 16;
                assert!(
                    !sure || again.is_err(),
                    "a shape that was complete was called incomplete"
                );
                return;
            }
        }
    }
    assert_eq!(out, bytes[..decoder.consumed()]);
}

/// Reads one shape and writes it.
fn copy(shape: u8, decoder: &mut Decoder<'_>, encoder: &mut Encoder<'_>) -> Result<(), Stop> {
    match shape {
        0 => {
            encoder.word(decoder.word()?);
        }
        1 => {
            encoder.bytes(decoder.bytes(limit::NAME)?);
        }
        2 => {
            let items = decoder.list(limit::ITEMS, 8, |decoder| decoder.bytes(limit::NAME))?;
            encoder.list(items, |encoder, item| {
                encoder.bytes(item);
            });
        }
        _ => {
            let value = decoder.optional(|decoder| decoder.bytes(limit::NAME))?;
            encoder.optional(value, |encoder, value| {
                encoder.bytes(value);
            });
        }
    }
    Ok(())
}

/// Requests: what is read is, once written, read as the same. The first byte of `data` is the version.
///
/// # Panics
/// If that does not hold.
pub fn requests(data: &[u8]) {
    let Some((&version, bytes)) = data.split_first() else {
        return;
    };
    let context = Context {
        store_dir: StoreDir::NIX,
        version: version_from(version),
    };
    let read = |bytes: &[u8]| {
        let mut decoder = Decoder::new(bytes);
        let number = decoder.word()?;
        Request::decode(number, &mut decoder, &context)
    };
    let Ok(Some(request)) = read(bytes) else {
        return;
    };
    let mut out = Vec::new();
    request.encode(&mut Encoder::new(&mut out), &context);
    assert_eq!(read(&out), Ok(Some(request)));
}

/// A client that hears arbitrary bytes from its daemon: it never panics, never waits for nothing, and gives
/// every request an end. The first two bytes of `data` choose version, assumption and size of the pieces.
///
/// # Panics
/// If that does not hold.
pub fn client_session(data: &[u8]) {
    let [version, pieces, bytes @ ..] = data else {
        return;
    };
    let version = version_from(*version);
    let options = client::Options {
        version,
        assume: (pieces & 1 == 1).then_some(version),
        max_message: MESSAGE,
        ..client::Options::nix(StoreDir::NIX)
    };
    let mut session = client::Session::new(options);
    let mut pieces = bytes.chunks(1 + usize::from(pieces >> 1));
    let mut feed = |session: &mut client::Session| {
        assert!(session.buffered() <= MESSAGE, "more than a message is held");
        match pieces.next() {
            Some(piece) => session.receive(piece),
            None => session.input_ended(None),
        }
    };
    while let Ok(Progress::NeedBytes(count)) = session.poll_version() {
        assert!(count > 0);
        feed(&mut session);
    }
    let path = StoreDir::NIX
        .parse("/nix/store/00000000000000000000000000000000-x")
        .expect("it is a store path");
    let derivation = BasicDerivation::default();
    let build = BuildDerivation {
        path: path.clone(),
        derivation,
        mode: BuildMode::Normal,
    };
    let valid = QueryValidPaths {
        paths: [path.clone()].into(),
        substitute: false,
    };
    hear(&mut session, &IsValidPath { path: path.clone() }, &mut feed);
    hear(
        &mut session,
        &QueryPathInfo { path: path.clone() },
        &mut feed,
    );
    hear(&mut session, &valid, &mut feed);
    hear(&mut session, &build, &mut feed);
    hear(&mut session, &NarFromPath { path }, &mut feed);
    if session.is_raw() && session.raw().is_ok_and(|raw| !raw.is_empty()) {
        session.consume_raw(1);
    }
    hear(&mut session, &QueryAllValidPaths {}, &mut feed);
    send_all(&mut session, &mut feed);
    // The one byte that is made room for, and what was read ahead.
    assert!(session.space().len() <= ROOM, "more than came is held");
}

/// Requests with data, and those that deliver some.
fn send_all(session: &mut client::Session, feed: &mut impl FnMut(&mut client::Session)) {
    let path = StoreDir::NIX
        .parse("/nix/store/00000000000000000000000000000000-x")
        .expect("it is a store path");
    let info = PathInfo::new(NarHash::of(b""), 1000);
    let add = AddToStoreNar {
        path: ValidPathInfo {
            path: path.clone(),
            info,
        },
        repair: false,
        dont_check_signatures: true,
    };
    let file = AddToStore {
        name: "x".into(),
        method: ContentAddressMethod::Recursive,
        algorithm: HashAlgorithm::Sha256,
        references: [].into(),
        repair: false,
    };
    hear(session, &ExportPath { path, sign: true }, feed);
    send(session, &add, &[1; 1000], feed);
    send(session, &file, &[2; 70_000], feed);
    send(session, &ImportPaths {}, &[3; 1000], feed);
    let many = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    if let Ok(ticket) = session.begin_multiple(&many, 1)
        && session.upload_path(&add.path).is_ok()
        && session.upload(&[1; 1000]).is_ok()
        && session.finish_upload().is_ok()
    {
        hear_reply(session, ticket, feed);
    }
}

/// Sends a request with its data and reads its reply to the end.
fn send<O: UploadOperation>(
    session: &mut client::Session,
    operation: &O,
    data: &[u8],
    feed: &mut impl FnMut(&mut client::Session),
) {
    let Ok(ticket) = session.begin_upload(operation) else {
        return;
    };
    let asked_for = O::upload(session.context().version) == Upload::Tunnelled;
    let mut rest = data;
    loop {
        match session.poll_upload() {
            Ok(Progress::Log(_) | Progress::Data(_)) => continue,
            Ok(Progress::NeedBytes(count)) if asked_for => {
                assert!(count > 0);
                feed(session);
                continue;
            }
            Ok(Progress::NeedBytes(_) | Progress::Ready(())) => {}
            Err(error) => {
                let again = session.upload(rest).expect_err("it is over");
                assert_eq!(error.is_survivable(), again == Misuse::NoUpload.into());
                return;
            }
        }
        if rest.is_empty() {
            break;
        }
        let piece = &rest[..rest.len().min(30_000)];
        let taken = session.upload(piece).expect("it is under way");
        rest = &rest[taken..];
    }
    session.finish_upload().expect("it is complete");
    hear_reply(session, ticket, feed);
}

/// Sends a request and reads its reply to the end.
fn hear<O: Operation>(
    session: &mut client::Session,
    operation: &O,
    feed: &mut impl FnMut(&mut client::Session),
) {
    if let Ok(ticket) = session.queue(operation) {
        hear_reply(session, ticket, feed);
    }
}

/// Reads a reply to the end.
fn hear_reply<O: Operation>(
    session: &mut client::Session,
    ticket: Ticket<O>,
    feed: &mut impl FnMut(&mut client::Session),
) {
    loop {
        match session.poll_reply(ticket) {
            Ok(Progress::Ready(_)) => return,
            Ok(Progress::Log(_) | Progress::Data(_)) => {}
            Ok(Progress::NeedBytes(count)) => {
                assert!(count > 0);
                feed(session);
            }
            Err(error) => {
                let again = session
                    .poll_reply(ticket)
                    .map(|_| ())
                    .expect_err("it had its end");
                let read = matches!(again, Error::Misused(_));
                assert!(if error.is_survivable() {
                    read
                } else {
                    again == error
                });
                return;
            }
        }
    }
}

/// A server that hears arbitrary bytes from its client: it never panics, never waits for nothing, and comes
/// to an end. The first two bytes of `data` choose version and size of the pieces.
///
/// # Panics
/// If that does not hold.
pub fn server_session(data: &[u8]) {
    let [version, pieces, bytes @ ..] = data else {
        return;
    };
    let mut options = server::Options::nix(StoreDir::NIX, "1");
    options.version = version_from(*version);
    options.max_message = MESSAGE;
    let mut session = server::Session::new(options);
    let mut pieces = bytes.chunks(1 + usize::from(*pieces));
    let mut feed = |session: &mut server::Session| {
        assert!(session.buffered() <= MESSAGE, "more than a message is held");
        match pieces.next() {
            Some(piece) => session.receive(piece),
            None => session.input_ended(None),
        }
    };
    loop {
        match session.poll_request() {
            Ok(server::Progress::NeedBytes(count)) => {
                assert!(count > 0);
                feed(&mut session);
            }
            Ok(server::Progress::Ready(Some(request))) => {
                if serve(&mut session, &request, &mut feed).is_err() {
                    return;
                }
            }
            Ok(server::Progress::Ready(None)) | Err(_) => return,
        }
    }
}

/// Reads a request's data in one of its ways, and fails the request.
fn serve(
    session: &mut server::Session,
    request: &Request,
    feed: &mut impl FnMut(&mut server::Session),
) -> Result<(), Error> {
    let mut wait = |session: &mut server::Session, count: usize| {
        assert!(count > 0);
        feed(session);
    };
    match request {
        Request::AddMultipleToStore(_) => loop {
            match session.poll_path()? {
                server::Progress::NeedBytes(count) => wait(session, count),
                server::Progress::Ready(Some(_)) => {}
                server::Progress::Ready(None) => break,
            }
        },
        Request::AddToStoreNar(AddToStoreNar { repair: false, .. }) => loop {
            match session.poll_upload()? {
                server::Progress::NeedBytes(count) => wait(session, count),
                server::Progress::Ready(true) => session.consume_upload(1),
                server::Progress::Ready(false) => break,
            }
        },
        Request::AddToStore(_) => session.end_inline_upload(),
        _ => {}
    }
    while let server::Progress::NeedBytes(count) = session.poll_drain()? {
        wait(session, count);
    }
    session.fail(RemoteError::new("no"))
}
