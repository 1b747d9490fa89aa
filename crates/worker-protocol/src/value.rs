//! Values whose bytes depend on the store's directory or on the version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use store_path::{ContentAddress, HashAlgorithm, HashFormat, StoreDir, StorePath};

use crate::Version;
use crate::wire::{Decoder, Encoder, Kind, Stop, Text, WORD, limit};

/// What both sides know without saying it in every message.
///
/// From 1.38 on versions can agree on features; those that change a layout will stand here, too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Where the store's paths are.
    pub store_dir: StoreDir,
    /// The agreed version.
    pub version: Version,
}

impl Context {
    /// Of a store, at a version without features.
    #[must_use]
    pub fn new(store_dir: StoreDir, version: Version) -> Context {
        Context { store_dir, version }
    }
}

/// A value of a request or reply.
///
/// `decode` accepts exactly what `encode` writes for some value, at every version.
pub trait Value: Sized {
    /// Appends the value.
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context);

    /// Reads the value.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], or what is wrong with the bytes.
    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop>;

    /// The number of bytes that no encoding of the type is smaller than.
    fn smallest(_context: &Context) -> usize {
        WORD
    }
}

impl Value for () {
    fn encode(&self, _: &mut Encoder<'_>, _: &Context) {}

    fn decode(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }

    fn smallest(_: &Context) -> usize {
        0
    }
}

impl Value for u64 {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.word(*self);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<u64, Stop> {
        decoder.word()
    }
}

impl Value for bool {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.boolean(*self);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<bool, Stop> {
        decoder.boolean()
    }
}

/// The word 1 that stands for "done" where an operation has nothing else to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done;

impl Value for Done {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.word(1);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<Done, Stop> {
        let offset = decoder.offset();
        match decoder.word()? {
            1 => Ok(Done),
            value => {
                let kind = Kind::Number {
                    what: "the word 1 of a finished operation",
                    value,
                };
                Err(decoder.error_at(offset, kind))
            }
        }
    }
}

/// A text of at most [`limit::SETTING`] bytes.
impl Value for Text {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.text(self);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<Text, Stop> {
        decoder.text(limit::SETTING)
    }
}

/// The absolute path.
impl Value for StorePath {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        let dir = context.store_dir.as_str().as_bytes();
        encoder.text_of(&[dir, b"/", self.base_name().as_bytes()]);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<StorePath, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::PATH)?;
        store_path(bytes, context).ok_or_else(|| decoder.not_a(offset, "a store path", bytes))
    }

    fn smallest(context: &Context) -> usize {
        // Directory, slash, hash part, dash, a name of one byte.
        WORD + (context.store_dir.as_str().len() + 35).next_multiple_of(WORD)
    }
}

/// Parses an absolute store path.
pub(crate) fn store_path(bytes: &[u8], context: &Context) -> Option<StorePath> {
    context
        .store_dir
        .parse(std::str::from_utf8(bytes).ok()?)
        .ok()
}

/// The absolute path, or nothing.
impl Value for Option<StorePath> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        match self {
            Some(path) => path.encode(encoder, context),
            None => {
                encoder.text("");
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        if decoder.peek()? == 0 {
            decoder.word()?;
            return Ok(None);
        }
        StorePath::decode(decoder, context).map(Some)
    }
}

/// The SHA-256 of an archive: what path infos tell of it. The protocol has no other algorithm there.
///
/// ```
/// use store_path::Hash;
/// use worker_protocol::NarHash;
///
/// let hash = NarHash::of(b"an archive");
/// assert_eq!(NarHash::from_hash(hash.hash()), Some(hash));
/// let md5: Hash = "md5:d41d8cd98f00b204e9800998ecf8427e".parse()?;
/// assert_eq!(NarHash::from_hash(md5), None);
/// # Ok::<(), store_path::HashError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash(pub [u8; 32]);

impl NarHash {
    /// The hash of an archive in hand.
    #[must_use]
    pub fn of(archive: &[u8]) -> NarHash {
        let hash = store_path::Hash::sha256_of(archive);
        NarHash::from_hash(hash).expect("it is a SHA-256")
    }

    /// A hash that may be of any algorithm; `None` unless it is a SHA-256.
    #[must_use]
    pub fn from_hash(hash: store_path::Hash) -> Option<NarHash> {
        match hash.algorithm() {
            HashAlgorithm::Sha256 => hash.digest().try_into().ok().map(NarHash),
            _ => None,
        }
    }

    /// The hash with its algorithm.
    #[must_use]
    pub fn hash(self) -> store_path::Hash {
        store_path::Hash::sha256(self.0)
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NarHash").field(&self.hash()).finish()
    }
}

/// 64 digits in base 16, without the algorithm's name.
impl Value for NarHash {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.text(self.hash().digits(HashFormat::Base16));
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<NarHash, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::HASH)?;
        nar_hash(bytes).ok_or_else(|| decoder.not_a(offset, "a SHA-256 in base 16", bytes))
    }

    fn smallest(_: &Context) -> usize {
        WORD + 64
    }
}

fn nar_hash(bytes: &[u8]) -> Option<NarHash> {
    let digits = std::str::from_utf8(bytes).ok()?;
    if digits.len() != 64 || digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let hash = store_path::Hash::from_digits(HashAlgorithm::Sha256, digits);
    hash.ok().and_then(NarHash::from_hash)
}

/// How the path's name follows from its content, or nothing.
impl Value for Option<ContentAddress> {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        match self {
            Some(address) => encoder.text(address.to_string()),
            None => encoder.text(""),
        };
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<Self, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::HASH)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let address = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok());
        match address {
            Some(address) => Ok(Some(address)),
            None => Err(decoder.not_a(offset, "a content address", bytes)),
        }
    }
}

impl<T: Value> Value for Vec<T> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.list(self, |encoder, item| item.encode(encoder, context));
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Vec<T>, Stop> {
        let smallest = T::smallest(context);
        decoder.list(limit::ITEMS, smallest, |decoder| {
            T::decode(decoder, context)
        })
    }
}

/// A list whose order means nothing. Peers send sets sorted by their own rules (and old ones repeat items),
/// so any order is accepted; it is written sorted.
impl<T: Value + Ord> Value for BTreeSet<T> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.list(self, |encoder, item| item.encode(encoder, context));
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        Vec::decode(decoder, context).map(BTreeSet::from_iter)
    }
}

impl<K: Value + Ord, V: Value> Value for BTreeMap<K, V> {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.list(self, |encoder, (key, value)| {
            key.encode(encoder, context);
            value.encode(encoder, context);
        });
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self, Stop> {
        let offset = decoder.offset();
        let pairs = Vec::<(K, V)>::decode(decoder, context)?;
        let count = pairs.len();
        let map = BTreeMap::from_iter(pairs);
        if map.len() != count {
            return Err(decoder.error_at(offset, Kind::RepeatedKey));
        }
        Ok(map)
    }
}

impl<A: Value, B: Value> Value for (A, B) {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.0.encode(encoder, context);
        self.1.encode(encoder, context);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<(A, B), Stop> {
        Ok((A::decode(decoder, context)?, B::decode(decoder, context)?))
    }

    fn smallest(context: &Context) -> usize {
        A::smallest(context) + B::smallest(context)
    }
}
