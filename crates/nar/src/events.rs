use std::iter::FusedIterator;

use crate::grammar::{self, Parsed};
use crate::names::BorrowedNames;
use crate::position::Position;
use crate::{Error, Event, Kind, Limits};

/// The events of an archive that lies in memory as a whole, nothing before or behind it.
///
/// Names, targets and data are borrowed from the slice; a file's data is one [`Event::Data`].
/// Nothing is allocated, unless limits of one's own allow more depth than Nix does. An error is
/// the last item.
///
/// ```
/// use nar::{Event, Events};
///
/// let archive = nar::example();
/// let mut links = 0;
/// for event in Events::new(&archive) {
///     links += usize::from(matches!(event?, Event::Symlink(_)));
/// }
/// assert_eq!(links, 1);
/// # Ok::<(), nar::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Events<'a> {
    /// What is left of the archive, or nothing after an error.
    rest: &'a [u8],
    position: Position<BorrowedNames<'a>>,
    ended: bool,
}

impl<'a> Events<'a> {
    /// The events of `archive`, under [`Limits::NIX`].
    pub fn new(archive: &'a [u8]) -> Self {
        Self::with_limits(archive, Limits::NIX)
    }

    /// The events of `archive`, under limits of one's own.
    pub fn with_limits(archive: &'a [u8], limits: Limits) -> Self {
        Self {
            rest: archive,
            position: Position::with_names(BorrowedNames::new(), limits),
            ended: false,
        }
    }

    /// How many bytes of the archive the events so far have said. After [`Event::File`]: the
    /// offset of the file's first byte of data.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }

    #[cold]
    fn end(&mut self, kind: Option<Kind>) -> Option<Result<Event<'a>, Error>> {
        self.ended = true;
        let offset = self.position.offset;
        kind.map(|kind| Err(Error { offset, kind }))
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, Error>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match grammar::parse(&self.position, self.rest) {
            Ok(Parsed::Event(length, event)) => {
                self.position.advance(length, &event);
                self.rest = &self.rest[length..];
                Some(Ok(event))
            }
            Ok(Parsed::Needs(_)) => {
                self.position.offset += self.rest.len() as u64;
                self.end(Some(Kind::Truncated))
            }
            Ok(Parsed::Finished) => self.end((!self.rest.is_empty()).then_some(Kind::Trailing)),
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for Events<'_> {}
