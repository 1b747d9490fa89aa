use std::collections::BTreeSet;

use store_path::{ContentAddressMethod, HashAlgorithm, StorePath};

use super::{Operation, Upload, UploadOperation};
use crate::path_info::PathInfo;
use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop, Text, limit};
use crate::{ValidPathInfo, Version};

/// Adds an object whose path follows from its content, which follows as data.
///
/// The data: from 1.25 on the file's contents for [`ContentAddressMethod::Flat`] and
/// [`ContentAddressMethod::Text`], else the archive; before and in Guix always the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddToStore {
    /// The name.
    pub name: Text,
    /// What is hashed.
    pub method: ContentAddressMethod,
    /// With which hash.
    pub algorithm: HashAlgorithm,
    /// The references. From 1.25 on.
    pub references: BTreeSet<StorePath>,
    /// Replace the path if it is valid already but damaged. From 1.25 on.
    pub repair: bool,
}

/// A path that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// The path.
    pub path: StorePath,
    /// What is known of it. From 1.25 on.
    pub info: Option<PathInfo>,
}

impl Added {
    /// A path, with what is known of it: nothing before 1.25, and something from then on.
    #[must_use]
    pub fn new(path: StorePath, info: Option<PathInfo>) -> Added {
        Added { path, info }
    }
}

impl AddToStore {
    /// `fixed:r:sha256` and the like.
    fn method_text(&self) -> String {
        let kind = match self.method {
            ContentAddressMethod::Text => "",
            _ => "fixed:",
        };
        format!("{kind}{}{}", self.method.prefix(), self.algorithm)
    }

    fn parse_method(text: &[u8]) -> Option<(ContentAddressMethod, HashAlgorithm)> {
        let text = std::str::from_utf8(text).ok()?;
        let (method, algorithm) = match text.strip_prefix("fixed:") {
            Some(rest) => ContentAddressMethod::split_prefix(rest),
            None => (ContentAddressMethod::Text, text.strip_prefix("text:")?),
        };
        let is_text = method == ContentAddressMethod::Text;
        if is_text == text.starts_with("fixed:") {
            return None;
        }
        Some((method, HashAlgorithm::from_name(algorithm)?))
    }

    fn decode_legacy(decoder: &mut Decoder<'_>) -> Result<AddToStore, Stop> {
        let name = decoder.text(limit::NAME)?;
        let fixed = decoder.boolean()?;
        let recursive = decoder.boolean()?;
        let offset = decoder.offset();
        let text = decoder.bytes(limit::NAME)?;
        let algorithm = std::str::from_utf8(text)
            .ok()
            .and_then(HashAlgorithm::from_name);
        let algorithm =
            algorithm.ok_or_else(|| decoder.not_a(offset, "the name of a hash", text))?;
        let (method, algorithm) = match (fixed, recursive) {
            (false, _) => (ContentAddressMethod::Recursive, HashAlgorithm::Sha256),
            (true, true) => (ContentAddressMethod::Recursive, algorithm),
            (true, false) => (ContentAddressMethod::Flat, algorithm),
        };
        Ok(AddToStore {
            name,
            method,
            algorithm,
            references: BTreeSet::new(),
            repair: false,
        })
    }
}

/// Name, method, references, repair. Before 1.25: name, 0 for a recursive SHA-256 and else 1 (Guix: always
/// 1), recursive, hash algorithm.
impl Operation for AddToStore {
    const NUMBER: u64 = 7;
    const NAME: &'static str = "AddToStore";
    type Reply = Added;

    fn exists(_: Version) -> bool {
        true
    }

    fn inexpressible(&self, version: Version) -> Option<&'static str> {
        use ContentAddressMethod::{Git, Text};
        match self.method {
            _ if version.has_framed_add() => None,
            Text | Git => Some(" with this content-address method"),
            _ if !self.references.is_empty() => Some(" with references"),
            _ => None,
        }
    }

    fn inexpressible_reply(reply: &Added, version: Version) -> Option<&'static str> {
        match reply.info {
            None if version.has_framed_add() => Some(" without what is known of the path"),
            _ => None,
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.text(&self.name);
        if context.version.has_framed_add() {
            encoder.text(self.method_text());
            self.references.encode(encoder, context);
            encoder.boolean(self.repair);
            return;
        }
        let recursive = self.method == ContentAddressMethod::Recursive;
        let plain = recursive && self.algorithm == HashAlgorithm::Sha256;
        encoder.boolean(context.version.is_guix() || !plain);
        encoder.boolean(recursive).text(self.algorithm.name());
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<AddToStore, Stop> {
        if !context.version.has_framed_add() {
            return AddToStore::decode_legacy(decoder);
        }
        let name = decoder.text(limit::NAME)?;
        let offset = decoder.offset();
        let text = decoder.bytes(limit::NAME)?;
        let (method, algorithm) = AddToStore::parse_method(text)
            .ok_or_else(|| decoder.not_a(offset, "a content-address method", text))?;
        let references = Value::decode(decoder, context)?;
        let repair = decoder.boolean()?;
        Ok(AddToStore {
            name,
            method,
            algorithm,
            references,
            repair,
        })
    }

    fn encode_reply(reply: &Added, encoder: &mut Encoder<'_>, context: &Context) {
        reply.path.encode(encoder, context);
        if context.version.has_framed_add()
            && let Some(info) = &reply.info
        {
            info.encode(encoder, context);
        }
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Added, Stop> {
        if context.version.has_framed_add() {
            let ValidPathInfo { path, info } = Value::decode(decoder, context)?;
            return Ok(Added {
                path,
                info: Some(info),
            });
        }
        Value::decode(decoder, context).map(|path| Added { path, info: None })
    }

    fn upload(version: Version) -> Upload {
        if version.has_framed_add() {
            Upload::Framed
        } else {
            Upload::Inline
        }
    }
}

impl UploadOperation for AddToStore {
    fn data_size(&self) -> Option<u64> {
        None
    }
}
