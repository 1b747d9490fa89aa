//! What a daemon tells while it works, and how it says that something failed.
//!
//! Between a request and its reply a daemon sends any number of messages: lines, activities that start and
//! stop, results of activities. The last one says that the reply follows, or that the request failed.

use std::fmt;
use std::num::NonZero;

use crate::Context;
use crate::wire::{Decoder, Encoder, Kind, Stop, Text, limit};

/// How important a message is: 0 error, 1 warning, 2 notice, 3 info, 4 talkative, 5 chatty, 6 debug, 7 vomit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Level(pub u64);

impl Level {
    /// Errors.
    pub const ERROR: Level = Level(0);
    /// Warnings.
    pub const WARNING: Level = Level(1);
    /// Notices.
    pub const NOTICE: Level = Level(2);
    /// What a person sees without asking for more.
    pub const INFO: Level = Level(3);
    /// With `-v`.
    pub const TALKATIVE: Level = Level(4);
    /// With `-vv`.
    pub const CHATTY: Level = Level(5);
    /// With `-vvv`.
    pub const DEBUG: Level = Level(6);
    /// Everything.
    pub const VOMIT: Level = Level(7);
}

/// What an activity does. The numbers are Nix's; unknown ones are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ActivityKind(pub u64);

impl ActivityKind {
    /// Something without a kind of its own.
    pub const UNKNOWN: ActivityKind = ActivityKind(0);
    /// Fields: path, source store, destination store.
    pub const COPY_PATH: ActivityKind = ActivityKind(100);
    /// A download. Field: URL.
    pub const FILE_TRANSFER: ActivityKind = ActivityKind(101);
    /// Bringing a set of paths into existence.
    pub const REALISE: ActivityKind = ActivityKind(102);
    /// Copying a set of paths.
    pub const COPY_PATHS: ActivityKind = ActivityKind(103);
    /// A set of builds.
    pub const BUILDS: ActivityKind = ActivityKind(104);
    /// One build. Fields: derivation, machine (empty: here), round, number of rounds.
    pub const BUILD: ActivityKind = ActivityKind(105);
    /// Optimising the store.
    pub const OPTIMISE_STORE: ActivityKind = ActivityKind(106);
    /// Verifying paths.
    pub const VERIFY_PATHS: ActivityKind = ActivityKind(107);
    /// Substituting one path. Fields: path, substituter.
    pub const SUBSTITUTE: ActivityKind = ActivityKind(108);
    /// Asking a substituter. Fields: path, substituter.
    pub const QUERY_PATH_INFO: ActivityKind = ActivityKind(109);
    /// Running the post-build hook. Field: derivation.
    pub const POST_BUILD_HOOK: ActivityKind = ActivityKind(110);
    /// Waiting for a lock or a slot of a machine.
    pub const BUILD_WAITING: ActivityKind = ActivityKind(111);
    /// Fetching a tree.
    pub const FETCH_TREE: ActivityKind = ActivityKind(112);
}

/// What a result tells. The numbers are Nix's; unknown ones are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ResultKind(pub u64);

impl ResultKind {
    /// Fields: path, bytes saved.
    pub const FILE_LINKED: ResultKind = ResultKind(100);
    /// A line of a build's log. Field: the line.
    pub const BUILD_LOG_LINE: ResultKind = ResultKind(101);
    /// Field: path.
    pub const UNTRUSTED_PATH: ResultKind = ResultKind(102);
    /// Field: path.
    pub const CORRUPTED_PATH: ResultKind = ResultKind(103);
    /// The phase of a build. Field: its name.
    pub const SET_PHASE: ResultKind = ResultKind(104);
    /// Fields: done, expected, running, failed.
    pub const PROGRESS: ResultKind = ResultKind(105);
    /// Fields: kind of activity, how many are expected.
    pub const SET_EXPECTED: ResultKind = ResultKind(106);
    /// A line of the post-build hook. Field: the line.
    pub const POST_BUILD_LOG_LINE: ResultKind = ResultKind(107);
    /// Field: status of a fetch.
    pub const FETCH_STATUS: ResultKind = ResultKind(108);
}

/// One field of an activity or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// A text.
    Text(Text),
}

/// One message of a daemon's log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Log {
    /// Text for the person who waits, mostly one line with its newline. It may hold escape sequences.
    Next(Text),
    /// Something begins.
    StartActivity {
        /// A number that is unique among the daemon's activities.
        id: u64,
        /// Its importance.
        level: Level,
        /// Its kind.
        kind: ActivityKind,
        /// Its description, maybe empty.
        text: Text,
        /// What [`ActivityKind`] says.
        fields: Vec<Field>,
        /// The activity that this one belongs to, 0 for none.
        parent: u64,
    },
    /// Something ended.
    StopActivity {
        /// The activity.
        id: u64,
    },
    /// News from an activity.
    Result {
        /// The activity.
        id: u64,
        /// What the fields are.
        kind: ResultKind,
        /// What [`ResultKind`] says.
        fields: Vec<Field>,
    },
}

/// An error that the peer reports for one request.
///
/// The connection can be used further, unless the peer closes it: a nix-daemon does so after an operation that it
/// does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RemoteError {
    /// Its level; [`Level::ERROR`] where the version tells none.
    pub level: Level,
    /// What happened, as the peer formats it for a terminal.
    pub message: Text,
    /// What was being done, innermost first. Empty before 1.26.
    pub traces: Vec<Text>,
    /// The exit status that a command line client should end with; Guix: 1, 100 (permanent failure), 101
    /// (timed out). Nothing where the version tells none (Nix from 1.26 on): to a version that needs one it is told
    /// as 1, since clients do end with it.
    pub status: Option<NonZero<u64>>,
}

impl RemoteError {
    /// An error with a message and nothing else.
    pub fn new(message: impl Into<Text>) -> RemoteError {
        RemoteError {
            message: message.into(),
            ..RemoteError::default()
        }
    }

    /// The error with an exit status; with none if it is 0.
    pub fn with_status(self, status: u64) -> RemoteError {
        let status = NonZero::new(status);
        RemoteError { status, ..self }
    }

    /// The error with what was being done, innermost first.
    pub fn with_traces(self, traces: Vec<Text>) -> RemoteError {
        RemoteError { traces, ..self }
    }

    /// The error with a level.
    pub fn with_level(self, level: Level) -> RemoteError {
        RemoteError { level, ..self }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for RemoteError {}

const NEXT: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;
const START_ACTIVITY: u64 = 0x5354_5254;
const STOP_ACTIVITY: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// One message between a request and its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Log(Log),
    /// The daemon asks for at most so many bytes of what is being sent to it.
    Read(usize),
    /// The daemon sends a block of data.
    Write(Vec<u8>),
    /// The reply follows.
    Last,
    Error(RemoteError),
}

impl Message {
    pub(crate) fn encode(&self, out: &mut Vec<u8>, context: &Context) {
        let mut encoder = Encoder::new(out);
        match self {
            Message::Log(log) => encode_log(log, &mut encoder, context),
            Message::Read(count) => {
                encoder.word(READ).word(*count as u64);
            }
            Message::Write(data) => {
                encoder.word(WRITE).bytes(data);
            }
            Message::Last => {
                encoder.word(LAST);
            }
            Message::Error(error) => encode_error(error, &mut encoder, context),
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Message, Stop> {
        let offset = decoder.offset();
        Ok(match decoder.word()? {
            NEXT => Message::Log(Log::Next(decoder.text(limit::LOG)?)),
            READ => Message::Read(decoder.length(limit::TUNNEL)?),
            WRITE => Message::Write(decoder.bytes(limit::TUNNEL)?.to_vec()),
            LAST => Message::Last,
            ERROR => Message::Error(decode_error(decoder, context)?),
            START_ACTIVITY => Message::Log(Log::StartActivity {
                id: decoder.word()?,
                level: Level(decoder.word()?),
                kind: ActivityKind(decoder.word()?),
                text: decoder.text(limit::LOG)?,
                fields: decode_fields(decoder)?,
                parent: decoder.word()?,
            }),
            STOP_ACTIVITY => Message::Log(Log::StopActivity {
                id: decoder.word()?,
            }),
            RESULT => Message::Log(Log::Result {
                id: decoder.word()?,
                kind: ResultKind(decoder.word()?),
                fields: decode_fields(decoder)?,
            }),
            value => {
                let kind = Kind::Number {
                    what: "a message's tag",
                    value,
                };
                return Err(decoder.error_at(offset, kind));
            }
        })
    }
}

/// A version without activities is told their texts as lines, as nix-daemon itself does.
fn encode_log(log: &Log, encoder: &mut Encoder<'_>, context: &Context) {
    let structured = context.version.has_activities();
    match log {
        Log::Next(text) => {
            encoder.word(NEXT).text(text);
        }
        Log::StartActivity { text, .. } if !structured => {
            if !text.is_empty() {
                encoder.word(NEXT).text_of(&[text, b"...\n"]);
            }
        }
        Log::StartActivity {
            id,
            level,
            kind,
            text,
            fields,
            parent,
        } => {
            encoder
                .word(START_ACTIVITY)
                .word(*id)
                .word(level.0)
                .word(kind.0)
                .text(text);
            encode_fields(encoder, fields);
            encoder.word(*parent);
        }
        Log::Result { kind, fields, .. } if !structured => {
            if let (ResultKind::BUILD_LOG_LINE, [Field::Text(line)]) = (*kind, &fields[..]) {
                encoder.word(NEXT).text_of(&[line, b"\n"]);
            }
        }
        Log::Result { id, kind, fields } => {
            encoder.word(RESULT).word(*id).word(kind.0);
            encode_fields(encoder, fields);
        }
        Log::StopActivity { id } => {
            if structured {
                encoder.word(STOP_ACTIVITY).word(*id);
            }
        }
    }
}

fn encode_fields(encoder: &mut Encoder<'_>, fields: &[Field]) {
    encoder.list(fields, |encoder, field| {
        match field {
            Field::Number(number) => encoder.word(0).word(*number),
            Field::Text(text) => encoder.word(1).text(text),
        };
    });
}

fn decode_fields(decoder: &mut Decoder<'_>) -> Result<Vec<Field>, Stop> {
    decoder.list(limit::FIELDS, 16, |decoder| {
        let offset = decoder.offset();
        match decoder.word()? {
            0 => decoder.word().map(Field::Number),
            1 => decoder.text(limit::LOG).map(Field::Text),
            value => {
                let kind = Kind::Number {
                    what: "a field's type",
                    value,
                };
                Err(decoder.error_at(offset, kind))
            }
        }
    })
}

/// Before 1.26 and in Guix: message, status. From 1.26 on: "Error", level, "Error", message, no position,
/// traces (each: no position, text).
fn encode_error(error: &RemoteError, encoder: &mut Encoder<'_>, context: &Context) {
    encoder.word(ERROR);
    if context.version.has_structured_errors() {
        encoder
            .text("Error")
            .word(error.level.0)
            .text("Error")
            .text(&error.message)
            .word(0);
        encoder.list(&error.traces, |encoder, trace| {
            encoder.word(0).text(trace);
        });
    } else {
        let status = error.status.map_or(1, NonZero::get);
        encoder.text(&error.message).word(status);
    }
}

fn decode_error(decoder: &mut Decoder<'_>, context: &Context) -> Result<RemoteError, Stop> {
    if !context.version.has_structured_errors() {
        let message = decoder.text(limit::LOG)?;
        let status = decoder.word()?;
        return Ok(RemoteError::new(message).with_status(status));
    }
    decoder.text(limit::NAME)?;
    let level = Level(decoder.word()?);
    decoder.text(limit::NAME)?;
    let message = decoder.text(limit::LOG)?;
    no_position(decoder)?;
    let traces = decoder.list(limit::TRACES, 16, |decoder| {
        no_position(decoder)?;
        decoder.text(limit::LOG)
    })?;
    Ok(RemoteError {
        level,
        message,
        traces,
        status: None,
    })
}

/// Nix reserves a word for source positions and has never sent one.
fn no_position(decoder: &mut Decoder<'_>) -> Result<(), Stop> {
    let offset = decoder.offset();
    match decoder.word()? {
        0 => Ok(()),
        value => {
            let kind = Kind::Number {
                what: "an error without a source position",
                value,
            };
            Err(decoder.error_at(offset, kind))
        }
    }
}
