use super::session::{Progress, Session};
use crate::log::Message;
use crate::operation::Upload;
use crate::outstanding::Ticket;
use crate::{Error, Misuse, Operation, Place};

impl Session {
    /// Reads on until the reply to the first outstanding request is there. Ends the raw data of the reply
    /// before.
    ///
    /// # Errors
    /// [`Error::Remote`] if the request failed (its reply counts as read), [`Misuse`], or why the session
    /// ended.
    pub fn poll_reply<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
    ) -> Result<Progress<O::Reply>, Error> {
        let number = ticket.number();
        let place = Place {
            number,
            operation: O::NAME,
        };
        self.alive(place)?;
        match self
            .poll_handshake()
            .map_err(|error| error.seen_from(place))?
        {
            Progress::Ready(()) => {}
            Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
            Progress::Log(log) => return Ok(Progress::Log(log)),
            Progress::Data(data) => return Ok(Progress::Data(data)),
        }
        if let Some(upload) = &self.upload {
            return Err(Misuse::WithinUpload(upload.place).into());
        }
        self.outstanding.check_turn(place)?;
        self.raw = false;
        if !self.at_body {
            let tunnelled = O::upload(self.context.version) == Upload::Tunnelled;
            match self.poll_body(place, tunnelled)? {
                Progress::Ready(()) => {}
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Log(log) => return Ok(Progress::Log(log)),
                Progress::Data(data) => return Ok(Progress::Data(data)),
            }
        }
        match self.read(place, O::decode_reply)? {
            Err(count) => Ok(Progress::NeedBytes(count)),
            Ok(reply) => {
                self.answered();
                self.raw = O::RAW_REPLY;
                Ok(Progress::Ready(reply))
            }
        }
    }

    /// Reads the log of the first outstanding request, at `place`, through; or up to the daemon's wish for
    /// data, where it gets some.
    pub(super) fn poll_body(
        &mut self,
        place: Place,
        tunnelled: bool,
    ) -> Result<Progress<()>, Error> {
        loop {
            match self.read(place, Message::decode)? {
                Err(count) => return Ok(Progress::NeedBytes(count)),
                Ok(Message::Log(log)) => return Ok(Progress::Log(log)),
                Ok(Message::Write(data)) => return Ok(Progress::Data(data)),
                Ok(Message::Last) => {
                    self.at_body = true;
                    return Ok(Progress::Ready(()));
                }
                Ok(Message::Error(error)) => {
                    self.answered();
                    return Err(Error::Remote(error));
                }
                Ok(Message::Read(count)) if tunnelled => match &mut self.upload {
                    Some(upload) => {
                        upload.wanted = count;
                        return Ok(Progress::Ready(()));
                    }
                    // All data was sent and yet more is wanted: an empty block is the end.
                    None => {
                        self.connection.encoder().bytes(&[]);
                    }
                },
                Ok(Message::Read(_)) => return Err(self.out_of_place(place)),
            }
        }
    }

    fn answered(&mut self) {
        self.outstanding.answered();
        self.at_body = false;
        self.release_held();
    }

    /// Whether raw data follows: the archive behind the reply that was read last.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The raw data that is there. More may follow; where it ends only its decoder knows.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`], or why the session ended; [`Error::Closed`] once nothing more can come.
    pub fn raw(&mut self) -> Result<&[u8], Error> {
        let place = self.outstanding.raw_place("NarFromPath");
        self.alive(place)?;
        if !self.raw {
            return Err(Misuse::NoRawData.into());
        }
        self.connection.raw(place)
    }

    /// Says that the first `count` bytes of [`Session::raw`] were part of the raw data.
    pub fn consume_raw(&mut self, count: usize) {
        assert!(self.raw, "raw data is consumed only where it follows");
        self.connection.consume(count);
    }
}
