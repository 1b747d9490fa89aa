use crate::names::{Names, OpenDirectories};
use crate::{Error, Event, Kind, Limits, token};

/// What an archive can go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Before the first byte.
    Start,
    /// Before a node in a directory.
    Node,
    /// Inside a file's data, or just behind it when nothing remains.
    Data { remaining: u64, padding: usize },
    /// In a directory, before its first entry.
    FirstEntry,
    /// In a directory, before the `)` that ends an entry.
    EntryEnd,
    /// Behind the last byte.
    Finished,
}

/// A place in an archive: what came before it, as far as that decides what may follow.
/// The decoder and the encoder move it by the same events.
#[derive(Clone, Debug)]
pub(crate) struct Position<N = Names> {
    pub(crate) state: State,
    /// Bytes of the archive before this place.
    pub(crate) offset: u64,
    pub(crate) names: N,
    pub(crate) limits: Limits,
}

impl Position {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with_names(Names::new(&limits), limits)
    }
}

impl<N> Position<N> {
    pub(crate) fn with_names(names: N, limits: Limits) -> Self {
        Self {
            state: State::Start,
            offset: 0,
            names,
            limits,
        }
    }

    /// Bytes of data still to come of the file inside which this place is.
    pub(crate) fn remaining(&self) -> u64 {
        match self.state {
            State::Data { remaining, .. } => remaining,
            _ => 0,
        }
    }

    /// What is wrong `ahead` bytes on.
    #[cold]
    pub(crate) fn error(&self, ahead: usize, kind: Kind) -> Error {
        Error {
            // A file that claims nearly all of a `u64` may have been passed over.
            offset: self.offset.saturating_add(ahead as u64),
            kind,
        }
    }

    /// Moves behind `length` bytes of data, at most [`Position::remaining`].
    #[inline(always)]
    pub(crate) fn advance_data(&mut self, length: u64) {
        if let State::Data { remaining, .. } = &mut self.state {
            *remaining -= length;
            // A file may claim all of a `u64`, and be passed over without being there.
            self.offset = self.offset.saturating_add(length);
        }
    }

    /// Whether an entry of this name, whose length is within the limit, may follow in the innermost
    /// directory.
    #[inline(always)]
    pub(crate) fn check_name<'n>(&self, name: &[u8]) -> Result<(), Kind>
    where
        N: OpenDirectories<'n>,
    {
        let limit = self.limits.depth;
        if self.names.depth() >= limit {
            return Err(Kind::Depth { limit });
        }
        self.names.check(name)
    }

    /// Moves behind `event`, which `length` bytes said and which was found to be in its place.
    #[inline(always)]
    pub(crate) fn advance<'n>(&mut self, length: usize, event: &Event<'n>)
    where
        N: OpenDirectories<'n>,
    {
        match *event {
            Event::Data(data) => return self.advance_data(data.len() as u64),
            Event::Entry(name) => {
                self.names.remember(name);
                self.state = State::Node;
            }
            Event::File { size, .. } => {
                self.state = State::Data {
                    remaining: size,
                    padding: token::padding(size),
                };
            }
            Event::Directory => {
                self.names.open();
                self.state = State::FirstEntry;
            }
            Event::DirectoryEnd => {
                self.names.close();
                self.end_node();
            }
            Event::FileEnd | Event::Symlink(_) => self.end_node(),
        }
        self.offset = self.offset.saturating_add(length as u64);
    }

    #[inline(always)]
    fn end_node<'n>(&mut self)
    where
        N: OpenDirectories<'n>,
    {
        self.state = if self.names.depth() == 0 {
            State::Finished
        } else {
            State::EntryEnd
        };
    }
}
