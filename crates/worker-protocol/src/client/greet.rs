use super::session::{Progress, Session, Stage};
use crate::handshake::{self, Greeting};
use crate::log::Message;
use crate::outstanding::HANDSHAKE;
use crate::{Error, Version};

// What is said stands in the module `handshake`.
impl Session {
    /// Reads on until the version is known.
    ///
    /// # Errors
    /// Why the session ended.
    pub fn poll_version(&mut self) -> Result<Progress<Version>, Error> {
        self.alive(HANDSHAKE)?;
        if !self.version_known
            && let Some(count) = self.read_hello()?
        {
            return Ok(Progress::NeedBytes(count));
        }
        Ok(Progress::Ready(self.context.version))
    }

    /// Reads on until the handshake is done.
    ///
    /// # Errors
    /// [`Error::Refused`], or why else the session ended.
    pub fn poll_handshake(&mut self) -> Result<Progress<()>, Error> {
        self.alive(HANDSHAKE)?;
        if self.stage == Stage::Hello
            && let Some(count) = self.read_hello()?
        {
            return Ok(Progress::NeedBytes(count));
        }
        if self.stage == Stage::Greeting {
            let version = self.context.version;
            match self.read(HANDSHAKE, |decoder, _| Greeting::decode(decoder, version))? {
                Ok(greeting) => self.greeting = greeting,
                Err(count) => return Ok(Progress::NeedBytes(count)),
            }
            self.stage = Stage::Startup;
        }
        while self.stage == Stage::Startup {
            match self.read(HANDSHAKE, Message::decode)? {
                Err(count) => return Ok(Progress::NeedBytes(count)),
                Ok(Message::Log(log)) => return Ok(Progress::Log(log)),
                Ok(Message::Last) => {
                    self.stage = Stage::Ready;
                    self.release_held();
                }
                Ok(Message::Error(error)) => return Err(self.end(Error::Refused(error))),
                Ok(Message::Read(_) | Message::Write(_)) => {
                    return Err(self.out_of_place(HANDSHAKE));
                }
            }
        }
        Ok(Progress::Ready(()))
    }

    /// Returns how many bytes are missing.
    fn read_hello(&mut self) -> Result<Option<usize>, Error> {
        let daemon = match self.read(HANDSHAKE, |decoder, _| handshake::decode_hello(decoder))? {
            Err(count) => return Ok(Some(count)),
            Ok(Ok(daemon)) => daemon,
            Ok(Err(error)) => return Err(self.end(error)),
        };
        let announced = self.context.version;
        let agreed = handshake::agree(announced, daemon).map_err(|error| self.end(error))?;
        if self.assumed
            && agreed != announced
            && (self.outstanding.total() > 0 || announced.has_features())
        {
            let error = Error::AssumedTooMuch {
                assumed: announced,
                daemon: agreed,
            };
            return Err(self.end(error));
        }
        self.context.version = agreed;
        self.version_known = true;
        self.stage = Stage::Greeting;
        if !self.assumed && announced.has_features() {
            handshake::encode_client_words(&mut self.connection.encoder(), agreed);
        }
        Ok(None)
    }
}
