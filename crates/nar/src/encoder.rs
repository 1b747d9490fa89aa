use crate::position::{Position, State};
use crate::token::{self, LENGTH};
use crate::{Error, Event, Kind, Limits, names};

/// Writes an archive from the events a [`Decoder`](crate::Decoder) yields.
///
/// What it has written is always the beginning of an archive that a decoder with the same limits
/// accepts: an event out of place, a name out of order, too much data are errors, change nothing,
/// and another event can be tried.
///
/// ```
/// use nar::{Encoder, Event};
///
/// let mut archive = Vec::new();
/// let mut encoder = Encoder::new();
/// encoder.encode(Event::File { executable: false, size: 5 }, &mut archive)?;
/// encoder.encode(Event::Data(b"hello"), &mut archive)?;
/// encoder.encode(Event::FileEnd, &mut archive)?;
/// encoder.finish()?;
/// assert_eq!(archive.len(), 120);
/// # Ok::<(), nar::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    position: Position,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with [`Limits::NIX`].
    pub fn new() -> Self {
        Self::with_limits(Limits::NIX)
    }

    /// An encoder with limits of one's own.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            position: Position::new(limits),
        }
    }

    /// Appends the bytes that say `event` to `output`.
    ///
    /// # Errors
    /// The event cannot come here, or breaks a limit; nothing was appended. The error's offset is
    /// the archive's length so far.
    pub fn encode(&mut self, event: Event<'_>, output: &mut Vec<u8>) -> Result<(), Error> {
        if let Err(kind) = self.check(&event) {
            return Err(Error {
                offset: self.position.offset,
                kind,
            });
        }
        let before = output.len();
        match self.position.state {
            State::Start => output.extend_from_slice(&token::MAGIC),
            State::EntryEnd => output.extend_from_slice(&token::CLOSE),
            State::Data { padding, .. } if event == Event::FileEnd => {
                output.extend_from_slice(&[0; 8][..padding]);
            }
            _ => {}
        }
        append(&event, output);
        self.position.advance(output.len() - before, &event);
        Ok(())
    }

    /// Takes note of `length` bytes of the file's data that the caller passes on to the archive
    /// by itself, in place of [`Event::Data`]. The caller answers for their number.
    ///
    /// # Errors
    /// No file is open, or the file has not that much data left.
    pub fn pass_data(&mut self, length: u64) -> Result<(), Error> {
        let kind = match self.position.state {
            State::Data { remaining, .. } if length <= remaining => {
                self.position.advance_data(length);
                return Ok(());
            }
            State::Data { remaining, .. } => Kind::Data { remaining },
            _ => Kind::Event {
                expected: self.expected(),
            },
        };
        Err(Error {
            offset: self.position.offset,
            kind,
        })
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// It is not complete.
    pub fn finish(self) -> Result<(), Error> {
        self.check_complete()
    }

    pub(crate) fn check_complete(&self) -> Result<(), Error> {
        if self.is_finished() {
            return Ok(());
        }
        let expected = self.expected();
        Err(Error {
            offset: self.position.offset,
            kind: Kind::Event { expected },
        })
    }

    /// Whether the archive is complete: no event can follow.
    pub fn is_finished(&self) -> bool {
        self.position.state == State::Finished
    }

    /// The archive's length so far, in bytes.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Bytes of data still to come of the file whose [`Event::File`] came last; 0 elsewhere.
    pub fn remaining(&self) -> u64 {
        self.position.remaining()
    }

    fn check(&self, event: &Event<'_>) -> Result<(), Kind> {
        let Position { state, limits, .. } = &self.position;
        match (state, *event) {
            (State::Start | State::Node, Event::File { .. } | Event::Directory) => Ok(()),
            (State::Start | State::Node, Event::Symlink(target)) => {
                let (length, limit) = (target.len() as u64, limits.target);
                if target.len() > limit {
                    return Err(Kind::TargetLength { length, limit });
                }
                names::check_target(target)
            }
            (State::FirstEntry | State::EntryEnd, Event::Entry(name)) => {
                let (length, limit) = (name.len() as u64, limits.name);
                if name.len() > limit {
                    return Err(Kind::NameLength { length, limit });
                }
                self.position.check_name(name)
            }
            (State::FirstEntry | State::EntryEnd, Event::DirectoryEnd) => Ok(()),
            (&State::Data { remaining, .. }, Event::Data(data)) => {
                if data.len() as u64 <= remaining {
                    Ok(())
                } else {
                    Err(Kind::Data { remaining })
                }
            }
            (State::Data { remaining: 0, .. }, Event::FileEnd) => Ok(()),
            _ => Err(Kind::Event {
                expected: self.expected(),
            }),
        }
    }

    fn expected(&self) -> &'static str {
        match self.position.state {
            State::Start | State::Node => "a file, a directory or a symlink",
            State::Data { remaining: 0, .. } => "the file's end",
            State::Data { .. } => "the file's data",
            State::FirstEntry | State::EntryEnd => "an entry or the directory's end",
            State::Finished => "nothing after the archive's end",
        }
    }
}

/// The event's own bytes, without what ends its predecessor.
fn append(event: &Event<'_>, output: &mut Vec<u8>) {
    match *event {
        Event::File {
            executable: false,
            size,
        } => {
            output.extend_from_slice(&token::PLAIN_FILE);
            output.extend_from_slice(&size.to_le_bytes());
        }
        Event::File {
            executable: true,
            size,
        } => {
            output.extend_from_slice(&token::TYPE);
            output.extend_from_slice(&token::REGULAR);
            output.extend_from_slice(&token::EXECUTABLE);
            output.extend_from_slice(&size.to_le_bytes());
        }
        Event::Data(data) => output.extend_from_slice(data),
        Event::Directory => {
            output.extend_from_slice(&token::TYPE);
            output.extend_from_slice(&token::DIRECTORY);
        }
        Event::Entry(name) => {
            output.extend_from_slice(&token::ENTRY);
            append_word(name, output);
            output.extend_from_slice(&token::NODE);
        }
        Event::Symlink(target) => {
            output.extend_from_slice(&token::TYPE);
            output.extend_from_slice(&token::SYMLINK);
            append_word(target, output);
            output.extend_from_slice(&token::CLOSE);
        }
        Event::FileEnd | Event::DirectoryEnd => output.extend_from_slice(&token::CLOSE),
    }
}

fn append_word(word: &[u8], output: &mut Vec<u8>) {
    let length = word.len() as u64;
    output.extend_from_slice(&length.to_le_bytes());
    output.extend_from_slice(word);
    output.extend_from_slice(&[0; LENGTH][..token::padding(length)]);
}
