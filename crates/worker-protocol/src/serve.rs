//! The older protocol of `nix-store --serve [--write]`: client half, versions 2.5 to 2.7.
//!
//! It is what `ssh://` stores speak, and all that some keys allow on a builder. There is no log in it (what
//! a build says goes to the program's standard error), and an error mostly ends the program: then every
//! outstanding reply ends in [`Error::Closed`].
//!
//! | who | what |
//! |---|---|
//! | client | `0x390c9deb`, its version (2.7 is `0x207`) |
//! | server | `0x5452eecb`, its version |
//! | client | a command's number and its fields, again and again |
//! | server | its reply |
//!
//! Requests can be sent before the first byte came, as far as their layout does not depend on the version:
//! [`Session::new`] says which one is assumed. Nix 2.8.0 tests the client's version wrongly and sends built
//! outputs to all clients, so this one always announces 2.7.

#[cfg(feature = "tokio")]
mod adapter;
mod command;

use std::collections::VecDeque;
use std::fmt;
use std::io;

use store_path::StoreDir;

#[cfg(feature = "tokio")]
pub use adapter::Client;
pub use command::{
    AddToStoreNar, BuildDerivation, BuildPaths, BuildSettings, Command, DumpStorePath, ExportPaths,
    ImportPaths, QueryClosure, QueryPathInfos, QueryValidPaths,
};

use crate::buffer::Buffer;
use crate::wire::{Decoder, Encoder, Stop};
use crate::{Error, Incompatible, Misuse, Place};

/// The newest version that is spoken here, and that is announced.
pub const NEWEST: ServeVersion = ServeVersion(7);

/// Version 2.x of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeVersion(pub u8);

impl fmt::Display for ServeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

impl ServeVersion {
    /// Whether build results name the outputs that were built.
    pub fn has_built_outputs(self) -> bool {
        self.0 >= 6
    }

    /// Whether a build is told to keep its directory when it fails.
    pub fn has_keep_failed(self) -> bool {
        self.0 >= 7
    }
}

const CLIENT_MAGIC: u64 = 0x390c_9deb;
const SERVER_MAGIC: u64 = 0x5452_eecb;
const HANDSHAKE: Place = Place {
    number: 0,
    operation: "handshake",
};

/// What both sides know without saying it in every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Where the store's paths are.
    pub store_dir: StoreDir,
    /// The agreed version.
    pub version: ServeVersion,
}

/// A client's side of one connection, without the connection.
#[derive(Debug)]
pub struct Session {
    context: Context,
    version_known: bool,
    greeted: bool,
    outgoing: Vec<u8>,
    incoming: Buffer,
    pending: VecDeque<Place>,
    last_number: u64,
    raw: bool,
    end_of_input: Option<Option<(io::ErrorKind, String)>>,
    ended: Option<Error>,
}

/// How far something has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<T> {
    /// At least so many more bytes must come first.
    NeedBytes(usize),
    /// It is there.
    Ready(T),
}

impl Session {
    /// A session whose handshake stands in [`Session::outgoing`]. With an assumed version requests can be
    /// sent before the server's was read; a server of another one then ends the session.
    pub fn new(store_dir: StoreDir, assume: Option<ServeVersion>) -> Session {
        let mut outgoing = Vec::new();
        let announced = 2 << 8 | u64::from(NEWEST.0);
        Encoder::new(&mut outgoing)
            .word(CLIENT_MAGIC)
            .word(announced);
        Session {
            context: Context {
                store_dir,
                version: assume.unwrap_or(NEWEST),
            },
            version_known: assume.is_some(),
            greeted: false,
            outgoing,
            incoming: Buffer::default(),
            pending: VecDeque::new(),
            last_number: 0,
            raw: false,
            end_of_input: None,
            ended: None,
        }
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<ServeVersion> {
        self.version_known.then_some(self.context.version)
    }

    /// What is to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Says that the first `count` bytes of [`Session::outgoing`] have left.
    pub fn sent(&mut self, count: usize) {
        self.outgoing.drain(..count);
    }

    /// Room for bytes from the server.
    pub fn space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    /// Says that `count` bytes were put into [`Session::space`].
    pub fn received(&mut self, count: usize) {
        self.incoming.filled(count);
    }

    /// Forgets what came and was not read.
    #[cfg(feature = "tokio")]
    fn discard(&mut self) {
        let length = self.incoming.len();
        self.incoming.consume(length);
    }

    /// How many bytes came that no reply was made of yet.
    pub fn buffered(&self) -> usize {
        self.incoming.len()
    }

    /// Says that nothing more will come, and why if that was a failure.
    pub fn input_ended(&mut self, failure: Option<&io::Error>) {
        let failure = failure.map(|error| (error.kind(), error.to_string()));
        self.end_of_input.get_or_insert(failure);
    }

    /// Encodes a request behind what is to be sent already.
    ///
    /// # Errors
    /// [`Misuse::BeforeHandshake`] if the version is not known; why the session ended.
    pub fn queue<C: Command>(&mut self, command: &C) -> Result<(), Error> {
        self.alive()?;
        if !self.version_known {
            return Err(Misuse::BeforeHandshake.into());
        }
        let mut encoder = Encoder::new(&mut self.outgoing);
        encoder.word(C::NUMBER);
        command.encode(&mut encoder, &self.context);
        self.last_number += 1;
        self.pending.push_back(Place {
            number: self.last_number,
            operation: C::NAME,
        });
        Ok(())
    }

    /// Sends data behind the request that was queued last: an archive behind [`AddToStoreNar`] (exactly its
    /// `nar_size` bytes), or an export behind [`ImportPaths`].
    pub fn data(&mut self, data: &[u8]) {
        self.outgoing.extend_from_slice(data);
    }

    /// Reads on until the version is known.
    ///
    /// # Errors
    /// Why the session ended.
    pub fn poll_version(&mut self) -> Result<Progress<ServeVersion>, Error> {
        self.alive()?;
        if !self.greeted {
            let hello = self.read(HANDSHAKE, |decoder, _| {
                Ok((decoder.word()?, decoder.word()?))
            })?;
            let (magic, word) = match hello {
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Ready(hello) => hello,
            };
            if magic != SERVER_MAGIC {
                return Err(self.end(Error::Incompatible(Incompatible::Magic(magic))));
            }
            if word >> 8 != 2 || word & 0xff < 5 {
                return Err(self.end(Error::Incompatible(Incompatible::Version(word))));
            }
            let agreed = ServeVersion((word & 0xff) as u8).min(NEWEST);
            if self.version_known && self.last_number > 0 && agreed != self.context.version {
                return Err(self.end(Error::Incompatible(Incompatible::Version(word))));
            }
            self.context.version = agreed;
            self.version_known = true;
            self.greeted = true;
        }
        Ok(Progress::Ready(self.context.version))
    }

    /// Reads on until the reply to the first outstanding request is there. Ends the raw data of the reply
    /// before.
    ///
    /// # Errors
    /// [`Misuse::OutOfOrder`] if that request is another command; why the session ended.
    pub fn poll_reply<C: Command>(&mut self) -> Result<Progress<C::Reply>, Error> {
        if let Progress::NeedBytes(count) = self.poll_version()? {
            return Ok(Progress::NeedBytes(count));
        }
        let Some(&place) = self.pending.front() else {
            return Err(Misuse::NoRequest.into());
        };
        if place.operation != C::NAME {
            return Err(Misuse::OutOfOrder {
                wanted: self.last_number,
                next: place,
            }
            .into());
        }
        self.raw = false;
        let progress = self.read(place, C::decode_reply)?;
        if let Progress::Ready(_) = progress {
            self.pending.pop_front();
            self.raw = C::RAW_REPLY;
        }
        Ok(progress)
    }

    /// The raw data that is there: an archive behind the reply to [`DumpStorePath`], an export behind that
    /// to [`ExportPaths`]. Where it ends only its decoder knows.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`], or why the session ended.
    pub fn raw(&mut self) -> Result<&[u8], Error> {
        self.alive()?;
        if !self.raw {
            return Err(Misuse::NoRawData.into());
        }
        if self.incoming.len() == 0 && self.end_of_input.is_some() {
            let number = self.last_number - self.pending.len() as u64;
            return Err(self.end_at(Place {
                number,
                operation: "raw data",
            }));
        }
        Ok(self.incoming.bytes())
    }

    /// Says that the first `count` bytes of [`Session::raw`] were part of the raw data.
    pub fn consume_raw(&mut self, count: usize) {
        self.incoming.consume(count);
    }

    fn read<T>(
        &mut self,
        place: Place,
        decode: impl FnOnce(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Progress<T>, Error> {
        let mut decoder = Decoder::at(self.incoming.bytes(), self.incoming.offset());
        match decode(&mut decoder, &self.context) {
            Ok(value) => {
                let consumed = decoder.consumed();
                self.incoming.consume(consumed);
                Ok(Progress::Ready(value))
            }
            Err(Stop::Incomplete { .. }) if self.end_of_input.is_some() => Err(self.end_at(place)),
            Err(Stop::Incomplete { at_least }) => Ok(Progress::NeedBytes(at_least)),
            Err(Stop::Malformed(error)) => Err(self.end(Error::Malformed { place, error })),
        }
    }

    fn alive(&self) -> Result<(), Error> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn end_at(&mut self, place: Place) -> Error {
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

    fn end(&mut self, error: Error) -> Error {
        self.ended.get_or_insert(error).clone()
    }
}
