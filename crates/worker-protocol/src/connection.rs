//! What a session of either half has of its connection.

use std::io;

use crate::buffer::Buffer;
use crate::wire::{self, Decoder, Encoder, Kind, Marks, Stop, decode_on};
use crate::{Error, Place};

/// The bytes that came and were not yet understood, those that are to be sent, and how it ended.
#[derive(Debug)]
pub(crate) struct Connection {
    incoming: Buffer,
    /// How far the message at the start of `incoming` was read that is not complete.
    marks: Marks,
    /// The most bytes that one message may have.
    max_message: usize,
    outgoing: Vec<u8>,
    /// How many bytes of `outgoing` have left.
    sent: usize,
    /// Whether what is queued now leaves with all that was queued since [`Connection::gather`].
    gathers: bool,
    /// That nothing more will come, and why if that was a failure.
    end_of_input: Option<Option<(io::ErrorKind, String)>>,
    /// Why nothing can be sent any more.
    output_failure: Option<(io::ErrorKind, String)>,
    /// Why the session is of no further use.
    ended: Option<Error>,
}

impl Connection {
    pub(crate) fn new(max_message: usize) -> Connection {
        Connection {
            incoming: Buffer::default(),
            marks: Marks::default(),
            max_message,
            outgoing: Vec::new(),
            sent: 0,
            gathers: true,
            end_of_input: None,
            output_failure: None,
            ended: None,
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The bytes that are to be sent, to append to.
    pub(crate) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Appends to the bytes that are to be sent.
    pub(crate) fn encoder(&mut self) -> Encoder<'_> {
        Encoder::new(&mut self.outgoing)
    }

    /// What is queued from now on leaves together, until something leaves or [`Connection::seal`].
    pub(crate) fn gather(&mut self) {
        self.gathers = true;
    }

    /// Nothing joins what is queued.
    pub(crate) fn seal(&mut self) {
        self.gathers = false;
    }

    /// Whether what is queued now leaves with all that was queued since [`Connection::gather`].
    pub(crate) fn gathers(&self) -> bool {
        self.gathers
    }

    pub(crate) fn sent(&mut self, count: usize) {
        self.gathers &= count == 0;
        self.sent += count;
        assert!(
            self.sent <= self.outgoing.len(),
            "no more was sent than there was"
        );
        // Moving costs at most what was sent since the last move. Who always has more to send than has left
        // would otherwise keep all that ever left.
        if self.sent >= self.outgoing.len() - self.sent {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(crate) fn discard_outgoing(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }

    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    pub(crate) fn received(&mut self, count: usize) {
        self.incoming.filled(count);
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    pub(crate) fn input_ended(&mut self, failure: Option<&io::Error>) {
        let failure = failure.map(|error| (error.kind(), error.to_string()));
        self.end_of_input.get_or_insert(failure);
    }

    /// Notes that nothing can be sent any more. What the peer has said before can still be read, and may tell why.
    pub(crate) fn output_failed(&mut self, failure: &io::Error) {
        let failure = (failure.kind(), failure.to_string());
        self.output_failure.get_or_insert(failure);
        self.discard_outgoing();
    }

    /// Why nothing can be sent any more, if so.
    pub(crate) fn output_failure(&self, place: Place) -> Option<Error> {
        let (kind, message) = self.output_failure.clone()?;
        Some(Error::Io {
            place,
            kind,
            message,
        })
    }

    pub(crate) fn input_has_ended(&self) -> bool {
        self.end_of_input.is_some()
    }

    /// Whether the peer hung up, and all that it had said was understood.
    pub(crate) fn is_over(&self) -> bool {
        self.incoming.len() == 0 && self.end_of_input == Some(None)
    }

    /// The bytes that came and were not yet understood.
    pub(crate) fn incoming(&self) -> &[u8] {
        self.incoming.bytes()
    }

    /// Offset of the first of [`Connection::incoming`] in the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.incoming.offset()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.incoming.consume(count);
        self.marks = Marks::default();
    }

    /// Reads one value from the start of what came; the inner error is how many bytes are missing.
    ///
    /// # Errors
    /// What is wrong with the value, or why it cannot become complete; that ended the session.
    pub(crate) fn read<T>(
        &mut self,
        place: Place,
        decode: impl Fn(&mut Decoder<'_>) -> Result<T, Stop>,
    ) -> Result<Result<T, usize>, Error> {
        let (incoming, marks) = (&self.incoming, &mut self.marks);
        let (bytes, offset) = (incoming.bytes(), incoming.offset());
        match decode_on(bytes, offset, marks, self.max_message, decode) {
            Ok((value, consumed)) => {
                self.incoming.consume(consumed);
                Ok(Ok(value))
            }
            Err(Stop::Incomplete { .. }) if self.input_has_ended() => Err(self.closed(place)),
            Err(Stop::Incomplete { at_least }) => Ok(Err(at_least)),
            Err(Stop::Malformed(error)) => Err(self.end(Error::Malformed { place, error })),
        }
    }

    /// The raw data that is there.
    ///
    /// # Errors
    /// Why no more can come, which ended the session.
    pub(crate) fn raw(&mut self, place: Place) -> Result<&[u8], Error> {
        if self.incoming.len() == 0 && self.input_has_ended() {
            return Err(self.closed(place));
        }
        Ok(self.incoming.bytes())
    }

    /// Ends the session: a message came that has no place there.
    pub(crate) fn out_of_place(&mut self, place: Place) -> Error {
        let error = wire::Error {
            offset: self.offset(),
            kind: Kind::OutOfPlace,
        };
        self.end(Error::Malformed { place, error })
    }

    /// Ends the session: more bytes were needed than came.
    pub(crate) fn closed(&mut self, place: Place) -> Error {
        let error = self.why_closed(place);
        self.end(error)
    }

    /// Why nothing more will come.
    pub(crate) fn why_closed(&self, place: Place) -> Error {
        if let Some((kind, message)) = self.end_of_input.clone().flatten() {
            return Error::Io {
                place,
                kind,
                message,
            };
        }
        match self.output_failure(place) {
            // Who has closed the connection does not listen either: that says nothing more.
            Some(Error::Io {
                kind: io::ErrorKind::BrokenPipe,
                ..
            }) => Error::Closed { place },
            Some(failure) => failure,
            None => Error::Closed { place },
        }
    }

    /// Ends the session, if it had not ended before, and returns why it did.
    pub(crate) fn end(&mut self, error: Error) -> Error {
        self.ended.get_or_insert(error).clone()
    }

    /// Why the session ended, as seen from `place`.
    pub(crate) fn alive(&self, place: Place) -> Result<(), Error> {
        match &self.ended {
            Some(error) => Err(error.seen_from(place)),
            None => Ok(()),
        }
    }
}

/// The methods by which a session with a field `connection` gives and takes bytes. `$peer` is who is on the
/// other side.
macro_rules! byte_methods {
    ($peer:literal) => {
        /// What is to be sent.
        pub fn outgoing(&self) -> &[u8] {
            self.connection.outgoing()
        }

        /// Says that the first `count` bytes of [`Session::outgoing`] have left.
        pub fn sent(&mut self, count: usize) {
            self.connection.sent(count);
        }

        #[doc = concat!("Room for bytes from the ", $peer, ".")]
        pub fn space(&mut self) -> &mut [u8] {
            self.connection.space()
        }

        /// Says that `count` bytes were put into [`Session::space`].
        pub fn received(&mut self, count: usize) {
            self.connection.received(count);
        }

        #[doc = concat!(
            "Takes bytes from the ", $peer,
            ": as [`Session::space`] and [`Session::received`], with one more copy."
        )]
        pub fn receive(&mut self, bytes: &[u8]) {
            self.connection.receive(bytes);
        }

        /// How many bytes came that were not used yet.
        pub fn buffered(&self) -> usize {
            self.connection.incoming().len()
        }

        /// Ends the session, and hands back what came and was not used.
        pub fn into_unused(self) -> Vec<u8> {
            self.connection.incoming().to_vec()
        }

        #[doc = concat!(
            "Says that nothing more will come from the ", $peer, ", and why if that was a failure."
        )]
        pub fn input_ended(&mut self, failure: Option<&std::io::Error>) {
            self.connection.input_ended(failure);
        }
    };
}
pub(crate) use byte_methods;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_is_not_kept_though_something_is_always_left_to_send() {
        let mut connection = Connection::new(1 << 20);
        let mut next = 0_u8;
        for round in 0..10_000_usize {
            connection.queue().extend([round as u8; 100]);
            let count = connection.outgoing().len() - 50;
            for chunk in [count / 3, count - count / 3] {
                connection.sent(chunk);
            }
            assert_eq!(connection.outgoing(), [next; 50]);
            next = next.wrapping_add(1);
        }
        assert!(connection.outgoing.capacity() < 1000);
    }
}
