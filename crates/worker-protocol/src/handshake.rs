//! What both sides say before the first request.
//!
//! | who | what | since |
//! |---|---|---|
//! | client | `0x6e697863` | |
//! | daemon | `0x6478696f`, its version | |
//! | client | its version | |
//! | client, daemon | the features each has (lists of texts) | 1.38 |
//! | client | 0 (no CPU affinity), 0 (reserve no space) | |
//! | daemon | its program's version (text) | 1.33 |
//! | daemon | 0, 1 or 2: whether it trusts the client is unknown, true, false | 1.35 |
//! | daemon | log messages until the last one | |
//!
//! A daemon reads the client's words when it gets to them, so all of them may leave at once. Only the list
//! of features needs an answer first, because older daemons would take it for the words behind it.

use crate::wire::{Decoder, Encoder, Kind, Stop, Text, WORD, limit};
use crate::{Error, Incompatible, Version};

pub(crate) const CLIENT_MAGIC: u64 = 0x6e69_7863;
pub(crate) const DAEMON_MAGIC: u64 = 0x6478_696f;

/// The lower of two versions of one dialect.
pub(crate) fn agree(ours: Version, theirs: u64) -> Result<Version, Error> {
    Version::from_word(ours.dialect(), theirs)
        .map(|theirs| theirs.min(ours))
        .filter(|version| version.is_spoken())
        .ok_or(Error::Incompatible(Incompatible::Version(theirs)))
}

/// What a client says first: all of it, if the daemon's version is `assumed` or makes no difference to it.
pub(crate) fn encode_client(encoder: &mut Encoder<'_>, version: Version, assumed: bool) {
    encoder.word(CLIENT_MAGIC).word(version.to_word());
    if assumed || !version.has_features() {
        encode_client_words(encoder, version);
    }
}

/// What a client says behind its version, once the version is agreed on.
pub(crate) fn encode_client_words(encoder: &mut Encoder<'_>, version: Version) {
    if version.has_features() {
        encode_features(encoder, &[]);
    }
    encoder.word(0).word(0);
}

/// A daemon's first two words: its version's.
pub(crate) fn decode_hello(decoder: &mut Decoder<'_>) -> Result<Result<u64, Error>, Stop> {
    match decoder.word()? {
        DAEMON_MAGIC => decoder.word().map(Ok),
        other => Ok(Err(Error::Incompatible(Incompatible::Magic(other)))),
    }
}

/// What a daemon tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Greeting {
    /// The features that it named, known here or not. None of them is in use: this side announces none.
    /// From 1.38 on.
    pub features: Vec<Text>,
    /// Its program's version, such as `2.34.8`. From 1.33 on.
    pub daemon_version: Option<Text>,
    /// Whether it trusts the client. From 1.35 on, where the daemon knows.
    pub trusted: Option<bool>,
}

impl Greeting {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>, version: Version) {
        if version.has_daemon_version() {
            encoder.text(self.daemon_version.as_deref().unwrap_or_default());
        }
        if version.has_trust() {
            encoder.word(match self.trusted {
                None => 0,
                Some(true) => 1,
                Some(false) => 2,
            });
        }
    }

    /// Reads everything after the two words of the hello, features first.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, version: Version) -> Result<Greeting, Stop> {
        let mut greeting = Greeting::default();
        if version.has_features() {
            greeting.features = decode_features(decoder)?;
        }
        if version.has_daemon_version() {
            greeting.daemon_version = Some(decoder.text(limit::NAME)?);
        }
        if version.has_trust() {
            let offset = decoder.offset();
            greeting.trusted = match decoder.word()? {
                0 => None,
                1 => Some(true),
                2 => Some(false),
                value => {
                    let kind = Kind::Number {
                        what: "whether a client is trusted",
                        value,
                    };
                    return Err(decoder.error_at(offset, kind));
                }
            };
        }
        Ok(greeting)
    }
}

/// Most features that a peer may name. Nix has had fewer than ten.
const FEATURES: usize = 1 << 10;

pub(crate) fn encode_features(encoder: &mut Encoder<'_>, features: &[Text]) {
    encoder.list(features, |encoder, feature| {
        encoder.text(feature);
    });
}

pub(crate) fn decode_features(decoder: &mut Decoder<'_>) -> Result<Vec<Text>, Stop> {
    decoder.list(FEATURES, WORD, |decoder| decoder.text(limit::NAME))
}
