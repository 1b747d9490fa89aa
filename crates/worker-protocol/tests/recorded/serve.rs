//! Recorded conversations with `nix-store --serve --write`, said again.

use std::path::Path;

use super::*;
use crate::serve_conversation::ServeConversation;

struct ServeRecording {
    name: String,
    store_dir: StoreDir,
    server: Vec<u8>,
    client: Vec<u8>,
}

fn recordings() -> Vec<ServeRecording> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/serve");
    let recordings: Vec<_> = stores(&directory)
        .into_iter()
        .map(|path| {
            let read = |end| std::fs::read(path.with_extension(end)).expect("it is there");
            ServeRecording {
                name: name(&path),
                store_dir: store_dir(&path),
                server: read("server"),
                client: read("client"),
            }
        })
        .collect();
    assert!(recordings.len() >= 4, "they are part of the crate");
    recordings
}

/// What became of a conversation, what was heard in it, and what was sent.
type Replay = (Result<(), Error>, Vec<String>, Vec<u8>);

async fn replay(recording: &ServeRecording, bytes: &[u8], size: usize, then: Then) -> Replay {
    let mut sent = Vec::new();
    let pieces = Pieces { bytes, size, then };
    let store_dir = recording.store_dir.clone();
    let client = worker_protocol::serve::Client::new(pieces, &mut sent, store_dir, None);
    let mut conversation = ServeConversation::new(client);
    let result = conversation.run().await;
    let heard = std::mem::take(&mut conversation.heard);
    drop(conversation);
    (result, heard, sent)
}

#[tokio::test]
async fn what_is_said_to_a_serving_program_is_the_same_again_in_any_pieces() {
    for recording in recordings() {
        let name = &recording.name;
        let whole = replay(&recording, &recording.server, usize::MAX, Then::HangsUp).await;
        assert_eq!(whole.0, Ok(()), "{name}");
        assert_eq!(whole.2, recording.client, "{name}");
        insta::assert_snapshot!(format!("serve-{name}"), whole.1.join("\n"));
        for size in [1, 2, 3, 7, 8, 9, 64, 1000] {
            let again = replay(&recording, &recording.server, size, Then::HangsUp).await;
            assert_eq!(again, whole, "{name} by {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_serving_program_that_ends_or_stalls_anywhere_is_an_error_or_a_wait() {
    for recording in recordings() {
        let name = &recording.name;
        for cut in 0..recording.server.len() {
            let said = &recording.server[..cut];
            let ended = replay(&recording, said, usize::MAX, Then::HangsUp).await.0;
            assert!(
                matches!(ended, Err(Error::Closed { .. })),
                "{name} cut at {cut}: {ended:?}"
            );
            let reset = replay(&recording, said, usize::MAX, Then::Resets).await.0;
            assert!(
                matches!(&reset, Err(Error::Io { kind, .. }) if *kind == io::ErrorKind::ConnectionReset),
                "{name} cut at {cut}: {reset:?}"
            );
            let stalled = replay(&recording, said, usize::MAX, Then::Stalls);
            let waited = tokio::time::timeout(Duration::from_secs(1), stalled).await;
            assert!(waited.is_err(), "{name} stalled at {cut}");
        }
    }
}

#[tokio::test]
async fn a_wrong_byte_anywhere_from_a_serving_program_is_never_a_panic() {
    for recording in recordings() {
        for place in 0..recording.server.len() {
            let mut bytes = recording.server.clone();
            bytes[place] ^= [0x01, 0x41, 0xff][place % 3];
            // It is an error, or another answer; in any case it ends.
            let _ = replay(&recording, &bytes, usize::MAX, Then::HangsUp).await;
        }
    }
}
