//! The export format: what `nix-store --export` and `guix archive --export` write, and
//! [`ExportPath`](crate::operation::ExportPath) and [`ImportPaths`](crate::operation::ImportPaths) carry.
//!
//! | what | bytes |
//! |---|---|
//! | for each path, references before what refers to them | the word 1 |
//! | its archive | where it ends only a decoder of archives knows |
//! | what belongs to it: a [`Trailer`] | see there |
//! | at the end | the word 0 |
//!
//! Archives are the caller's to write and read: [`Decoder`] and [`Encoder`] do what stands between them, one event at
//! a time, and hold at most one trailer ([`limit::TRAILER`]), however long the export is and however it is cut.
//! [`ExportPath`](crate::operation::ExportPath) sends an archive and its trailer without the words around them.
//!
//! ```
//! use store_path::StoreDir;
//! use worker_protocol::export::{Decoder, Encoder, Event, Step, Trailer};
//!
//! let archive = nar::example();
//! let path = StoreDir::NIX.parse("/nix/store/6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-hello")?;
//! let trailer = Trailer { path, references: vec![], deriver: None, signature: None };
//!
//! let mut export = Vec::new();
//! let mut encoder = Encoder::new(StoreDir::NIX);
//! encoder.encode(&Event::Archive, &mut export)?;
//! export.extend_from_slice(&archive);
//! encoder.encode(&Event::Trailer(trailer.clone()), &mut export)?;
//! encoder.encode(&Event::End, &mut export)?;
//!
//! let mut decoder = Decoder::new(StoreDir::NIX);
//! let mut archives = nar::Decoder::new();
//! let mut trailers = Vec::new();
//! // As it would come from a pipe.
//! for mut piece in export.chunks(100) {
//!     loop {
//!         match decoder.decode(piece)? {
//!             Step::Event { consumed, event } => {
//!                 piece = &piece[consumed..];
//!                 match event {
//!                     Event::Archive => archives = nar::Decoder::new(),
//!                     Event::Trailer(trailer) => trailers.push(trailer),
//!                     Event::End => {}
//!                 }
//!             }
//!             Step::Archive => match archives.decode(piece)? {
//!                 nar::Step::Event { consumed, .. } => piece = &piece[consumed..],
//!                 nar::Step::NeedMore { .. } => break,
//!                 nar::Step::Finished => decoder.archive_ended(archives.offset()),
//!             },
//!             Step::NeedMore { .. } | Step::Finished => break,
//!         }
//!     }
//! }
//! assert_eq!(decoder.end_of_input(), None);
//! assert_eq!(trailers, [trailer]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decoder;
mod encoder;

pub use decoder::{Decoder, Step};
pub use encoder::{Encoder, OutOfOrder};

use store_path::{StoreDir, StorePath};

use crate::Version;
use crate::value::{Context, Value};
use crate::wire::{self, Kind, Stop, Text, WORD, limit};

/// What an export goes on with.
///
/// ```text
/// export = { Archive (the archive) Trailer } End
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another path follows, and its archive begins right behind this.
    Archive,
    /// What belongs to the archive before it.
    Trailer(Trailer),
    /// No other path follows.
    End,
}

/// A place between the parts of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the word that says whether another path follows.
    Next,
    /// In an archive.
    Archive,
    /// Behind an archive.
    Trailer,
    /// Behind the end.
    Finished,
}

/// What trailers are read and written with. All versions have the same.
fn context(store_dir: StoreDir) -> Context {
    Context::new(store_dir, Version::NIX_NEWEST)
}

const MAGIC: u64 = 0x4558_494e;

/// Appends the word that says whether another path follows: for streams whose order the caller keeps, see [`Encoder`]
/// for all others.
pub fn encode_next(out: &mut Vec<u8>, follows: bool) {
    wire::Encoder::new(out).boolean(follows);
}

/// Reads the word that says whether another path follows: see [`Decoder`] for bytes that come in pieces.
///
/// # Errors
/// [`Stop`].
pub fn decode_next(decoder: &mut wire::Decoder<'_>) -> Result<bool, Stop> {
    decoder.boolean()
}

/// What stands behind a path's archive: the word `0x4558494e`, the path, its references, its deriver (or an
/// empty text), 0, or 1 and a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The path.
    pub path: StorePath,
    /// The paths it refers to, in the order of the stream.
    pub references: Vec<StorePath>,
    /// The derivation that made it, if that is known.
    pub deriver: Option<StorePath>,
    /// Guix: an S-expression that signs the SHA-256 of the archive and [`Trailer::signed_bytes`]. Nix
    /// writes none and ignores it.
    pub signature: Option<Text>,
}

impl Trailer {
    /// The bytes that a signature covers, next to the archive before them: all up to the deriver.
    pub fn signed_bytes(&self, context: &Context) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_signed(&mut wire::Encoder::new(&mut out), context);
        out
    }

    fn encode_signed(&self, encoder: &mut wire::Encoder<'_>, context: &Context) {
        encoder.word(MAGIC);
        self.path.encode(encoder, context);
        self.references.encode(encoder, context);
        self.deriver.encode(encoder, context);
    }
}

impl Value for Trailer {
    fn encode(&self, encoder: &mut wire::Encoder<'_>, context: &Context) {
        self.encode_signed(encoder, context);
        encoder.optional(self.signature.as_ref(), |encoder, signature| {
            encoder.text(signature);
        });
    }

    fn decode(decoder: &mut wire::Decoder<'_>, context: &Context) -> Result<Trailer, Stop> {
        let offset = decoder.offset();
        let value = decoder.word()?;
        if value != MAGIC {
            let kind = Kind::Number {
                what: "the mark behind an exported archive",
                value,
            };
            return Err(decoder.error_at(offset, kind));
        }
        Ok(Trailer {
            path: Value::decode(decoder, context)?,
            references: Value::decode(decoder, context)?,
            deriver: Value::decode(decoder, context)?,
            signature: decoder.optional(|decoder| decoder.text(limit::HASH))?,
        })
    }

    fn smallest(context: &Context) -> usize {
        StorePath::smallest(context) + 4 * WORD
    }
}
