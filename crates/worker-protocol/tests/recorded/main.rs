//! Recorded conversations with real daemons, said again: whole, in pieces, and cut anywhere.

mod conversation;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use conversation::Conversation;
use store_path::StoreDir;
use tokio::io::{AsyncRead, ReadBuf};
use worker_protocol::client::{Client, Options};
use worker_protocol::server::{self, Progress};
use worker_protocol::wire::Encoder;
use worker_protocol::{Error, Request, Version};

struct Recording {
    name: String,
    options: Options,
    daemon: Vec<u8>,
    client: Vec<u8>,
}

fn recordings() -> Vec<Recording> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory is part of the crate")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "store"))
        .collect();
    paths.sort();
    let read =
        |path: &Path, end: &str| std::fs::read(path.with_extension(end)).expect("it is there");
    let recordings: Vec<Recording> = paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("it is there");
            let store_dir = StoreDir::new(text).expect("it was one when it was written");
            let name = path
                .file_stem()
                .expect("it has a name")
                .display()
                .to_string();
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

/// Bytes that come in pieces of a certain size, and then end, or never come.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    stalls: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.size.min(self.bytes.len()).min(buffer.remaining());
        if count == 0 && self.stalls {
            return Poll::Pending;
        }
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

async fn replay(
    recording: &Recording,
    bytes: &[u8],
    size: usize,
    stalls: bool,
) -> (Result<(), Error>, Vec<String>, Vec<u8>) {
    let mut sent = Vec::new();
    let pieces = Pieces {
        bytes,
        size,
        stalls,
    };
    let mut conversation =
        Conversation::new(Client::new(pieces, &mut sent, recording.options.clone()));
    let result = conversation.run().await;
    let heard = std::mem::take(&mut conversation.heard);
    drop(conversation);
    (result, heard, sent)
}

#[tokio::test]
async fn what_is_said_and_heard_is_the_same_again() {
    for recording in recordings() {
        let (result, heard, sent) = replay(&recording, &recording.daemon, usize::MAX, false).await;
        result.unwrap_or_else(|error| panic!("{}: {error}", recording.name));
        assert_eq!(sent, recording.client, "{}", recording.name);
        insta::assert_snapshot!(recording.name.as_str(), heard.join("\n"));
    }
}

#[tokio::test]
async fn the_size_of_the_pieces_makes_no_difference() {
    for recording in recordings() {
        let (_, whole, _) = replay(&recording, &recording.daemon, usize::MAX, false).await;
        for size in [1, 2, 3, 7, 8, 9, 64, 1000] {
            let (result, heard, sent) = replay(&recording, &recording.daemon, size, false).await;
            assert_eq!(result, Ok(()), "{} by {size}", recording.name);
            assert_eq!(heard, whole, "{} by {size}", recording.name);
            assert_eq!(sent, recording.client, "{} by {size}", recording.name);
        }
    }
}

#[tokio::test]
async fn a_daemon_that_ends_anywhere_gives_an_error_that_says_where() {
    for recording in recordings() {
        for cut in 0..recording.daemon.len() {
            let (result, _, _) =
                replay(&recording, &recording.daemon[..cut], usize::MAX, false).await;
            assert!(
                matches!(result, Err(Error::Closed { .. })),
                "{} cut at {cut}: {result:?}",
                recording.name
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stalls_anywhere_leaves_the_wait_to_the_caller() {
    for recording in recordings() {
        for cut in (0..recording.daemon.len()).step_by(5) {
            let stalled = replay(&recording, &recording.daemon[..cut], usize::MAX, true);
            let result = tokio::time::timeout(Duration::from_secs(1), stalled).await;
            assert!(result.is_err(), "{} stalled at {cut}", recording.name);
        }
    }
}

#[tokio::test]
async fn a_wrong_byte_anywhere_is_never_a_panic() {
    for recording in recordings() {
        for place in (0..recording.daemon.len()).step_by(3) {
            let mut bytes = recording.daemon.clone();
            bytes[place] ^= 0x41;
            let _ = replay(&recording, &bytes, usize::MAX, false).await;
        }
    }
}

#[test]
fn the_server_half_reads_what_was_sent_and_would_send_it_so() {
    for recording in recordings() {
        let word = recording.daemon[8..16].try_into().expect("eight bytes");
        let dialect = recording.options.version.dialect();
        let version = Version::from_word(dialect, u64::from_le_bytes(word));
        let options = server::Options {
            version: version.expect("the daemon's second word is its version"),
            ..server::Options::nix(recording.options.store_dir.clone(), "")
        };
        let mut session = server::Session::new(options);
        session.receive(&recording.client);
        session.input_ended(None);
        let mut names = Vec::new();
        while let Progress::Ready(Some(request)) =
            session.poll_request().expect("it is well-formed")
        {
            names.push(request.name());
            let mut bytes = Vec::new();
            request.encode(&mut Encoder::new(&mut bytes), session.context());
            let stands = recording
                .client
                .windows(bytes.len())
                .any(|window| window == bytes);
            assert!(stands, "{}: {}", recording.name, request.name());
            if matches!(request, Request::AddToStore(_)) {
                // Its end is known to a decoder of archives.
                assert_eq!(session.poll_upload(), Ok(Progress::Ready(true)));
                session.consume_upload(conversation::nar(b"hello").len());
                session.end_inline_upload();
            }
            if matches!(request, Request::AddToStoreNar(_)) {
                while session.poll_upload() == Ok(Progress::Ready(true)) {
                    session.consume_upload(session.upload().len());
                }
            }
            assert_eq!(session.poll_drain(), Ok(Progress::Ready(())));
            session
                .fail(worker_protocol::RemoteError::new(""))
                .expect("its turn");
        }
        assert!(names.len() >= 9, "{}: {names:?}", recording.name);
    }
}
