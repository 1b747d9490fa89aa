//! Recorded conversations with real daemons, said again: whole, in pieces, and cut anywhere.

mod conversation;
mod serve;
mod serve_conversation;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use conversation::Conversation;
use store_path::StoreDir;
use tokio::io::{AsyncRead, ReadBuf};
use worker_protocol::client::{Client, Options};
use worker_protocol::export::{self, Trailer};
use worker_protocol::server::{self, Progress};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{Context, Error, Request, Value, Version};

struct Recording {
    name: String,
    options: Options,
    daemon: Vec<u8>,
    client: Vec<u8>,
}

/// The recordings in a directory, by the files that hold their stores' directories.
fn stores(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory is part of the crate")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "store"))
        .collect();
    paths.sort();
    paths
}

fn store_dir(path: &Path) -> StoreDir {
    let text = std::fs::read_to_string(path).expect("it is there");
    StoreDir::new(text).expect("it was one when it was written")
}

fn name(path: &Path) -> String {
    let name = path.file_stem().expect("it has a name");
    name.display().to_string()
}

fn recordings() -> Vec<Recording> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let read =
        |path: &Path, end: &str| std::fs::read(path.with_extension(end)).expect("it is there");
    let recordings: Vec<Recording> = stores(&directory)
        .iter()
        .map(|path| {
            let (name, store_dir) = (name(path), store_dir(path));
            let options = match name.starts_with("guix") {
                true => Options::guix(store_dir),
                false => Options {
                    version: Version::NIX_NEWEST,
                    ..Options::nix(store_dir)
                },
            };
            let (daemon, client) = (read(path, "daemon"), read(path, "client"));
            Recording {
                name,
                options,
                daemon,
                client,
            }
        })
        .collect();
    assert!(recordings.len() >= 4, "they are part of the crate");
    recordings
}

/// What a peer does when it has said its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    HangsUp,
    Resets,
    Stalls,
}

/// Bytes that come in pieces of a certain size.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    then: Then,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.size.min(self.bytes.len()).min(buffer.remaining());
        match self.then {
            Then::Stalls if count == 0 => return Poll::Pending,
            Then::Resets if count == 0 => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            _ => {}
        }
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

/// What became of a client's conversation.
struct Replay {
    result: Result<(), Error>,
    heard: Vec<String>,
    sent: Vec<u8>,
    /// The replies, written again.
    replies: Vec<Vec<u8>>,
}

async fn replay(recording: &Recording, bytes: &[u8], size: usize, then: Then) -> Replay {
    let mut sent = Vec::new();
    let pieces = Pieces { bytes, size, then };
    let mut conversation =
        Conversation::new(Client::new(pieces, &mut sent, recording.options.clone()));
    let result = conversation.run().await;
    let heard = std::mem::take(&mut conversation.heard);
    let replies = std::mem::take(&mut conversation.replies);
    drop(conversation);
    Replay {
        result,
        heard,
        sent,
        replies,
    }
}

#[tokio::test]
async fn what_is_said_and_heard_is_the_same_again() {
    for recording in recordings() {
        let again = replay(&recording, &recording.daemon, usize::MAX, Then::HangsUp).await;
        again
            .result
            .unwrap_or_else(|error| panic!("{}: {error}", recording.name));
        assert_eq!(again.sent, recording.client, "{}", recording.name);
        insta::assert_snapshot!(recording.name.as_str(), again.heard.join("\n"));
    }
}

#[tokio::test]
async fn replies_are_written_as_the_daemon_wrote_them() {
    for recording in recordings() {
        let again = replay(&recording, &recording.daemon, usize::MAX, Then::HangsUp).await;
        assert!(again.replies.len() >= 7, "{}", recording.name);
        let mut rest = &recording.daemon[..];
        for reply in again.replies.into_iter().filter(|reply| !reply.is_empty()) {
            let place = rest.windows(reply.len()).position(|window| window == reply);
            let place = place.unwrap_or_else(|| panic!("{}: {reply:?}", recording.name));
            rest = &rest[place + reply.len()..];
        }
    }
}

#[tokio::test]
async fn the_size_of_the_pieces_makes_no_difference() {
    for recording in recordings() {
        let whole = replay(&recording, &recording.daemon, usize::MAX, Then::HangsUp).await;
        for size in [1, 2, 3, 7, 8, 9, 64, 1000] {
            let again = replay(&recording, &recording.daemon, size, Then::HangsUp).await;
            assert_eq!(again.result, Ok(()), "{} by {size}", recording.name);
            assert_eq!(again.heard, whole.heard, "{} by {size}", recording.name);
            assert_eq!(again.sent, recording.client, "{} by {size}", recording.name);
        }
    }
}

#[tokio::test]
async fn a_daemon_that_ends_anywhere_gives_an_error_that_says_where() {
    for recording in recordings() {
        for cut in 0..recording.daemon.len() {
            let said = &recording.daemon[..cut];
            let result = replay(&recording, said, usize::MAX, Then::HangsUp)
                .await
                .result;
            assert!(
                matches!(result, Err(Error::Closed { .. })),
                "{} cut at {cut}: {result:?}",
                recording.name
            );
            let result = replay(&recording, said, usize::MAX, Then::Resets)
                .await
                .result;
            assert!(
                matches!(&result, Err(Error::Io { kind, .. }) if *kind == io::ErrorKind::ConnectionReset),
                "{} cut at {cut}: {result:?}",
                recording.name
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stalls_anywhere_leaves_the_wait_to_the_caller() {
    for recording in recordings() {
        for cut in 0..recording.daemon.len() {
            let said = &recording.daemon[..cut];
            let stalled = replay(&recording, said, usize::MAX, Then::Stalls);
            let result = tokio::time::timeout(Duration::from_secs(1), stalled).await;
            assert!(result.is_err(), "{} stalled at {cut}", recording.name);
        }
    }
}

#[tokio::test]
async fn a_wrong_byte_anywhere_from_a_daemon_is_never_a_panic() {
    for recording in recordings() {
        for place in 0..recording.daemon.len() {
            let mut bytes = recording.daemon.clone();
            bytes[place] ^= [0x01, 0x41, 0xff][place % 3];
            // It is an error, or another answer; in any case it ends.
            let _ = replay(&recording, &bytes, usize::MAX, Then::HangsUp).await;
        }
    }
}

/// A server's half of a conversation, which fails every request.
struct Served {
    requests: Vec<Request>,
    session: server::Session,
    /// Whether it ended while data of a request was read.
    within_data: bool,
    /// How it ended: with the client's hanging up, or with how many bytes it waits for.
    end: Result<Progress<()>, Error>,
}

fn serve(recording: &Recording, bytes: &[u8], then: Then) -> Served {
    let word = recording.daemon[8..16].try_into().expect("eight bytes");
    let dialect = recording.options.version.dialect();
    let version = Version::from_word(dialect, u64::from_le_bytes(word));
    let options = server::Options {
        version: version.expect("the daemon's second word is its version"),
        ..server::Options::nix(recording.options.store_dir.clone(), "")
    };
    let mut session = server::Session::new(options);
    session.receive(bytes);
    match then {
        Then::HangsUp => session.input_ended(None),
        Then::Resets => session.input_ended(Some(&io::ErrorKind::ConnectionReset.into())),
        Then::Stalls => {}
    }
    let mut requests = Vec::new();
    let mut within_data = false;
    let end = loop {
        match session.poll_request() {
            Ok(Progress::Ready(Some(request))) => {
                let served = fail(&mut session, &request);
                requests.push(request);
                match served {
                    Ok(Progress::Ready(())) => {}
                    other => {
                        within_data = true;
                        break other;
                    }
                }
            }
            Ok(Progress::Ready(None)) => break Ok(Progress::Ready(())),
            Ok(Progress::NeedBytes(count)) => break Ok(Progress::NeedBytes(count)),
            Err(error) => break Err(error),
        }
    };
    Served {
        requests,
        session,
        within_data,
        end,
    }
}

/// Whether this is an export of one path with the only archive that is sent here.
fn is_whole_export(stream: &[u8], context: &Context) -> bool {
    let mut decoder = Decoder::new(stream);
    let archive = conversation::nar(b"hello").len();
    let read = export::decode_next(&mut decoder)
        .and_then(|_| decoder.raw(archive))
        .and_then(|_| Trailer::decode(&mut decoder, context))
        .and_then(|_| export::decode_next(&mut decoder));
    read.is_ok()
}

/// Reads the data of a request, and fails it.
fn fail(session: &mut server::Session, request: &Request) -> Result<Progress<()>, Error> {
    match request {
        Request::AddToStore(_) => {
            // Its end is known to a decoder of archives.
            let mut left = conversation::nar(b"hello").len();
            while left > 0 {
                if let Progress::NeedBytes(count) = session.poll_upload()? {
                    return Ok(Progress::NeedBytes(count));
                }
                let count = session.upload().len().min(left);
                session.consume_upload(count);
                left -= count;
            }
            session.end_inline_upload();
        }
        Request::ImportPaths(_) => {
            // Its end is known to who reads what is in it.
            let mut stream = Vec::new();
            while !is_whole_export(&stream, session.context()) {
                if let Progress::NeedBytes(count) = session.poll_upload()? {
                    return Ok(Progress::NeedBytes(count));
                }
                stream.extend_from_slice(session.upload());
                session.consume_upload(session.upload().len());
            }
        }
        Request::AddToStoreNar(_) => loop {
            match session.poll_upload()? {
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Ready(true) => session.consume_upload(session.upload().len()),
                Progress::Ready(false) => break,
            }
        },
        _ => {}
    }
    if let Progress::NeedBytes(count) = session.poll_drain()? {
        return Ok(Progress::NeedBytes(count));
    }
    session.fail(worker_protocol::RemoteError::new(""))?;
    Ok(Progress::Ready(()))
}

#[test]
fn the_server_half_reads_what_was_sent_and_would_send_it_so() {
    for recording in recordings() {
        let served = serve(&recording, &recording.client, Then::HangsUp);
        assert_eq!(served.end, Ok(Progress::Ready(())), "{}", recording.name);
        assert!(served.requests.len() >= 9, "{}", recording.name);
        let mut rest = &recording.client[..];
        for request in served.requests {
            let mut bytes = Vec::new();
            request.encode(&mut Encoder::new(&mut bytes), served.session.context());
            let place = rest.windows(bytes.len()).position(|window| window == bytes);
            let place = place.unwrap_or_else(|| panic!("{}: {request:?}", recording.name));
            rest = &rest[place + bytes.len()..];
        }
    }
}

#[test]
fn a_client_that_ends_or_stalls_anywhere_is_an_end_an_error_or_a_wait() {
    for recording in recordings() {
        for cut in 0..recording.client.len() {
            let (said, name) = (&recording.client[..cut], &recording.name);
            let stalled = serve(&recording, said, Then::Stalls);
            let Ok(Progress::NeedBytes(count)) = stalled.end else {
                panic!("{name} stalled at {cut}: {:?}", stalled.end);
            };
            assert!(
                count > 0 && count <= recording.client.len() - cut,
                "{name} stalled at {cut} waits for {count} bytes"
            );
            // Between two requests nothing is left over.
            let between = stalled.session.version().is_some()
                && stalled.session.buffered() == 0
                && !stalled.within_data;
            let ended = serve(&recording, said, Then::HangsUp).end;
            assert!(
                match &ended {
                    Ok(progress) => between && *progress == Progress::Ready(()),
                    Err(error) => !between && matches!(error, Error::Closed { .. }),
                },
                "{name} cut at {cut}: {ended:?}"
            );
            let reset = serve(&recording, said, Then::Resets).end;
            assert!(
                matches!(&reset, Err(Error::Io { kind, .. }) if *kind == io::ErrorKind::ConnectionReset),
                "{name} reset at {cut}: {reset:?}"
            );
        }
    }
}

#[test]
fn a_wrong_byte_anywhere_from_a_client_is_never_a_panic() {
    for recording in recordings() {
        for place in 0..recording.client.len() {
            for wrong in [0x01, 0x41, 0xff] {
                let mut bytes = recording.client.clone();
                bytes[place] ^= wrong;
                let _ = serve(&recording, &bytes, Then::HangsUp);
            }
        }
    }
}
