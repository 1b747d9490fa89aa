//! Requests whose replies were not yet read.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use crate::{Error, Misuse, Place};

/// The claim to one request's reply. A copy claims the same reply, which can be had once.
pub struct Ticket<O> {
    number: u64,
    operation: PhantomData<fn() -> O>,
}

impl<O> Ticket<O> {
    /// The request's number: the first of a conversation has 1.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl<O> Clone for Ticket<O> {
    fn clone(&self) -> Ticket<O> {
        *self
    }
}

impl<O> Copy for Ticket<O> {}

impl<O> fmt::Debug for Ticket<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.number)
    }
}

/// What stands in for an operation's name before the first request.
pub(crate) const HANDSHAKE: Place = Place {
    number: 0,
    operation: "handshake",
};

/// The requests that were sent, or wait to be, in their order. Replies come in the same.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    places: VecDeque<Place>,
    last_number: u64,
}

impl Outstanding {
    /// The place of the next request.
    pub(crate) fn next_place(&self, operation: &'static str) -> Place {
        Place {
            number: self.last_number + 1,
            operation,
        }
    }

    /// Notes the next request.
    pub(crate) fn push<O>(&mut self, operation: &'static str) -> Ticket<O> {
        let place = self.next_place(operation);
        self.last_number = place.number;
        self.places.push_back(place);
        Ticket {
            number: place.number,
            operation: PhantomData,
        }
    }

    /// How many requests there have been.
    pub(crate) fn total(&self) -> u64 {
        self.last_number
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The request whose reply comes next.
    pub(crate) fn front(&self) -> Option<Place> {
        self.places.front().copied()
    }

    /// Notes that the reply to the first request was read.
    pub(crate) fn answered(&mut self) {
        self.places.pop_front();
    }

    /// The place of the raw data that follows the reply that was read last.
    pub(crate) fn raw_place(&self, operation: &'static str) -> Place {
        Place {
            number: self.last_number - self.places.len() as u64,
            operation,
        }
    }

    /// # Errors
    /// [`Misuse`], unless the reply to the request at `wanted` comes next.
    pub(crate) fn check_turn(&self, wanted: Place) -> Result<(), Error> {
        let misuse = match self.front() {
            Some(next) if next == wanted => return Ok(()),
            Some(next) if next.number == wanted.number => Misuse::ForeignTicket { wanted, next },
            Some(next) if next.number < wanted.number => Misuse::OutOfOrder {
                wanted: wanted.number,
                next,
            },
            _ => Misuse::AlreadyRead(wanted.number),
        };
        Err(misuse.into())
    }
}
