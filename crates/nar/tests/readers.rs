//! What readers do with sources that seek, or fail.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use nar::testing::Tree;
use nar::{Event, Kind, ReadError, Reader};
use tokio::io::{AsyncRead, AsyncSeek, BufReader, ReadBuf};

/// Two files, of which the first is larger than any buffer here.
fn archive() -> Vec<u8> {
    let file = |contents: &[u8]| Tree::File {
        executable: false,
        contents: contents.to_vec(),
    };
    let entries = [(b"a", file(&[b'x'; 5000])), (b"b", file(b"second"))];
    let entries = entries.map(|(name, file)| (name.to_vec(), file));
    Tree::Directory(entries.into()).encode().unwrap()
}

/// Fails the first time it is to seek.
struct Reluctant {
    inner: Cursor<Vec<u8>>,
    has_failed: bool,
}

impl Read for Reluctant {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Reluctant {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.inner.consume(length);
    }
}

impl Seek for Reluctant {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        if std::mem::replace(&mut self.has_failed, true) {
            self.inner.seek(place)
        } else {
            Err(io::Error::other("not yet"))
        }
    }
}

#[test]
fn a_seek_that_fails_passes_over_nothing() {
    let mut reader = Reader::new(Reluctant {
        inner: Cursor::new(archive()),
        has_failed: false,
    });
    while !matches!(reader.next().unwrap(), Some(Event::File { .. })) {}
    let offset = reader.offset();
    assert_eq!(reader.skip_data().unwrap_err().to_string(), "not yet");
    assert_eq!(reader.offset(), offset);
    assert_eq!(reader.skip_data().unwrap(), 5000);
    assert_eq!(reader.next().unwrap(), Some(Event::FileEnd));
    assert_eq!(reader.next().unwrap(), Some(Event::Entry(b"b")));
}

#[tokio::test]
async fn what_follows_the_archive_is_left_in_the_source() {
    let input = [&nar::example()[..], b"the next message"].concat();
    let mut reader = Reader::new(io::BufReader::with_capacity(7, &input[..]));
    while reader.next().unwrap().is_some() {}
    let mut rest = String::new();
    reader.into_inner().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "the next message");

    let mut reader = nar::tokio::Reader::new(BufReader::with_capacity(7, &input[..]));
    while reader.next().await.unwrap().is_some() {}
    let mut source = reader.into_inner();
    let mut rest = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut source, &mut rest)
        .await
        .unwrap();
    assert_eq!(rest, "the next message");
}

/// Waits forever when it is to seek.
struct Stuck(Cursor<Vec<u8>>);

impl AsyncRead for Stuck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncSeek for Stuck {
    fn start_seek(self: Pin<&mut Self>, _: SeekFrom) -> io::Result<()> {
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_seek_that_is_cancelled_loses_the_place_and_says_so() {
    let source = BufReader::with_capacity(100, Stuck(Cursor::new(archive())));
    let mut reader = nar::tokio::Reader::new(source);
    while !matches!(reader.next().await.unwrap(), Some(Event::File { .. })) {}
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(reader.skip_data()).poll(&mut context).is_pending());
    let error = reader.skip_data().await.unwrap_err();
    assert_eq!(error.to_string(), "a seek was cancelled");
    let error = reader.next().await.unwrap_err();
    assert!(matches!(error, ReadError::Source(_)), "{error}");
}

#[tokio::test]
async fn data_that_is_passed_over_is_not_seen_and_all_else_is() {
    let archive = archive();
    for capacity in [1, 7, 100, 4096, 10_000] {
        let source = BufReader::with_capacity(capacity, Cursor::new(&archive));
        let mut reader = nar::tokio::Reader::new(source);
        let mut names = Vec::new();
        let mut skipped = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            match event {
                Event::Entry(name) => names.push(name.to_vec()),
                Event::Data(_) => panic!("it was passed over"),
                Event::File { .. } => skipped.push(reader.skip_data().await.unwrap()),
                _ => assert_eq!(reader.skip_data().await.unwrap(), 0),
            }
        }
        assert_eq!(
            (&names[..], &skipped[..]),
            (&[b"a", b"b"].map(Vec::from)[..], &[5000, 6][..])
        );
        assert_eq!(reader.offset(), archive.len() as u64);
    }
}

#[tokio::test]
async fn a_source_that_is_too_short_shows_behind_what_was_passed_over() {
    let archive = archive();
    let source = BufReader::with_capacity(100, Cursor::new(&archive[..1000]));
    let mut reader = nar::tokio::Reader::new(source);
    while !matches!(reader.next().await.unwrap(), Some(Event::File { .. })) {}
    assert_eq!(reader.skip_data().await.unwrap(), 5000);
    let Err(ReadError::Archive(error)) = reader.next().await else {
        panic!("the source is too short")
    };
    assert_eq!(error.kind, Kind::Truncated);
}
