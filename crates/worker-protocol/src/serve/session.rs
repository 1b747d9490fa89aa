use store_path::StoreDir;

use super::command::{Command, UploadCommand};
use super::version::ServeVersion;
use crate::connection::{Connection, byte_methods};
use crate::outstanding::{HANDSHAKE, Outstanding, Ticket};
use crate::wire::{Decoder, Stop, limit};
use crate::{Error, Incompatible, Misuse, Place};

const CLIENT_MAGIC: u64 = 0x390c_9deb;
const SERVER_MAGIC: u64 = 0x5452_eecb;

/// The least that is announced: see the [module](super).
const LEAST_ANNOUNCED: ServeVersion = ServeVersion(6);

/// What both sides know without saying it in every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Where the store's paths are.
    pub store_dir: StoreDir,
    /// The agreed version.
    pub version: ServeVersion,
}

/// How far something has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<T> {
    /// At least so many more bytes must come first.
    NeedBytes(usize),
    /// It is there.
    Ready(T),
}

/// Data that is being sent behind a request.
#[derive(Debug, Clone, Copy)]
struct UploadState {
    place: Place,
    /// Bytes that must still come, where that is known.
    left: Option<u64>,
}

/// A client's side of one connection, without the connection.
///
/// # Order of calls
///
/// [`Session::new`]; then, as often as wanted and in any order: [`Session::queue`], or
/// [`Session::begin_upload`] with its [`Session::upload`] and [`Session::finish_upload`]. Whatever is to be
/// sent stands in [`Session::outgoing`]. Replies come in the order of the requests, each through
/// [`Session::poll_reply`], and what came from the server goes in through [`Session::space`] and
/// [`Session::received`].
#[derive(Debug)]
pub struct Session {
    context: Context,
    /// Whether `context.version` is what requests are encoded for.
    version_known: bool,
    announced: ServeVersion,
    greeted: bool,
    pub(super) connection: Connection,
    outstanding: Outstanding,
    upload: Option<UploadState>,
    /// What raw data follows the reply that was read last, if any.
    raw: Option<&'static str>,
}

impl Session {
    /// A session whose handshake stands in [`Session::outgoing`].
    ///
    /// `assume` is the version that the server is believed to have at least. Builds can then be queued before its
    /// version was read; a server that is older, and would read them in another way, ends the session with
    /// [`Incompatible::OlderThanAssumed`]. The lower of it and [`ServeVersion::NEWEST`] is announced (but 2.6 at
    /// least), so that a build is not told to keep its directory when 2.6 or less is assumed.
    pub fn new(store_dir: StoreDir, assume: Option<ServeVersion>) -> Session {
        let announced = assume.unwrap_or(ServeVersion::NEWEST);
        let announced = announced.clamp(LEAST_ANNOUNCED, ServeVersion::NEWEST);
        let mut connection = Connection::new(limit::MESSAGE);
        connection
            .encoder()
            .word(CLIENT_MAGIC)
            .word(announced.to_word());
        let version = announced;
        Session {
            context: Context { store_dir, version },
            version_known: assume.is_some(),
            announced,
            greeted: false,
            connection,
            outstanding: Outstanding::default(),
            upload: None,
            raw: None,
        }
    }

    byte_methods!("server");

    /// Says that nothing can be sent any more, and why. What the server had said before can still be read; where it
    /// ends, this is the reason.
    pub fn output_failed(&mut self, failure: &std::io::Error) {
        self.connection.output_failed(failure);
    }

    /// Why nothing can be sent any more, if so: a server that goes on to be silent may have got no request.
    pub fn output_failure(&self) -> Option<Error> {
        let next = self.outstanding.front().unwrap_or(HANDSHAKE);
        self.connection.output_failure(next)
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<ServeVersion> {
        self.version_known.then_some(self.context.version)
    }

    /// Store directory and version.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many replies are still to be read.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Encodes a request behind what is to be sent already.
    ///
    /// # Errors
    /// [`Misuse`]: the version is not known, and the command's layout depends on it; or data belongs to it; or what
    /// it holds has no bytes.
    /// Why the session ended.
    pub fn queue<C: Command>(&mut self, command: &C) -> Result<Ticket<C>, Error> {
        if C::HAS_DATA {
            return Err(Misuse::WithoutData(self.outstanding.next_place(C::NAME)).into());
        }
        self.encode(command)
    }

    fn encode<C: Command>(&mut self, command: &C) -> Result<Ticket<C>, Error> {
        self.connection
            .alive(self.outstanding.next_place(C::NAME))?;
        if let Some(upload) = &self.upload {
            return Err(Misuse::WithinUpload(upload.place).into());
        }
        if !self.version_known && C::NEEDS_VERSION {
            return Err(Misuse::BeforeHandshake.into());
        }
        if let Some(because) = command.inexpressible() {
            let command = C::NAME;
            return Err(Misuse::Inexpressible { command, because }.into());
        }
        let mut encoder = self.connection.encoder();
        encoder.word(C::NUMBER);
        command.encode(&mut encoder, &self.context);
        Ok(self.outstanding.push(C::NAME))
    }

    /// Encodes a request whose data follows through [`Session::upload`]. Nothing else can be queued before
    /// [`Session::finish_upload`].
    ///
    /// # Errors
    /// As [`Session::queue`].
    pub fn begin_upload<C: UploadCommand>(&mut self, command: &C) -> Result<Ticket<C>, Error> {
        let ticket = self.encode(command)?;
        let place = Place {
            number: ticket.number(),
            operation: C::NAME,
        };
        let left = command.data_size();
        self.upload = Some(UploadState { place, left });
        Ok(ticket)
    }

    /// Sends data.
    ///
    /// # Errors
    /// [`Misuse::TooMuchData`] if it is more than was announced, [`Misuse::NoUpload`] if none is under way;
    /// [`Error::Closed`] and the like if the server has ended: then the session has, too.
    pub fn upload(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_room(data.len())?;
        let state = self.upload_state()?;
        if let Some(left) = &mut state.left {
            *left -= data.len() as u64;
        }
        let place = state.place;
        if self.connection.input_has_ended() {
            return Err(self.connection.closed(place));
        }
        self.connection.queue().extend_from_slice(data);
        Ok(())
    }

    /// Whether so many bytes of data may come.
    pub(super) fn check_room(&mut self, count: usize) -> Result<(), Error> {
        let given = count as u64;
        match self.upload_state()?.left {
            Some(left) if given > left => Err(Misuse::TooMuchData { given, left }.into()),
            _ => Ok(()),
        }
    }

    /// Ends the data. Requests can be queued behind it at once.
    ///
    /// # Errors
    /// [`Misuse::TooLittleData`] if it is less than was announced: then the upload goes on. [`Misuse::NoUpload`] if
    /// none is under way; why the session ended.
    pub fn finish_upload(&mut self) -> Result<(), Error> {
        match self.upload_state()?.left {
            Some(missing) if missing > 0 => Err(Misuse::TooLittleData { missing }.into()),
            _ => {
                self.upload = None;
                Ok(())
            }
        }
    }

    /// Gives the upload up, and the session with it: the server waits for data that never comes. `because` is what
    /// made it impossible to go on. Returns how the session ended, or that there was no upload.
    pub fn abandon_upload(&mut self, because: Option<Misuse>) -> Error {
        match self.upload.take() {
            Some(UploadState { place, .. }) => {
                self.connection.discard_outgoing();
                self.connection.end(Error::Abandoned { place, because })
            }
            None => because.unwrap_or(Misuse::NoUpload).into(),
        }
    }

    fn upload_state(&mut self) -> Result<&mut UploadState, Error> {
        let place = match &self.upload {
            Some(state) => state.place,
            None => self.outstanding.front().unwrap_or(HANDSHAKE),
        };
        self.connection.alive(place)?;
        self.upload.as_mut().ok_or_else(|| Misuse::NoUpload.into())
    }

    /// Reads on until the handshake is done.
    ///
    /// # Errors
    /// Why the session ended.
    pub fn poll_handshake(&mut self) -> Result<Progress<ServeVersion>, Error> {
        self.connection.alive(HANDSHAKE)?;
        if !self.greeted {
            let hello = self.read(HANDSHAKE, |decoder, _| {
                let magic = decoder.word()?;
                // What is no server says nothing more that is worth waiting for.
                let word = if magic == SERVER_MAGIC {
                    decoder.word()?
                } else {
                    0
                };
                Ok((magic, word))
            })?;
            match hello {
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Ready((magic, word)) => self.agree(magic, word)?,
            }
        }
        Ok(Progress::Ready(self.context.version))
    }

    fn agree(&mut self, magic: u64, word: u64) -> Result<(), Error> {
        let agreed = ServeVersion::from_word(word)
            .filter(|&version| version >= ServeVersion::OLDEST)
            .map(|version| version.min(self.announced));
        let refused = match agreed {
            _ if magic != SERVER_MAGIC => Incompatible::Magic(magic),
            None => Incompatible::Version(word),
            Some(agreed) if self.version_known && self.encodes_otherwise(agreed) => {
                Incompatible::OlderThanAssumed(word)
            }
            Some(agreed) => {
                self.context.version = agreed;
                self.version_known = true;
                self.greeted = true;
                return Ok(());
            }
        };
        self.connection.discard_outgoing();
        Err(self.connection.end(Error::Incompatible(refused)))
    }

    /// Whether something that was queued would have been encoded in another way for this version.
    fn encodes_otherwise(&self, agreed: ServeVersion) -> bool {
        let assumed = self.context.version;
        self.outstanding.total() > 0 && agreed.has_keep_failed() != assumed.has_keep_failed()
    }

    /// Reads on until the reply to the first outstanding request is there. Ends the raw data of the reply
    /// before.
    ///
    /// # Errors
    /// [`Misuse`] if it is not this reply's turn; why the session ended.
    pub fn poll_reply<C: Command>(
        &mut self,
        ticket: Ticket<C>,
    ) -> Result<Progress<C::Reply>, Error> {
        let place = Place {
            number: ticket.number(),
            operation: C::NAME,
        };
        self.connection.alive(place)?;
        let handshake = self.poll_handshake();
        if let Progress::NeedBytes(count) = handshake.map_err(|error| error.seen_from(place))? {
            return Ok(Progress::NeedBytes(count));
        }
        if let Some(upload) = &self.upload {
            return Err(Misuse::WithinUpload(upload.place).into());
        }
        self.outstanding.check_turn(place)?;
        self.raw = None;
        let progress = self.read(place, C::decode_reply)?;
        if let Progress::Ready(_) = progress {
            self.outstanding.answered();
            self.raw = C::RAW_REPLY.then_some(C::NAME);
        }
        Ok(progress)
    }

    /// The raw data that is there: an archive behind the reply to
    /// [`DumpStorePath`](super::DumpStorePath), an export behind that to
    /// [`ExportPaths`](super::ExportPaths). Where it ends only its decoder knows.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`], or why the session ended; [`Error::Closed`] once nothing more can come, as after
    /// the request for a path that is not valid.
    pub fn raw(&mut self) -> Result<&[u8], Error> {
        let Some(operation) = self.raw else {
            return Err(Misuse::NoRawData.into());
        };
        let place = self.outstanding.raw_place(operation);
        self.connection.alive(place)?;
        self.connection.raw(place)
    }

    /// Says that the first `count` bytes of [`Session::raw`] were part of the raw data.
    pub fn consume_raw(&mut self, count: usize) {
        assert!(
            self.raw.is_some(),
            "raw data is consumed only where it follows"
        );
        self.connection.consume(count);
    }

    fn read<T>(
        &mut self,
        place: Place,
        decode: impl Fn(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Progress<T>, Error> {
        let context = &self.context;
        let value = self
            .connection
            .read(place, |decoder| decode(decoder, context))?;
        Ok(match value {
            Ok(value) => Progress::Ready(value),
            Err(count) => Progress::NeedBytes(count),
        })
    }
}
