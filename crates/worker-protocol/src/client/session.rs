use std::collections::VecDeque;

use super::options::Options;
use super::upload::UploadState;
use crate::connection::{Connection, byte_methods};
use crate::handshake::{self, Greeting};
use crate::log::Log;
use crate::operation::Upload;
use crate::outstanding::{HANDSHAKE, Outstanding, Ticket};
use crate::wire::{Decoder, Encoder, Stop};
use crate::{Context, Error, Incompatible, Misuse, Operation, Place, Version};

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

/// A client's side of one connection, without the connection. See the [module](super) for the calls.
#[derive(Debug)]
pub struct Session {
    pub(super) context: Context,
    /// Whether `context.version` is what requests are encoded for.
    pub(super) version_known: bool,
    pub(super) assumed: bool,
    pub(super) stage: Stage,
    pub(super) greeting: Greeting,
    pub(super) connection: Connection,
    /// Requests that may leave only after the replies to those before them: see [`Session::queue_in_turn`].
    held: VecDeque<Vec<u8>>,
    /// See [`Options::together`].
    together: usize,
    pub(super) outstanding: Outstanding,
    /// Whether the log of the first outstanding request was read through.
    pub(super) at_body: bool,
    /// Whether raw data follows.
    pub(super) raw: bool,
    pub(super) upload: Option<UploadState>,
}

impl Session {
    /// A session whose handshake stands in [`Session::outgoing`]. It has ended already if the version to announce and
    /// the one to assume are of different dialects.
    pub fn new(options: Options) -> Session {
        let version = match options.assume {
            Some(assumed) => assumed.min(options.version),
            None => options.version,
        };
        let assumed = options.assume.is_some();
        let mut connection = Connection::new(options.max_message);
        match options.assume {
            Some(assumed) if assumed.dialect() != options.version.dialect() => {
                let version = options.version;
                let mixed = Incompatible::Dialects { version, assumed };
                connection.end(Error::Incompatible(mixed));
            }
            _ => handshake::encode_client(&mut connection.encoder(), version, assumed),
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
            connection,
            held: VecDeque::new(),
            together: options.together,
            outstanding: Outstanding::default(),
            at_body: false,
            raw: false,
            upload: None,
        }
    }

    byte_methods!("daemon");

    /// Says that nothing can be sent any more, and why. What the daemon had said before can still be read; where it
    /// ends, this is the reason.
    pub fn output_failed(&mut self, failure: &std::io::Error) {
        self.connection.output_failed(failure);
    }

    /// Why nothing can be sent any more, if so: a daemon that goes on to be silent may have got no request.
    pub fn output_failure(&self) -> Option<Error> {
        let next = self.outstanding.front().unwrap_or(HANDSHAKE);
        self.connection.output_failure(next)
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
        self.outstanding.len()
    }

    /// Encodes a request behind what is to be sent already. In Guix's dialect it is held back until the
    /// replies to those before it have been read, unless it may leave together with them
    /// ([`Options::together`]).
    ///
    /// # Errors
    /// [`Error::Unsupported`]; [`Misuse`], such as for an operation with data
    /// ([`Session::begin_upload`] is for these); or why the session ended.
    pub fn queue<O: Operation>(&mut self, operation: &O) -> Result<Ticket<O>, Error> {
        if self.version_known && O::upload(self.context.version) != Upload::None {
            return Err(Misuse::WithoutData(self.outstanding.next_place(O::NAME)).into());
        }
        self.queue_request(operation)
    }

    /// As [`Session::queue`], for all operations.
    pub(super) fn queue_request<O: Operation>(
        &mut self,
        operation: &O,
    ) -> Result<Ticket<O>, Error> {
        if let Some(upload) = &self.upload {
            return Err(Misuse::WithinUpload(upload.place).into());
        }
        let place = self.outstanding.next_place(O::NAME);
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
                action: "send",
                operation: O::NAME,
                because,
                version,
            });
        }
        self.encode_request(operation, place)
    }

    fn encode_request<O: Operation>(
        &mut self,
        operation: &O,
        place: Place,
    ) -> Result<Ticket<O>, Error> {
        let has_data = O::upload(self.context.version) != Upload::None;
        if self.context.version.is_guix() {
            if has_data && !self.is_idle() {
                let next = self.outstanding.front().unwrap_or(HANDSHAKE);
                let wanted = place.number;
                return Err(Misuse::OutOfOrder { wanted, next }.into());
            }
            let mut request = Vec::new();
            encode(operation, &mut request, &self.context);
            self.queue_in_turn(request);
            if has_data {
                self.connection.seal();
            }
        } else {
            encode(operation, self.connection.queue(), &self.context);
        }
        Ok(self.outstanding.push(O::NAME))
    }

    /// Whether everything that was asked is answered.
    fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.outstanding.front().is_none()
    }

    /// A guix-daemon breaks the conversation off when it begins to work on a request and finds more data
    /// behind it ("EOF expected"). So each request waits for the reply before it; but for those that leave in
    /// one write, which it finds in its own buffer.
    fn queue_in_turn(&mut self, request: Vec<u8>) {
        if self.is_idle() {
            self.connection.gather();
        }
        if self.held.is_empty() && (self.is_idle() || self.leaves_together(&request)) {
            self.connection.queue().extend_from_slice(&request);
        } else {
            self.held.push_back(request);
        }
    }

    fn leaves_together(&self, request: &[u8]) -> bool {
        self.connection.gathers()
            && self.connection.outgoing().len() + request.len() <= self.together
    }

    /// Lets the next requests leave that waited, if all that have left are answered.
    pub(super) fn release_held(&mut self) {
        if self.held.len() < self.outstanding.len() {
            return;
        }
        self.connection.gather();
        while let Some(request) = self.held.pop_front() {
            self.connection.queue().extend_from_slice(&request);
            let next = self.held.front();
            if !next.is_some_and(|next| self.leaves_together(next)) {
                return;
            }
        }
    }

    /// Reads one value from the start of what came; the inner error is how many bytes are missing.
    pub(super) fn read<T>(
        &mut self,
        place: Place,
        decode: impl Fn(&mut Decoder<'_>, &Context) -> Result<T, Stop>,
    ) -> Result<Result<T, usize>, Error> {
        let value = self
            .connection
            .read(place, |decoder| decode(decoder, &self.context));
        if value.is_err() {
            self.connection.discard_outgoing();
        }
        value
    }

    pub(super) fn alive(&self, place: Place) -> Result<(), Error> {
        self.connection.alive(place)
    }

    /// Ends the session. What was not sent yet never is.
    pub(super) fn end(&mut self, error: Error) -> Error {
        self.connection.discard_outgoing();
        self.connection.end(error)
    }

    pub(super) fn out_of_place(&mut self, place: Place) -> Error {
        self.connection.discard_outgoing();
        self.connection.out_of_place(place)
    }
}

fn encode<O: Operation>(operation: &O, out: &mut Vec<u8>, context: &Context) {
    let mut encoder = Encoder::new(out);
    encoder.word(O::NUMBER);
    operation.encode(&mut encoder, context);
}
