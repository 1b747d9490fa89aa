use std::io;

use store_path::StoreDir;

use super::upload::UploadState;
use crate::buffer::Buffer;
use crate::handshake::{self, Greeting};
use crate::log::{Log, Message, RemoteError};
use crate::wire::{self, Decoder, Encoder, Kind, Stop, Text};
use crate::{Context, Error, Incompatible, Misuse, Operation, Place, Request, Version};

/// How a server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the store has its paths.
    pub store_dir: StoreDir,
    /// The version to announce: the highest that may be agreed on. It also chooses the dialect.
    pub version: Version,
    /// The server's own version, which clients show to people (told from 1.33 on).
    pub daemon_version: Text,
    /// Whether the client is trusted, if that is to be told (from 1.35 on).
    pub trusted: Option<bool>,
}

impl Options {
    /// The newest version of Nix's dialect.
    pub fn nix(store_dir: StoreDir, daemon_version: impl Into<Text>) -> Options {
        let daemon_version = daemon_version.into();
        Options {
            store_dir,
            version: Version::NIX_NEWEST,
            daemon_version,
            trusted: None,
        }
    }

    /// The newest version of Guix's dialect.
    pub fn guix(store_dir: StoreDir) -> Options {
        let version = Version::GUIX_NEWEST;
        Options {
            version,
            ..Options::nix(store_dir, "")
        }
    }
}

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
    pub(super) outgoing: Vec<u8>,
    sent: usize,
    pub(super) incoming: Buffer,
    end_of_input: Option<Option<(io::ErrorKind, String)>>,
    /// The request that waits for its answer.
    current: Option<Place>,
    requests: u64,
    pub(super) upload: Option<UploadState>,
    ended: Option<Error>,
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
            outgoing: Vec::new(),
            sent: 0,
            incoming: Buffer::default(),
            end_of_input: None,
            current: None,
            requests: 0,
            upload: None,
            ended: None,
        }
    }

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

    /// What is to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Says that the first `count` bytes of [`Session::outgoing`] have left.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        assert!(
            self.sent <= self.outgoing.len(),
            "no more was sent than there was"
        );
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    /// Room for bytes from the client.
    pub fn space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    /// Says that `count` bytes were put into [`Session::space`].
    pub fn received(&mut self, count: usize) {
        self.incoming.filled(count);
    }

    /// Takes bytes from the client: as [`Session::space`] and [`Session::received`], with one more copy.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// How many bytes came that were not used yet.
    pub fn buffered(&self) -> usize {
        self.incoming.len()
    }

    /// Ends the session, and hands back what came and was not used.
    pub fn into_unused(self) -> Vec<u8> {
        self.incoming.bytes().to_vec()
    }

    /// Says that nothing more will come from the client, and why if that was a failure.
    pub fn input_ended(&mut self, failure: Option<&io::Error>) {
        let failure = failure.map(|error| (error.kind(), error.to_string()));
        self.end_of_input.get_or_insert(failure);
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
        let mut encoder = Encoder::new(&mut self.outgoing);
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
                Message::Last.encode(&mut self.outgoing, &self.context);
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
        if self.incoming.len() == 0 && self.end_of_input == Some(None) {
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
                    Message::Error(error).encode(&mut self.outgoing, &self.context);
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
        Message::Log(log).encode(&mut self.outgoing, &self.context);
        Ok(())
    }

    /// Sends a block of data, for operations that deliver it before their reply.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests.
    pub fn data(&mut self, block: &[u8]) -> Result<(), Error> {
        self.turn()?;
        Message::Write(block.to_vec()).encode(&mut self.outgoing, &self.context);
        Ok(())
    }

    /// Answers the request. Its data must have been read: see [`Session::poll_drain`].
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] if none waits or it is one of another operation.
    pub fn answer<O: Operation>(&mut self, reply: &O::Reply) -> Result<(), Error> {
        if self.turn()?.operation != O::NAME || self.upload.is_some() {
            return Err(Misuse::NoRequest.into());
        }
        Message::Last.encode(&mut self.outgoing, &self.context);
        O::encode_reply(reply, &mut Encoder::new(&mut self.outgoing), &self.context);
        self.current = None;
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
        Message::Error(error).encode(&mut self.outgoing, &self.context);
        self.current = None;
        Ok(())
    }

    /// Sends part of the archive behind the answer to NarFromPath.
    pub fn raw(&mut self, data: &[u8]) {
        self.outgoing.extend_from_slice(data);
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
        let handshake = Place {
            number: 0,
            operation: "handshake",
        };
        match self.stage {
            Stage::Ready => self.current.unwrap_or(next),
            _ => handshake,
        }
    }

    /// Reads one value from the start of the buffer; the inner error is how many bytes are missing.
    pub(super) fn read<T>(
        &mut self,
        decode: impl FnOnce(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Result<T, usize>, Error> {
        let mut decoder = Decoder::at(self.incoming.bytes(), self.incoming.offset());
        match decode(&mut decoder, &self.context) {
            Ok(value) => {
                let consumed = decoder.consumed();
                self.incoming.consume(consumed);
                Ok(Ok(value))
            }
            Err(Stop::Incomplete { .. }) if self.end_of_input.is_some() => Err(self.closed()),
            Err(Stop::Incomplete { at_least }) => Ok(Err(at_least)),
            Err(Stop::Malformed(error)) => Err(self.malformed(error)),
        }
    }

    pub(super) fn malformed(&mut self, error: wire::Error) -> Error {
        let place = self.place();
        self.end(Error::Malformed { place, error })
    }

    pub(super) fn input_has_ended(&self) -> bool {
        self.end_of_input.is_some()
    }

    pub(super) fn closed(&mut self) -> Error {
        let place = self.place();
        let error = match self.end_of_input.clone().flatten() {
            Some((kind, message)) => Error::Io {
                place,
                kind,
                message,
            },
            None => Error::Closed { place },
        };
        self.end(error)
    }

    /// Says that nothing can be sent any more, and returns how the session ended by that.
    pub fn write_failed(&mut self, failure: Option<&io::Error>) -> Error {
        let place = self.place();
        let error = match failure {
            Some(error) => Error::Io {
                place,
                kind: error.kind(),
                message: error.to_string(),
            },
            None => Error::Closed { place },
        };
        self.end(error)
    }

    pub(super) fn alive(&self) -> Result<(), Error> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    pub(super) fn end(&mut self, error: Error) -> Error {
        self.ended.get_or_insert(error).clone()
    }
}
