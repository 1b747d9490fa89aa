use std::collections::{BTreeMap, BTreeSet};

use store_path::{ContentAddress, StorePath};

use super::{Operation, operation};
use crate::Version;
use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop, WORD};

/// What a substituter tells of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SubstitutableInfo {
    /// The derivation that made it, if that is known.
    pub deriver: Option<StorePath>,
    /// The paths it refers to.
    pub references: BTreeSet<StorePath>,
    /// Bytes to download; 0 when that is not known.
    pub download_size: u64,
    /// Bytes of its archive; 0 when that is not known.
    pub nar_size: u64,
}

impl Value for SubstitutableInfo {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.deriver.encode(encoder, context);
        self.references.encode(encoder, context);
        encoder.word(self.download_size).word(self.nar_size);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<SubstitutableInfo, Stop> {
        Ok(SubstitutableInfo {
            deriver: Value::decode(decoder, context)?,
            references: Value::decode(decoder, context)?,
            download_size: decoder.word()?,
            nar_size: decoder.word()?,
        })
    }

    fn smallest(_: &Context) -> usize {
        4 * WORD
    }
}

impl Value for Option<SubstitutableInfo> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.optional(self.as_ref(), |encoder, info| info.encode(encoder, context));
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        decoder.optional(|decoder| SubstitutableInfo::decode(decoder, context))
    }
}

operation! {
    /// What a substituter tells of one path; nothing if none has it.
    QuerySubstitutablePathInfo = 21 if is_nix {
        /// The path.
        path: StorePath;
    } -> Option<SubstitutableInfo>
}

/// What substituters tell of paths. Those that none has are missing in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySubstitutablePathInfos {
    /// The paths, with their content addresses as far as these are known: substituters with another store
    /// directory know a path by that. Not sent before 1.22.
    pub paths: BTreeMap<StorePath, Option<ContentAddress>>,
}

impl Operation for QuerySubstitutablePathInfos {
    const NUMBER: u64 = 30;
    const NAME: &'static str = "QuerySubstitutablePathInfos";
    type Reply = Vec<(StorePath, SubstitutableInfo)>;

    fn exists(_: Version) -> bool {
        true
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        if context.version.has_substitutable_addresses() {
            self.paths.encode(encoder, context);
        } else {
            encoder.list(self.paths.keys(), |encoder, path| {
                path.encode(encoder, context);
            });
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        let paths = if context.version.has_substitutable_addresses() {
            Value::decode(decoder, context)?
        } else {
            let paths: BTreeSet<StorePath> = Value::decode(decoder, context)?;
            paths.into_iter().map(|path| (path, None)).collect()
        };
        Ok(QuerySubstitutablePathInfos { paths })
    }

    fn encode_reply(reply: &Self::Reply, encoder: &mut Encoder<'_>, context: &Context) {
        reply.encode(encoder, context);
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop> {
        Value::decode(decoder, context)
    }
}
