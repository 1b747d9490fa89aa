use crate::grammar::{self, Parsed};
use crate::position::{Position, State};
use crate::{Error, Event, Kind, Limits};

/// Reads an archive from bytes that come in any pieces.
///
/// It does no input or output and never asks for time or memory in proportion to what the input
/// claims. Hand it whatever bytes are there; it hands back one event at a time, and the events
/// and errors are the same however the archive was cut. File data and, unless they are cut by
/// the end of a piece, names and targets are borrowed from the input.
///
/// It takes no byte past the archive's end, so an archive may be followed by something else.
///
/// ```
/// use nar::{Decoder, Event, Step};
///
/// let archive = nar::example();
/// let mut input = archive.as_slice();
/// let mut decoder = Decoder::new();
/// let mut names = Vec::new();
/// loop {
///     match decoder.decode(input)? {
///         Step::Event { consumed, event } => {
///             if let Event::Entry(name) = event {
///                 names.push(String::from_utf8_lossy(name).into_owned());
///             }
///             input = &input[consumed..];
///         }
///         Step::NeedMore { .. } => panic!("all of the archive is in the slice"),
///         Step::Finished => break,
///     }
/// }
/// assert_eq!(names, ["greeting", "link"]);
/// # Ok::<(), nar::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    position: Position,
    /// The beginning of an event that the last input ended inside of. Never file data, so never
    /// longer than a symbolic link with the longest target.
    carried: Vec<u8>,
    /// Whether `carried` is the event returned last, and may be dropped.
    is_spent: bool,
    /// The error that ended everything.
    failed: Option<Error>,
}

/// What [`Decoder::decode`] made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The archive goes on with this.
    Event {
        /// How many bytes of the input are done with; the next call begins behind them.
        consumed: usize,
        /// What they said.
        event: Event<'a>,
    },
    /// All of the input was taken in, and does not complete an event.
    NeedMore {
        /// This many bytes more, at least, are part of the archive. One or more.
        at_least: usize,
    },
    /// The archive is complete; nothing of the input belongs to it or was taken.
    Finished,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with [`Limits::NIX`].
    pub fn new() -> Self {
        Self::with_limits(Limits::NIX)
    }

    /// A decoder with limits of one's own.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            position: Position::new(limits),
            carried: Vec::new(),
            is_spent: false,
            failed: None,
        }
    }

    /// Decodes one event, or says why there is none.
    ///
    /// # Errors
    /// The input is not an archive within the limits. The same error comes back from every later
    /// call.
    #[inline(always)]
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, Error> {
        if self.is_spent {
            self.carried.clear();
            self.is_spent = false;
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.carried.is_empty() {
            return self.decode_carried(input);
        }
        match grammar::parse(&self.position, input) {
            Ok(Parsed::Event(consumed, event)) => {
                self.position.advance(consumed, &event);
                Ok(Step::Event { consumed, event })
            }
            Ok(Parsed::Needs(length)) => {
                self.carried.extend_from_slice(input);
                Ok(Step::NeedMore {
                    at_least: length - input.len(),
                })
            }
            Ok(Parsed::Finished) => Ok(Step::Finished),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Decodes an event whose first bytes came with earlier input.
    fn decode_carried<'a>(&'a mut self, input: &[u8]) -> Result<Step<'a>, Error> {
        let mut consumed = 0;
        // The grammar asks for no byte behind the event, so all that is topped up here is the
        // event's own and the event spends all that is carried.
        while let Parsed::Needs(length) = self.parse_carried()? {
            let missing = length - self.carried.len();
            let rest = &input[consumed..];
            if rest.is_empty() {
                return Ok(Step::NeedMore { at_least: missing });
            }
            let here = missing.min(rest.len());
            self.carried.extend_from_slice(&rest[..here]);
            consumed += here;
        }
        match grammar::parse(&self.position, &self.carried)? {
            Parsed::Event(length, event) => {
                self.position.advance(length, &event);
                self.is_spent = true;
                Ok(Step::Event { consumed, event })
            }
            Parsed::Needs(_) | Parsed::Finished => {
                unreachable!("the loop ends with a whole event, and none carries past the last")
            }
        }
    }

    fn parse_carried(&mut self) -> Result<Parsed<'_>, Error> {
        match grammar::parse(&self.position, &self.carried) {
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
            parsed => parsed,
        }
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(error.clone());
        error
    }

    /// Whether the archive is complete: every later call returns [`Step::Finished`].
    pub fn is_finished(&self) -> bool {
        self.position.state == State::Finished
    }

    /// How many bytes of the archive the events so far have said.
    ///
    /// After [`Event::File`] this is the offset of the file's first byte of data.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Bytes of data still to come of the file whose [`Event::File`] came last; 0 elsewhere.
    pub fn remaining(&self) -> u64 {
        self.position.remaining()
    }

    /// Passes over up to `length` bytes of the file's data without seeing them, for a reader that
    /// can seek. Returns how many, at most [`Decoder::remaining`]: the input of the next call
    /// must begin that much further on.
    pub fn skip_data(&mut self, length: u64) -> u64 {
        let skipped = length.min(self.remaining());
        self.position.advance_data(skipped);
        skipped
    }

    /// The error of an input that ends here, or `None` if the archive is complete.
    pub fn end_of_input(&self) -> Option<Error> {
        let carried = if self.is_spent {
            0
        } else {
            self.carried.len() as u64
        };
        let offset = self.position.offset.saturating_add(carried);
        (!self.is_finished()).then_some(Error {
            offset,
            kind: Kind::Truncated,
        })
    }

    /// The bytes that said the event returned last, if it was put together from several inputs.
    pub(crate) fn carried_event(&self) -> Option<&[u8]> {
        self.is_spent.then_some(&*self.carried)
    }
}
