use std::collections::BTreeSet;

use store_path::{ContentAddress, StorePath};

use crate::value::{Context, NarHash, Value};
use crate::wire::{Decoder, Encoder, Stop, Text, WORD};

/// What a store knows of a valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The derivation that made it, if that is known.
    pub deriver: Option<StorePath>,
    /// Hash of its archive.
    pub nar_hash: NarHash,
    /// The paths it refers to, itself possibly among them.
    pub references: BTreeSet<StorePath>,
    /// When it was registered, in seconds since 1970.
    pub registration_time: u64,
    /// Size of its archive in bytes; 0 when it is not known.
    pub nar_size: u64,
    /// Whether this store built it itself.
    pub ultimate: bool,
    /// Signatures, each `key-name:base64`.
    pub signatures: BTreeSet<Text>,
    /// How its name follows from its content.
    pub content_address: Option<ContentAddress>,
}

/// Deriver, hash, references, time, size; ultimate, signatures, content address.
impl Value for PathInfo {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.deriver.encode(encoder, context);
        self.nar_hash.encode(encoder, context);
        self.references.encode(encoder, context);
        encoder.word(self.registration_time).word(self.nar_size);
        if !context.version.is_guix() {
            encoder.boolean(self.ultimate);
            self.signatures.encode(encoder, context);
            self.content_address.encode(encoder, context);
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<PathInfo, Stop> {
        let signed = !context.version.is_guix();
        Ok(PathInfo {
            deriver: Value::decode(decoder, context)?,
            nar_hash: Value::decode(decoder, context)?,
            references: Value::decode(decoder, context)?,
            registration_time: decoder.word()?,
            nar_size: decoder.word()?,
            ultimate: if signed { decoder.boolean()? } else { false },
            signatures: if signed {
                Value::decode(decoder, context)?
            } else {
                BTreeSet::new()
            },
            content_address: if signed {
                Value::decode(decoder, context)?
            } else {
                None
            },
        })
    }

    fn smallest(context: &Context) -> usize {
        NarHash::smallest(context)
            + if context.version.is_guix() {
                4 * WORD
            } else {
                7 * WORD
            }
    }
}

/// A path with what a store knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidPathInfo {
    /// The path.
    pub path: StorePath,
    /// What is known of it.
    pub info: PathInfo,
}

impl Value for ValidPathInfo {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.path.encode(encoder, context);
        self.info.encode(encoder, context);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<ValidPathInfo, Stop> {
        let path = Value::decode(decoder, context)?;
        let info = Value::decode(decoder, context)?;
        Ok(ValidPathInfo { path, info })
    }

    fn smallest(context: &Context) -> usize {
        StorePath::smallest(context) + PathInfo::smallest(context)
    }
}

/// 0, or 1 and the info. Guix: the info; for a path that is not valid the whole request fails.
impl Value for Option<PathInfo> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        match self {
            Some(info) if context.version.is_guix() => info.encode(encoder, context),
            info => {
                encoder.optional(info.as_ref(), |encoder, info| info.encode(encoder, context));
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        if context.version.is_guix() {
            return PathInfo::decode(decoder, context).map(Some);
        }
        decoder.optional(|decoder| PathInfo::decode(decoder, context))
    }
}
