use std::io::BufReader;

use crate::{Decoder, Error, Event, Events, ReadError, Reader, Step};

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// [`Event::Directory`]
    Directory,
    /// [`Event::Entry`]
    Entry(Vec<u8>),
    /// [`Event::File`]
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Bytes of data that follow.
        size: u64,
    },
    /// All [`Event::Data`] of a file, as far as they were seen.
    Data(Vec<u8>),
    /// [`Event::FileEnd`]
    FileEnd,
    /// [`Event::Symlink`]
    Symlink(Vec<u8>),
    /// [`Event::DirectoryEnd`]
    DirectoryEnd,
}

impl Seen {
    /// Appends `event`, joining the pieces of a file's data: how many there are depends on how
    /// the archive was cut.
    pub fn record(all: &mut Vec<Self>, event: Event<'_>) {
        if let (Event::Data(data), Some(Self::Data(before))) = (event, all.last_mut()) {
            assert!(!data.is_empty(), "data is never empty");
            before.extend_from_slice(data);
            return;
        }
        all.push(match event {
            Event::Directory => Self::Directory,
            Event::Entry(name) => Self::Entry(name.to_vec()),
            Event::File { executable, size } => Self::File { executable, size },
            Event::Data(data) => Self::Data(data.to_vec()),
            Event::FileEnd => Self::FileEnd,
            Event::Symlink(target) => Self::Symlink(target.to_vec()),
            Event::DirectoryEnd => Self::DirectoryEnd,
        });
    }
}

/// What came out of an input: the events before its end or its error, and the error.
pub type Outcome = (Vec<Seen>, Option<Error>);

/// What [`Events`] make of `archive`.
pub fn in_slice(archive: &[u8]) -> Outcome {
    let mut seen = Vec::new();
    for event in Events::new(archive) {
        match event {
            Ok(event) => Seen::record(&mut seen, event),
            Err(error) => return (seen, Some(error)),
        }
    }
    (seen, None)
}

/// What a [`Decoder`] makes of an archive that comes in `pieces`. Bytes behind the archive's end
/// are an error, as they are for [`Events`].
pub fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut seen = Vec::new();
    let mut decoder = Decoder::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(piece) {
                Ok(Step::Event { consumed, event }) => {
                    Seen::record(&mut seen, event);
                    piece = &piece[consumed..];
                }
                Ok(Step::NeedMore { at_least }) => {
                    assert!(at_least > 0);
                    break;
                }
                Ok(Step::Finished) if piece.is_empty() => break,
                Ok(Step::Finished) => {
                    let offset = decoder.offset();
                    return (
                        seen,
                        Some(Error {
                            offset,
                            kind: crate::Kind::Trailing,
                        }),
                    );
                }
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, decoder.end_of_input())
}

/// What a [`Reader`] with a buffer of `capacity` bytes makes of `archive`, which may go on.
pub fn through_reader(archive: &[u8], capacity: usize) -> Outcome {
    let mut seen = Vec::new();
    let mut reader = Reader::new(BufReader::with_capacity(capacity, archive));
    loop {
        match reader.next() {
            Ok(Some(event)) => Seen::record(&mut seen, event),
            Ok(None) => return (seen, None),
            Err(ReadError::Archive(error)) => return (seen, Some(error)),
            Err(ReadError::Source(error)) => unreachable!("a slice does not fail: {error}"),
        }
    }
}
