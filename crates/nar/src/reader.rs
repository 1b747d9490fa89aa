use std::fmt;
use std::io::{self, BufRead};

use crate::{Decoder, Error, Event, Limits, Step, token};

/// Reads an archive, event by event, from anything that buffers.
///
/// Data is borrowed from the source's own buffer, so that its capacity decides how much comes at
/// a time; 64 KiB is a good one. Nothing behind the archive's end is consumed.
///
/// ```
/// use nar::{Event, Reader};
///
/// let archive = nar::example();
/// let mut reader = Reader::new(&archive[..]);
/// let mut total = 0;
/// while let Some(event) = reader.next()? {
///     if let Event::File { size, .. } = event {
///         total += size;
///     }
/// }
/// assert_eq!(total, 5);
/// # Ok::<(), nar::ReadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<R> {
    source: R,
    pub(crate) cursor: Cursor,
}

/// Why an archive could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed.
    Source(io::Error),
    /// The bytes are not an archive, or end before it does.
    Archive(Error),
}

impl<R: BufRead> Reader<R> {
    /// Reads from `source`, under [`Limits::NIX`].
    pub fn new(source: R) -> Self {
        Self::with_limits(source, Limits::NIX)
    }

    /// Reads from `source`, under limits of one's own.
    pub fn with_limits(source: R, limits: Limits) -> Self {
        Self {
            source,
            cursor: Cursor::new(limits),
        }
    }

    /// The next event, or `None` behind the archive's end.
    ///
    /// # Errors
    /// The source fails or ends, or its bytes are not an archive. An archive's error comes back
    /// from every later call; after the source's the call may be repeated.
    #[expect(
        clippy::should_implement_trait,
        reason = "the event borrows from the reader"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        self.source.consume(self.cursor.take_consumed());
        let found = loop {
            let input = match self.source.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::Source(error)),
            };
            match self.cursor.advance(input)? {
                // Half of all events borrow nothing.
                Progress::Found(Found::Bare(event)) => return Ok(Some(event)),
                Progress::Found(found) => break found,
                Progress::More(consumed) => self.source.consume(consumed),
                Progress::Finished => return Ok(None),
            }
        };
        // The buffer is not empty, so this reads nothing.
        let input = self.source.fill_buf().map_err(ReadError::Source)?;
        Ok(Some(self.cursor.event(found, input)))
    }

    /// How many bytes of the archive the events so far have said.
    pub fn offset(&self) -> u64 {
        self.cursor.decoder.offset()
    }

    /// The source: behind the event returned last, or behind the archive when that is complete.
    pub fn into_inner(mut self) -> R {
        self.source.consume(self.cursor.take_consumed());
        self.source
    }
}

impl<R: BufRead + io::Seek> Reader<R> {
    /// Passes over what is left of the file whose [`Event::File`] came last, by seeking.
    /// Returns how many bytes that was.
    ///
    /// # Errors
    /// The source cannot seek there: nothing was passed over then. A source that is too short
    /// shows at the next event.
    pub fn skip_data(&mut self) -> io::Result<u64> {
        self.source.consume(self.cursor.take_consumed());
        // The file may claim more than can be sought over at once. Nothing holds that much.
        let length = self.cursor.decoder.remaining().min(i64::MAX as u64);
        self.source.seek_relative(length.cast_signed())?;
        self.cursor.decoder.skip_data(length);
        Ok(length)
    }
}

/// A decoder over a source whose buffer can only be borrowed anew.
///
/// Which event comes next is found out in one borrow of the buffer, and the event itself is made
/// in the next: the compiler does not accept a loop that returns a borrow in one of its branches.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) decoder: Decoder,
    /// Bytes at the front of the source's buffer that the event returned last has said.
    consumed: usize,
}

pub(crate) enum Progress {
    Found(Found),
    /// The whole buffer, of this length, was taken in.
    More(usize),
    Finished,
}

/// An event without what it borrows, and how long that is.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Bare(Event<'static>),
    Entry(usize),
    Data(usize),
    Symlink(usize),
}

impl Cursor {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            decoder: Decoder::with_limits(limits),
            consumed: 0,
        }
    }

    /// How much of the buffer is to be consumed before the next event.
    #[inline(always)]
    pub(crate) fn take_consumed(&mut self) -> usize {
        std::mem::take(&mut self.consumed)
    }

    /// Goes to the next event in `input`, which is empty at the source's end.
    #[inline(always)]
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<Progress, ReadError> {
        match self.decoder.decode(input) {
            Ok(Step::Event { consumed, event }) => {
                let found = match event {
                    Event::Entry(name) => Found::Entry(name.len()),
                    Event::Data(data) => Found::Data(data.len()),
                    Event::Symlink(target) => Found::Symlink(target.len()),
                    Event::Directory => Found::Bare(Event::Directory),
                    Event::File { executable, size } => {
                        Found::Bare(Event::File { executable, size })
                    }
                    Event::FileEnd => Found::Bare(Event::FileEnd),
                    Event::DirectoryEnd => Found::Bare(Event::DirectoryEnd),
                };
                self.consumed = consumed;
                Ok(Progress::Found(found))
            }
            Ok(Step::NeedMore { .. }) if !input.is_empty() => Ok(Progress::More(input.len())),
            Ok(Step::NeedMore { .. }) => {
                let truncated = self.decoder.end_of_input().expect("more is needed");
                Err(ReadError::Archive(truncated))
            }
            Ok(Step::Finished) => Ok(Progress::Finished),
            Err(error) => Err(ReadError::Archive(error)),
        }
    }

    /// The event that was found, given the buffer it was found in.
    #[inline(always)]
    pub(crate) fn event<'a>(&'a self, found: Found, input: &'a [u8]) -> Event<'a> {
        match found {
            Found::Bare(event) => event,
            Found::Data(length) => Event::Data(&input[..length]),
            Found::Entry(length) => Event::Entry(self.word(length, input)),
            Found::Symlink(length) => Event::Symlink(self.word(length, input)),
        }
    }

    /// The name or target of the event that was found: in either, one word follows it.
    fn word<'a>(&'a self, length: usize, input: &'a [u8]) -> &'a [u8] {
        let said = self
            .decoder
            .carried_event()
            .unwrap_or(&input[..self.consumed]);
        let end = said.len() - token::CLOSE.len() - token::padding(length as u64);
        &said[end - length..end]
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "read an archive: {error}"),
            Self::Archive(error) => write!(f, "read an archive: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    /// What lies behind the error that the message ends with.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => error.source(),
            Self::Archive(_) => None,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Source(error) => error,
            ReadError::Archive(error) => error.into(),
        }
    }
}
