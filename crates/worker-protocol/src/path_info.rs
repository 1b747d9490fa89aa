use std::collections::BTreeSet;

use store_path::{ContentAddress, StorePath};

use crate::value::{Context, NarHash, Value};
use crate::wire::{Decoder, Encoder, Stop, Text, WORD};

/// What a store knows of a valid path.
///
/// ```
/// use store_path::StoreDir;
/// use worker_protocol::{NarHash, PathInfo};
///
/// let archive = b"an archive";
/// let glibc = StoreDir::NIX.parse("/nix/store/6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-glibc")?;
/// let info = PathInfo::new(NarHash::of(archive), archive.len() as u64)
///     .with_references([glibc])
///     .with_signatures(["cache.example.org-1:c2ln"]);
/// assert_eq!(info.deriver, None);
/// # Ok::<(), store_path::PathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl PathInfo {
    /// What an archive alone tells: its hash and its size in bytes. All else is empty, 0 or unknown.
    #[must_use]
    pub fn new(nar_hash: NarHash, nar_size: u64) -> PathInfo {
        PathInfo {
            deriver: None,
            nar_hash,
            references: BTreeSet::new(),
            registration_time: 0,
            nar_size,
            ultimate: false,
            signatures: BTreeSet::new(),
            content_address: None,
        }
    }

    /// The same, made by this derivation.
    #[must_use]
    pub fn with_deriver(mut self, deriver: impl Into<Option<StorePath>>) -> PathInfo {
        self.deriver = deriver.into();
        self
    }

    /// The same with these references and no others.
    #[must_use]
    pub fn with_references(mut self, references: impl IntoIterator<Item = StorePath>) -> PathInfo {
        self.references = references.into_iter().collect();
        self
    }

    /// The same, registered at this time, in seconds since 1970.
    #[must_use]
    pub fn with_registration_time(mut self, registration_time: u64) -> PathInfo {
        self.registration_time = registration_time;
        self
    }

    /// The same, built by this store itself or not.
    #[must_use]
    pub fn with_ultimate(mut self, ultimate: bool) -> PathInfo {
        self.ultimate = ultimate;
        self
    }

    /// The same with these signatures (each `key-name:base64`) and no others.
    #[must_use]
    pub fn with_signatures<I>(mut self, signatures: I) -> PathInfo
    where
        I: IntoIterator<Item: Into<Text>>,
    {
        self.signatures = signatures.into_iter().map(Into::into).collect();
        self
    }

    /// The same with this content address.
    #[must_use]
    pub fn with_content_address(
        mut self,
        content_address: impl Into<Option<ContentAddress>>,
    ) -> PathInfo {
        self.content_address = content_address.into();
        self
    }
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
