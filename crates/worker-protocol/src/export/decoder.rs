use std::mem;

use store_path::StoreDir;

use super::{Event, Place, Trailer, context, decode_next};
use crate::value::{Context, Value};
use crate::wire::{self, Error, Kind, Marks, Stop, decode_on, limit};

/// Reads an export from bytes that come in any pieces, all but its archives.
///
/// Hand it whatever bytes are there; it hands back one event at a time, the same however the export was cut. Between
/// [`Event::Archive`] and [`Decoder::archive_ended`] the bytes are a decoder of archives' to read. It takes no byte
/// behind the export's end, and holds none but those of a trailer that was cut.
#[derive(Debug, Clone)]
pub struct Decoder {
    context: Context,
    place: Place,
    /// Whether the export is one archive with its trailer, without words around them.
    is_one_path: bool,
    /// Bytes of the export before what is read now.
    offset: u64,
    /// The beginning of a word or trailer that the input has ended inside of, and no byte more.
    carried: Vec<u8>,
    /// How many bytes are surely missing behind `carried`.
    missing: usize,
    marks: Marks,
    /// The error that ended everything.
    failed: Option<Error>,
}

/// What [`Decoder::decode`] made of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The export goes on with this.
    Event {
        /// How many bytes of the input are done with; the next call begins behind them.
        consumed: usize,
        /// What they said.
        event: Event,
    },
    /// The input is an archive's, and nothing of it was taken. See [`Decoder::archive_ended`].
    Archive,
    /// All of the input was taken in, and does not complete an event.
    NeedMore {
        /// This many bytes more, at least, are part of the export. One or more.
        at_least: usize,
    },
    /// The export is complete; nothing of the input belongs to it or was taken.
    Finished,
}

impl Decoder {
    /// An export of paths in `store_dir`.
    #[must_use]
    pub fn new(store_dir: StoreDir) -> Decoder {
        Decoder {
            context: context(store_dir),
            place: Place::Next,
            is_one_path: false,
            offset: 0,
            carried: Vec::new(),
            missing: 0,
            marks: Marks::default(),
            failed: None,
        }
    }

    /// What [`ExportPath`](crate::operation::ExportPath) sends: one path, without the words around it. It begins inside
    /// the archive, and ends behind the trailer.
    #[must_use]
    pub fn one_path(store_dir: StoreDir) -> Decoder {
        Decoder {
            place: Place::Archive,
            is_one_path: true,
            ..Decoder::new(store_dir)
        }
    }

    /// Decodes one event, or says why there is none.
    ///
    /// # Errors
    /// The input is no export: [`Kind::Boolean`], [`Kind::Number`] where the trailer's mark should be, and what else can
    /// be wrong with a [`Trailer`]; [`Kind::TooLarge`] for one above [`limit::TRAILER`]. Offsets count from the first
    /// byte of the export. The same error comes back from every later call.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.place {
            Place::Next => self.part(input, |decoder, _| {
                let follows = decode_next(decoder)?;
                Ok(if follows { Event::Archive } else { Event::End })
            }),
            Place::Trailer => self.part(input, |decoder, context| {
                Trailer::decode(decoder, context).map(Event::Trailer)
            }),
            Place::Archive => Ok(Step::Archive),
            Place::Finished => Ok(Step::Finished),
        }
    }

    /// Says that the archive had `length` bytes, and that its trailer is next.
    ///
    /// # Panics
    /// If none was begun: the last step was no [`Step::Archive`], or event of that name.
    pub fn archive_ended(&mut self, length: u64) {
        assert_eq!(self.place, Place::Archive, "an archive ends once it began");
        self.offset = self.offset.saturating_add(length);
        self.place = Place::Trailer;
    }

    /// How many bytes of the export were taken, archives that have ended included.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset.saturating_add(self.carried.len() as u64)
    }

    /// Whether the export is complete: every later call returns [`Step::Finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.place == Place::Finished
    }

    /// The error of an input that ends here, or `None` if the export is complete.
    #[must_use]
    pub fn end_of_input(&self) -> Option<Error> {
        (!self.is_finished()).then(|| Error {
            offset: self.offset(),
            kind: Kind::Truncated,
        })
    }

    /// Decodes a word or a trailer, from what is carried and the input behind it.
    fn part(
        &mut self,
        input: &[u8],
        decode: impl Fn(&mut wire::Decoder<'_>, &Context) -> Result<Event, Stop>,
    ) -> Result<Step, Error> {
        let mut rest = input;
        loop {
            let is_cut = !self.carried.is_empty();
            if is_cut {
                // No more is topped up than is surely part of it, so what completes it ends with its last byte.
                let (more, behind) = rest.split_at(self.missing.min(rest.len()));
                self.carried.extend_from_slice(more);
                rest = behind;
            }
            let bytes = if is_cut { &self.carried } else { rest };
            let (base, context) = (self.offset, &self.context);
            let read = decode_on(bytes, base, &mut self.marks, limit::TRAILER, |decoder| {
                decode(decoder, context)
            });
            match read {
                Ok((event, length)) => {
                    let taken = if is_cut { 0 } else { length };
                    let consumed = input.len() - rest.len() + taken;
                    return Ok(self.event(event, length, consumed));
                }
                Err(Stop::Incomplete { at_least }) => {
                    self.missing = at_least;
                    if !is_cut {
                        self.carried.extend_from_slice(mem::take(&mut rest));
                    }
                    if rest.is_empty() {
                        return Ok(Step::NeedMore { at_least });
                    }
                }
                Err(Stop::Malformed(error)) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Goes on behind an event of `length` bytes.
    fn event(&mut self, event: Event, length: usize, consumed: usize) -> Step {
        self.carried = Vec::new();
        self.offset = self.offset.saturating_add(length as u64);
        self.place = match event {
            Event::Archive => Place::Archive,
            Event::Trailer(_) if !self.is_one_path => Place::Next,
            Event::Trailer(_) | Event::End => Place::Finished,
        };
        Step::Event { consumed, event }
    }
}
