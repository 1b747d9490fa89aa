//! The format's grammar: parses one event at a time off the front of a slice.
//!
//! Everything is restarted from the event's first byte when the slice ends inside it, which costs
//! nothing worth counting because an event is bounded: a symbolic link with its longest target is
//! the largest. File data, the only unbounded thing, is passed on in whatever pieces it comes in.
//!
//! Which of two words follows is always decided by one byte, and whatever bytes of a word are
//! there are compared at once. So an error is found at the same offset however the input was cut.
//!
//! What stands on the path of every event is inlined whatever its size, here and in its callers: an
//! event that is returned through memory from one of these functions to the next costs half as much
//! again, and the compiler's own choice changes with the number of places that read archives.

use crate::names::OpenDirectories;
use crate::position::{Position, State};
use crate::token::{self, LENGTH};
use crate::{Error, Event, Kind, Limits, names};

/// What stands at the front of a slice.
pub(crate) enum Parsed<'a> {
    /// An event, which these many bytes said.
    Event(usize, Event<'a>),
    /// Not enough: the slice must have at least this length. It never asks for a byte behind the
    /// event.
    Needs(usize),
    /// The archive ended before the slice.
    Finished,
}

enum Stop {
    Needs(usize),
    /// In the slice's byte `at`.
    Error {
        at: usize,
        kind: Kind,
    },
}

/// Parses the event that stands at `position`, at the front of `input`.
#[inline(always)]
pub(crate) fn parse<'a, N: OpenDirectories<'a>>(
    position: &Position<N>,
    input: &'a [u8],
) -> Result<Parsed<'a>, Error> {
    let cursor = &mut Cursor { input, at: 0 };
    let event = match position.state {
        State::Start => cursor
            .words(&token::MAGIC)
            .and_then(|()| node(&position.limits, cursor)),
        State::Node => node(&position.limits, cursor),
        State::Data {
            remaining: 0,
            padding,
        } => file_end(cursor, padding),
        State::Data { remaining, .. } => data(cursor, remaining),
        State::FirstEntry => entry_or_end(position, cursor),
        State::EntryEnd => cursor
            .words(&token::CLOSE)
            .and_then(|()| entry_or_end(position, cursor)),
        State::Finished => return Ok(Parsed::Finished),
    };
    match event {
        Ok(event) => Ok(Parsed::Event(cursor.at, event)),
        Err(Stop::Needs(length)) => Ok(Parsed::Needs(length)),
        Err(Stop::Error { at, kind }) => Err(position.error(at, kind)),
    }
}

/// `"(" "type" ..`: the cursor ends behind a directory's or file's head, or a whole link.
#[inline(always)]
fn node<'a>(limits: &Limits, cursor: &mut Cursor<'a>) -> Result<Event<'a>, Stop> {
    if cursor.skip_if(&token::PLAIN_FILE) {
        return file(cursor, false);
    }
    cursor.words(&token::TYPE)?;
    match cursor.peek(0)? {
        7 => match cursor.peek(LENGTH)? {
            b's' => symlink(limits, cursor),
            b'r' => {
                cursor.words(&token::REGULAR)?;
                let executable = cursor.peek(0)? == 10;
                if executable {
                    cursor.words(&token::EXECUTABLE)?;
                } else {
                    cursor.words(&token::CONTENTS)?;
                }
                file(cursor, executable)
            }
            _ => cursor.unexpected("regular` or `symlink"),
        },
        9 => cursor.words(&token::DIRECTORY).map(|()| Event::Directory),
        _ => cursor.unexpected("regular`, `symlink` or `directory"),
    }
}

/// `<size>`: the cursor ends at the first byte of data.
#[inline(always)]
fn file<'a>(cursor: &mut Cursor<'a>, executable: bool) -> Result<Event<'a>, Stop> {
    Ok(Event::File {
        executable,
        size: cursor.length()?,
    })
}

/// As much of the file's data as is there.
#[inline(always)]
fn data<'a>(cursor: &mut Cursor<'a>, remaining: u64) -> Result<Event<'a>, Stop> {
    cursor.peek(0)?;
    let all = cursor.input.len();
    let here = usize::try_from(remaining).map_or(all, |remaining| remaining.min(all));
    Ok(Event::Data(cursor.take(here)?))
}

/// `<padding> ")"`
#[inline(always)]
fn file_end<'a>(cursor: &mut Cursor<'a>, padding: usize) -> Result<Event<'a>, Stop> {
    cursor.zeros(padding)?;
    cursor.words(&token::CLOSE)?;
    Ok(Event::FileEnd)
}

/// `"symlink" "target" <target> ")"`
fn symlink<'a>(limits: &Limits, cursor: &mut Cursor<'a>) -> Result<Event<'a>, Stop> {
    cursor.words(&token::SYMLINK)?;
    let at = cursor.at;
    let limit = limits.target;
    let target = cursor.bounded(limit, |length| Kind::TargetLength { length, limit })?;
    names::check_target(target).map_err(|kind| Stop::Error { at, kind })?;
    cursor.zeros(token::padding(target.len() as u64))?;
    cursor.words(&token::CLOSE)?;
    Ok(Event::Symlink(target))
}

/// `"entry" "(" "name" <name> "node"`, or the directory's `")"`.
#[inline(always)]
fn entry_or_end<'a, N: OpenDirectories<'a>>(
    position: &Position<N>,
    cursor: &mut Cursor<'a>,
) -> Result<Event<'a>, Stop> {
    match cursor.peek(0)? {
        5 => {}
        1 => {
            cursor.words(&token::CLOSE)?;
            return Ok(Event::DirectoryEnd);
        }
        _ => return cursor.unexpected("entry` or `)"),
    }
    cursor.words(&token::ENTRY)?;
    let at = cursor.at;
    let limit = position.limits.name;
    let name = cursor.bounded(limit, |length| Kind::NameLength { length, limit })?;
    position
        .check_name(name)
        .map_err(|kind| Stop::Error { at, kind })?;
    cursor.zeros(token::padding(name.len() as u64))?;
    cursor.words(&token::NODE)?;
    Ok(Event::Entry(name))
}

/// More than any slice has, and far enough from the end of `usize` to be added to.
const LONGEST: usize = isize::MAX as usize - 1024;

/// A place in a slice. Reading past the slice's end is [`Stop::Needs`].
struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn peek(&self, ahead: usize) -> Result<u8, Stop> {
        let at = self.at + ahead;
        self.input.get(at).copied().ok_or(Stop::Needs(at + 1))
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let end = self.at + length;
        let bytes = self.input.get(self.at..end).ok_or(Stop::Needs(end))?;
        self.at = end;
        Ok(bytes)
    }

    #[inline]
    fn skip_if<const N: usize>(&mut self, words: &'static [u8; N]) -> bool {
        let same = self.input[self.at..].first_chunk::<N>() == Some(words);
        if same {
            self.at += N;
        }
        same
    }

    /// Passes over exactly these words.
    #[inline]
    fn words<const N: usize>(&mut self, words: &'static [u8; N]) -> Result<(), Stop> {
        if self.skip_if(words) {
            Ok(())
        } else {
            self.unequal(words)
        }
    }

    #[cold]
    fn unequal(&self, words: &'static [u8]) -> Result<(), Stop> {
        let here = &self.input[self.at..];
        let Some(at) = here.iter().zip(words).position(|(here, word)| here != word) else {
            return Err(Stop::Needs(self.at + words.len()));
        };
        let (start, expected, is_padding) = token::word_at(words, at);
        let (at, kind) = if is_padding {
            (at, Kind::Padding)
        } else {
            (start, Kind::Word { expected })
        };
        Err(Stop::Error {
            at: self.at + at,
            kind,
        })
    }

    #[cold]
    fn unexpected<T>(&self, expected: &'static str) -> Result<T, Stop> {
        Err(Stop::Error {
            at: self.at,
            kind: Kind::Word { expected },
        })
    }

    #[inline]
    fn length(&mut self) -> Result<u64, Stop> {
        let end = self.at + LENGTH;
        let bytes = self.input[self.at..]
            .first_chunk()
            .ok_or(Stop::Needs(end))?;
        self.at = end;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A word of at most `limit` bytes, without the zeros behind it.
    #[inline]
    fn bounded(&mut self, limit: usize, kind: impl FnOnce(u64) -> Kind) -> Result<&'a [u8], Stop> {
        let at = self.at;
        let length = self.length()?;
        match usize::try_from(length) {
            // A limit of one's own may be longer than any slice.
            Ok(length) if length <= limit && length <= LONGEST => self.take(length),
            _ => Err(Stop::Error {
                at,
                kind: kind(length),
            }),
        }
    }

    /// Passes over `length` zeros.
    #[inline]
    fn zeros(&mut self, length: usize) -> Result<(), Stop> {
        let end = self.at + length;
        let here = &self.input[self.at..end.min(self.input.len())];
        if let Some(at) = here.iter().position(|&byte| byte != 0) {
            return Err(Stop::Error {
                at: self.at + at,
                kind: Kind::Padding,
            });
        }
        if here.len() < length {
            return Err(Stop::Needs(end));
        }
        self.at = end;
        Ok(())
    }
}
