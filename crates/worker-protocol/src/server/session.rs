use std::io;

use super::options::Options;
use super::upload::UploadState;
use crate::connection::{Connection, byte_methods};
use crate::handshake::{self, Greeting};
use crate::log::{Log, Message, RemoteError};
use crate::outstanding::HANDSHAKE;
use crate::wire::{Decoder, Kind, Stop, Text};
use crate::{Context, Error, Incompatible, Misuse, Operation, Place, Request, Version};

/// How far something has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<T> {
    /// At least so many more bytes must come from the client first.
    NeedBytes(usize),
    /// It is there.
    Ready(T),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Magic,
    Version,
    Features,
    Words,
    Ready,
}

/// A server's side of one connection, without the connection. See the [module](super) for the calls.
#[derive(Debug)]
pub struct Session {
    pub(super) context: Context,
    greeting: Greeting,
    client_features: Vec<Text>,
    stage: Stage,
    pub(super) connection: Connection,
    /// The request that waits for its answer.
    current: Option<Place>,
    requests: u64,
    /// Whether the request that was answered last has an archive behind its reply.
    raw: bool,
    pub(super) upload: Option<UploadState>,
}

impl Session {
    /// A session that waits for a client's handshake.
    pub fn new(options: Options) -> Session {
        Session {
            context: Context {
                store_dir: options.store_dir,
                version: options.version,
            },
            greeting: Greeting {
                features: Vec::new(),
                daemon_version: Some(options.daemon_version),
                trusted: options.trusted,
            },
            client_features: Vec::new(),
            stage: Stage::Magic,
            connection: Connection::new(options.max_message),
            current: None,
            requests: 0,
            raw: false,
            upload: None,
        }
    }

    byte_methods!("client");

    /// The agreed version, once the handshake is done.
    pub fn version(&self) -> Option<Version> {
        (self.stage == Stage::Ready).then_some(self.context.version)
    }

    /// Store directory and version.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The features that the client named, from 1.38 on. None is agreed on: this side names none.
    pub fn client_features(&self) -> &[Text] {
        &self.client_features
    }

    /// Reads on until the handshake is done.
    ///
    /// # Errors
    /// Why the session ended.
    pub fn poll_accept(&mut self) -> Result<Progress<()>, Error> {
        self.alive()?;
        while self.stage != Stage::Ready {
            let stage = self.stage;
            let step = self.read(|decoder, _| match stage {
                Stage::Magic | Stage::Version => decoder.word().map(|word| (word, Vec::new())),
                Stage::Features => Ok((0, handshake::decode_features(decoder)?)),
                Stage::Words | Stage::Ready => {
                    if decoder.word()? != 0 {
                        decoder.word()?;
                    }
                    decoder.word().map(|reserve| (reserve, Vec::new()))
                }
            })?;
            let (word, features) = match step {
                Ok(step) => step,
                Err(count) => return Ok(Progress::NeedBytes(count)),
            };
            self.accept(word, features)?;
        }
        Ok(Progress::Ready(()))
    }

    fn accept(&mut self, word: u64, features: Vec<Text>) -> Result<(), Error> {
        let mut encoder = self.connection.encoder();
        match self.stage {
            Stage::Magic if word != handshake::CLIENT_MAGIC => {
                return Err(self.end(Error::Incompatible(Incompatible::Magic(word))));
            }
            Stage::Magic => {
                encoder
                    .word(handshake::DAEMON_MAGIC)
                    .word(self.context.version.to_word());
                self.stage = Stage::Version;
            }
            Stage::Version => {
                let agreed = handshake::agree(self.context.version, word);
                self.context.version = agreed.map_err(|error| self.end(error))?;
                self.stage = match self.context.version.has_features() {
                    true => Stage::Features,
                    false => Stage::Words,
                };
            }
            Stage::Features => {
                handshake::encode_features(&mut encoder, &[]);
                self.client_features = features;
                self.stage = Stage::Words;
            }
            Stage::Words | Stage::Ready => {
                self.greeting.encode(&mut encoder, self.context.version);
                Message::Last.encode(self.connection.queue(), &self.context);
                self.stage = Stage::Ready;
            }
        }
        Ok(())
    }

    /// Reads the next request; nothing if the client has hung up between two requests.
    ///
    /// # Errors
    /// Why the session ended. What a client sent that cannot be understood is answered with an error, and
    /// ends the session, because the start of the next request is not known.
    pub fn poll_request(&mut self) -> Result<Progress<Option<Request>>, Error> {
        match self.poll_accept()? {
            Progress::Ready(()) => {}
            Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
        }
        if self.current.is_some() {
            return Err(Misuse::Unanswered.into());
        }
        if self.connection.is_over() {
            return Ok(Progress::Ready(None));
        }
        let step = self.read(|decoder, context| {
            let offset = decoder.offset();
            let number = decoder.word()?;
            Request::decode(number, decoder, context)?.ok_or_else(|| {
                let kind = Kind::Number {
                    what: "an operation of this version",
                    value: number,
                };
                decoder.error_at(offset, kind)
            })
        });
        match step {
            Ok(Err(count)) => Ok(Progress::NeedBytes(count)),
            Ok(Ok(request)) => {
                self.requests += 1;
                self.raw = false;
                self.current = Some(Place {
                    number: self.requests,
                    operation: request.name(),
                });
                self.upload = UploadState::for_request(&request, self.context.version);
                Ok(Progress::Ready(Some(request)))
            }
            Err(error) => {
                if let Error::Malformed { error, .. } = &error {
                    let error = RemoteError::new(format!("failed to {error}"));
                    Message::Error(error).encode(self.connection.queue(), &self.context);
                }
                Err(error)
            }
        }
    }

    /// Sends a log message to the client whose request is being worked on.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests.
    pub fn log(&mut self, log: Log) -> Result<(), Error> {
        self.turn()?;
        Message::Log(log).encode(self.connection.queue(), &self.context);
        Ok(())
    }

    /// Sends a block of data, for operations that deliver it before their reply.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests.
    pub fn data(&mut self, block: &[u8]) -> Result<(), Error> {
        self.turn()?;
        Message::Write(block.to_vec()).encode(self.connection.queue(), &self.context);
        Ok(())
    }

    /// Answers the request. Its data must have been read: see [`Session::poll_drain`].
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] if none waits or it is one of another operation; [`Error::Unsupported`] if the version
    /// cannot say this reply: then the request still waits.
    pub fn answer<O: Operation>(&mut self, reply: &O::Reply) -> Result<(), Error> {
        if self.turn()?.operation != O::NAME || self.upload.is_some() {
            return Err(Misuse::NoRequest.into());
        }
        let version = self.context.version;
        if let Some(because) = O::inexpressible_reply(reply, version) {
            return Err(Error::Unsupported {
                action: "answer",
                operation: O::NAME,
                because,
                version,
            });
        }
        Message::Last.encode(self.connection.queue(), &self.context);
        O::encode_reply(reply, &mut self.connection.encoder(), &self.context);
        self.current = None;
        self.raw = O::RAW_REPLY;
        Ok(())
    }

    /// Answers the request with an error. Its data must have been read: see [`Session::poll_drain`].
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests.
    pub fn fail(&mut self, error: RemoteError) -> Result<(), Error> {
        self.turn()?;
        if self.upload.is_some() {
            return Err(Misuse::NoRequest.into());
        }
        Message::Error(error).encode(self.connection.queue(), &self.context);
        self.current = None;
        Ok(())
    }

    /// Sends part of the archive behind the answer to NarFromPath, before the next request is read.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; why the session ended.
    pub fn raw(&mut self, data: &[u8]) -> Result<(), Error> {
        self.alive()?;
        if !self.raw {
            return Err(Misuse::NoRawData.into());
        }
        self.connection.queue().extend_from_slice(data);
        Ok(())
    }

    fn turn(&self) -> Result<Place, Error> {
        self.alive()?;
        self.current.ok_or_else(|| Misuse::NoRequest.into())
    }

    pub(super) fn place(&self) -> Place {
        let next = Place {
            number: self.requests + 1,
            operation: "a new one",
        };
        match self.stage {
            Stage::Ready => self.current.unwrap_or(next),
            _ => HANDSHAKE,
        }
    }

    /// Reads one value from the start of the buffer; the inner error is how many bytes are missing.
    pub(super) fn read<T>(
        &mut self,
        decode: impl Fn(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Result<T, usize>, Error> {
        let place = self.place();
        self.connection
            .read(place, |decoder| decode(decoder, &self.context))
    }

    /// Says that nothing can be sent any more, and returns how the session ended by that.
    pub fn write_failed(&mut self, failure: &io::Error) -> Error {
        let place = self.place();
        self.end(Error::Io {
            place,
            kind: failure.kind(),
            message: failure.to_string(),
        })
    }

    pub(super) fn alive(&self) -> Result<(), Error> {
        self.connection.alive(self.place())
    }

    fn end(&mut self, error: Error) -> Error {
        self.connection.end(error)
    }
}
