use store_path::StoreDir;

use super::{Event, Place, context, encode_next};
use crate::value::{Context, Value};
use crate::wire;

/// Writes an export, all but its archives. It keeps to the order of an export's parts and can write nothing else.
#[derive(Debug, Clone)]
pub struct Encoder {
    context: Context,
    place: Place,
}

/// An event that an export cannot go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("encode {event} {place}")]
pub struct OutOfOrder {
    event: &'static str,
    place: &'static str,
}

impl Encoder {
    /// An export of paths in `store_dir`.
    #[must_use]
    pub fn new(store_dir: StoreDir) -> Encoder {
        Encoder {
            context: context(store_dir),
            place: Place::Next,
        }
    }

    /// Appends what says `event`. Behind [`Event::Archive`] the caller appends the archive.
    ///
    /// # Errors
    /// [`OutOfOrder`]: a trailer without an archive before it, anything but a trailer behind an archive, anything behind
    /// the end. Nothing was appended then.
    pub fn encode(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), OutOfOrder> {
        self.place = match (self.place, event) {
            (Place::Next, Event::Archive) => {
                encode_next(out, true);
                Place::Trailer
            }
            (Place::Trailer, Event::Trailer(trailer)) => {
                trailer.encode(&mut wire::Encoder::new(out), &self.context);
                Place::Next
            }
            (Place::Next, Event::End) => {
                encode_next(out, false);
                Place::Finished
            }
            (place, event) => return Err(OutOfOrder::new(place, event)),
        };
        Ok(())
    }

    /// Whether the end was written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.place == Place::Finished
    }
}

impl OutOfOrder {
    fn new(place: Place, event: &Event) -> OutOfOrder {
        OutOfOrder {
            event: match event {
                Event::Archive => "an archive",
                Event::Trailer(_) => "a trailer",
                Event::End => "the end",
            },
            place: match place {
                Place::Next => "where an export has no archive before it",
                Place::Archive | Place::Trailer => "where an export has an archive's trailer",
                Place::Finished => "behind the end of an export",
            },
        }
    }
}
