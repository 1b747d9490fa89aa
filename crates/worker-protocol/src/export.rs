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
//! Archives are the caller's to write and read; this module does what stands between them.
//!
//! ```
//! use store_path::StoreDir;
//! use worker_protocol::export::{self, Trailer};
//! use worker_protocol::wire::Decoder;
//! use worker_protocol::{Context, Value, Version};
//!
//! let context = Context::new(StoreDir::NIX, Version::NIX_NEWEST);
//! let path = StoreDir::NIX.parse("/nix/store/6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-hello")?;
//! let trailer = Trailer { path, references: vec![], deriver: None, signature: None };
//!
//! let mut stream = Vec::new();
//! export::encode_next(&mut stream, true);
//! stream.extend_from_slice(b"<archive>");
//! trailer.encode(&mut worker_protocol::wire::Encoder::new(&mut stream), &context);
//! export::encode_next(&mut stream, false);
//!
//! let mut decoder = Decoder::new(&stream);
//! assert!(export::decode_next(&mut decoder)?);
//! decoder.raw("<archive>".len())?;
//! assert_eq!(Trailer::decode(&mut decoder, &context)?, trailer);
//! assert!(!export::decode_next(&mut decoder)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use store_path::StorePath;

use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Kind, Stop, Text, WORD, limit};

const MAGIC: u64 = 0x4558_494e;

/// Appends the word that says whether another path follows.
pub fn encode_next(out: &mut Vec<u8>, follows: bool) {
    Encoder::new(out).boolean(follows);
}

/// Reads the word that says whether another path follows.
///
/// # Errors
/// [`Stop`].
pub fn decode_next(decoder: &mut Decoder<'_>) -> Result<bool, Stop> {
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
        self.encode_signed(&mut Encoder::new(&mut out), context);
        out
    }

    fn encode_signed(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.word(MAGIC);
        self.path.encode(encoder, context);
        self.references.encode(encoder, context);
        self.deriver.encode(encoder, context);
    }
}

impl Value for Trailer {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.encode_signed(encoder, context);
        encoder.optional(self.signature.as_ref(), |encoder, signature| {
            encoder.text(signature);
        });
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Trailer, Stop> {
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
