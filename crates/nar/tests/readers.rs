//! What readers do with sources that seek, or fail.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

use nar::testing::Tree;
use nar::{Event, Reader};

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
