use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use store_path::StoreDir;

use super::upload::UploadState;
use crate::buffer::Buffer;
use crate::handshake::{self, Greeting};
use crate::log::{Log, Message};
use crate::operation::Upload;
use crate::wire::{Decoder, Encoder, Kind, Stop};
use crate::{Context, Error, Misuse, Operation, Place, Version};

/// How a client introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the daemon's store has its paths.
    pub store_dir: StoreDir,
    /// The version to announce: the highest that may be agreed on. It also chooses the dialect.
    ///
    /// With up to 1.37 the whole handshake leaves in one write; 1.38 has an exchange of features, for
    /// which the client must first know that the daemon has it, too.
    pub version: Version,
    /// The version that the daemon is believed to have at least. Requests can then be queued (and sent) before the
    /// first byte came from the daemon. The session announces the lower of this and `version`, so every
    /// daemon that is not older does as expected; an older one makes all requests fail with
    /// [`Error::AssumedTooMuch`].
    pub assume: Option<Version>,
}

impl Options {
    /// Up to version 1.37 of Nix's dialect, without assumption.
    pub fn nix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::nix(37),
            assume: None,
        }
    }

    /// Guix's dialect, without assumption.
    pub fn guix(store_dir: StoreDir) -> Options {
        Options {
            store_dir,
            version: Version::GUIX_NEWEST,
            assume: None,
        }
    }
}

/// The claim to one request's reply. A copy claims the same reply, which can be had once.
pub struct Ticket<O> {
    pub(super) number: u64,
    operation: PhantomData<fn() -> O>,
}

impl<O> Ticket<O> {
    pub(super) fn new(number: u64) -> Ticket<O> {
        Ticket {
            number,
            operation: PhantomData,
        }
    }

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

/// How far something has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<T> {
    /// At least so many more bytes must come from the peer first.
    NeedBytes(usize),
    /// The daemon says something on the way.
    Log(Log),
    /// A block of the data that the operation delivers piece by piece.
    Data(Vec<u8>),
    /// It is there.
    Ready(T),
}

/// How far the daemon's side of the handshake was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Hello,
    Greeting,
    Startup,
    Ready,
}

/// A request whose reply was not yet read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) place: Place,
    /// Whether the daemon asks for this request's data.
    pub(super) tunnelled: bool,
}

/// A client's side of one connection, without the connection. See the [module](super) for the calls.
#[derive(Debug)]
pub struct Session {
    pub(super) context: Context,
    /// Whether `context.version` is what requests are encoded for.
    pub(super) version_known: bool,
    pub(super) assumed: bool,
    pub(super) stage: Stage,
    pub(super) greeting: Greeting,
    pub(super) outgoing: Vec<u8>,
    /// Requests that may leave only after the replies to those before them: see [`Session::must_wait`].
    held: VecDeque<Vec<u8>>,
    /// How many bytes of `outgoing` have left.
    sent: usize,
    pub(super) incoming: Buffer,
    end_of_input: Option<Option<(io::ErrorKind, String)>>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) last_number: u64,
    /// Whether the log of the first pending request was read through.
    pub(super) at_body: bool,
    pub(super) raw: bool,
    pub(super) upload: Option<UploadState>,
    ended: Option<Error>,
}

pub(super) const HANDSHAKE: Place = Place {
    number: 0,
    operation: "handshake",
};

impl Session {
    /// A session whose handshake stands in [`Session::outgoing`].
    pub fn new(options: Options) -> Session {
        let version = match options.assume {
            Some(assumed) => assumed.min(options.version),
            None => options.version,
        };
        let mut outgoing = Vec::new();
        let assumed = options.assume.is_some();
        let mut encoder = Encoder::new(&mut outgoing);
        encoder
            .word(handshake::CLIENT_MAGIC)
            .word(version.to_word());
        if version.has_features() && assumed {
            handshake::encode_features(&mut encoder, &[]);
        }
        if !version.has_features() || assumed {
            encoder.word(0).word(0);
        }
        Session {
            context: Context {
                store_dir: options.store_dir,
                version,
            },
            version_known: assumed,
            assumed,
            stage: Stage::Hello,
            greeting: Greeting::default(),
            outgoing,
            held: VecDeque::new(),
            sent: 0,
            incoming: Buffer::default(),
            end_of_input: None,
            pending: VecDeque::new(),
            last_number: 0,
            at_body: false,
            raw: false,
            upload: None,
            ended: None,
        }
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<Version> {
        self.version_known.then_some(self.context.version)
    }

    /// Store directory and version.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What the daemon told of itself, once the handshake is done.
    pub fn greeting(&self) -> Option<&Greeting> {
        (self.stage == Stage::Ready).then_some(&self.greeting)
    }

    /// How many replies are still to be read.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
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

    /// Says that nothing can be sent any more. What the daemon had said before can still be read.
    pub fn sending_failed(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }

    /// Room for bytes from the daemon.
    pub fn space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    /// Says that `count` bytes were put into [`Session::space`].
    pub fn received(&mut self, count: usize) {
        self.incoming.filled(count);
    }

    /// Takes bytes from the daemon: as [`Session::space`] and [`Session::received`], with one more copy.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// How many bytes came that no reply was made of yet.
    pub fn buffered(&self) -> usize {
        self.incoming.len()
    }

    /// Ends the session, and hands back what came and was not used.
    pub fn into_unused(self) -> Vec<u8> {
        self.incoming.bytes().to_vec()
    }

    /// Says that nothing more will come from the daemon, and why if that was a failure.
    pub fn input_ended(&mut self, failure: Option<&io::Error>) {
        let failure = failure.map(|error| (error.kind(), error.to_string()));
        self.end_of_input.get_or_insert(failure);
    }

    /// Encodes a request behind what is to be sent already. In Guix's dialect it is held back until the
    /// replies to those before it have been read.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Misuse`], or why the session ended.
    pub fn queue<O: Operation>(&mut self, operation: &O) -> Result<Ticket<O>, Error> {
        if let Some(upload) = &self.upload {
            return Err(Misuse::WithinUpload(upload.place).into());
        }
        self.encode_request(operation)
    }

    pub(super) fn encode_request<O: Operation>(
        &mut self,
        operation: &O,
    ) -> Result<Ticket<O>, Error> {
        let number = self.last_number + 1;
        let place = Place {
            number,
            operation: O::NAME,
        };
        self.alive(place)?;
        if !self.version_known {
            return Err(Misuse::BeforeHandshake.into());
        }
        let version = self.context.version;
        let because = match O::exists(version) {
            true => operation.inexpressible(version),
            false => Some(""),
        };
        if let Some(because) = because {
            return Err(Error::Unsupported {
                operation: O::NAME,
                because,
                version,
            });
        }
        let waits = self.must_wait();
        if waits && O::upload(version) != Upload::None {
            let next = self
                .pending
                .front()
                .map_or(HANDSHAKE, |pending| pending.place);
            return Err(Misuse::OutOfOrder {
                wanted: number,
                next,
            }
            .into());
        }
        let mut request = Vec::new();
        let out = if waits {
            &mut request
        } else {
            &mut self.outgoing
        };
        let mut encoder = Encoder::new(out);
        encoder.word(O::NUMBER);
        operation.encode(&mut encoder, &self.context);
        if waits {
            self.held.push_back(request);
        }
        let tunnelled = O::upload(version) == Upload::Tunnelled;
        self.pending.push_back(Pending { place, tunnelled });
        self.last_number = number;
        Ok(Ticket::new(number))
    }

    /// A guix-daemon breaks the connection off when it begins to work on a request and finds more data
    /// behind it ("EOF expected"), so there each request waits for the reply before it.
    fn must_wait(&self) -> bool {
        self.context.version.is_guix() && (self.stage != Stage::Ready || !self.pending.is_empty())
    }

    pub(super) fn release_held(&mut self) {
        if let Some(request) = self.held.pop_front() {
            self.outgoing.extend_from_slice(&request);
        }
    }

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
        let place = Place {
            number: ticket.number,
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
        self.check_turn(ticket.number)?;
        self.raw = false;
        if !self.at_body {
            match self.poll_body()? {
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

    fn check_turn(&self, number: u64) -> Result<(), Error> {
        match self.pending.front() {
            Some(next) if next.place.number == number => Ok(()),
            Some(next) if next.place.number < number => Err(Misuse::OutOfOrder {
                wanted: number,
                next: next.place,
            }
            .into()),
            _ => Err(Misuse::AlreadyRead(number).into()),
        }
    }

    /// Reads the log of the first outstanding request through.
    pub(super) fn poll_body(&mut self) -> Result<Progress<()>, Error> {
        let front = *self.pending.front().expect("its turn was checked");
        loop {
            match self.read(front.place, Message::decode)? {
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
                Ok(Message::Read(count)) if front.tunnelled => match &mut self.upload {
                    Some(upload) => {
                        upload.wanted = count;
                        return Ok(Progress::Ready(()));
                    }
                    // All data was sent and yet more is wanted: an empty block is the end.
                    None => {
                        Encoder::new(&mut self.outgoing).bytes(&[]);
                    }
                },
                Ok(Message::Read(_)) => return Err(self.out_of_place(front.place)),
            }
        }
    }

    fn answered(&mut self) {
        self.pending.pop_front();
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
        let place = Place {
            number: self.last_number - self.pending.len() as u64,
            operation: "NarFromPath",
        };
        self.alive(place)?;
        if !self.raw {
            return Err(Misuse::NoRawData.into());
        }
        if self.incoming.len() == 0 && self.end_of_input.is_some() {
            return Err(self.end_at(place));
        }
        Ok(self.incoming.bytes())
    }

    /// Says that the first `count` bytes of [`Session::raw`] were part of the raw data.
    pub fn consume_raw(&mut self, count: usize) {
        assert!(self.raw, "raw data is consumed only where it follows");
        self.incoming.consume(count);
    }

    /// Reads one value from the start of the buffer; the inner error is how many bytes are missing.
    pub(super) fn read<T>(
        &mut self,
        place: Place,
        decode: impl FnOnce(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Result<T, usize>, Error> {
        let mut decoder = Decoder::at(self.incoming.bytes(), self.incoming.offset());
        match decode(&mut decoder, &self.context) {
            Ok(value) => {
                let consumed = decoder.consumed();
                self.incoming.consume(consumed);
                Ok(Ok(value))
            }
            Err(Stop::Incomplete { .. }) if self.end_of_input.is_some() => Err(self.end_at(place)),
            Err(Stop::Incomplete { at_least }) => Ok(Err(at_least)),
            Err(Stop::Malformed(error)) => Err(self.end(Error::Malformed { place, error })),
        }
    }

    pub(super) fn out_of_place(&mut self, place: Place) -> Error {
        let offset = self.incoming.offset();
        let kind = Kind::OutOfPlace;
        self.end(Error::Malformed {
            place,
            error: crate::wire::Error { offset, kind },
        })
    }

    pub(super) fn alive(&self, place: Place) -> Result<(), Error> {
        match &self.ended {
            Some(error) => Err(error.seen_from(place)),
            None => Ok(()),
        }
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

    pub(super) fn end(&mut self, error: Error) -> Error {
        self.outgoing.clear();
        self.sent = 0;
        self.ended.get_or_insert(error).clone()
    }
}
