//! Nix's build hook dialect: what the daemon writes to the hook's standard input.
//!
//! ```text
//! (1 name value)* 0                          settings, once
//! "try" willing system drv-path features     an offer, again and again until one is accepted
//! inputs wanted                              after an accept; then the stream ends
//! ```
//! Words are 64 bits little-endian; texts are a length, bytes, zeros up to a multiple of 8; lists
//! are a count and texts. Seen on nix 2.3.7, 2.8.0, 2.26.3 and 2.34.8, which send 78 to 122
//! settings. Wanted outputs are store paths on 2.3.7 and output names from 2.4 on.

use std::collections::BTreeMap;

use worker_protocol::wire::{self, Decoder, Stop, Text, WORD};

use super::Dialect;

/// Longest name of a setting or an output, store path or feature, in bytes.
const MAX_NAME: usize = 4096;
/// Longest value of a setting, in bytes: a whole machine list may stand inline in `builders`.
const MAX_SETTING: usize = 16 << 20;
/// Most settings: Nix 2.34.8 has 122.
const MAX_SETTINGS: u64 = 4096;
/// Most inputs or wanted outputs: a build's whole closure; large systems have some 100,000.
const MAX_PATHS: u64 = 1 << 22;
/// Most features of one derivation.
const MAX_FEATURES: usize = 1024;

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All of its settings, by name. Comes once, first.
    Settings(BTreeMap<String, String>),
    /// It offers a build.
    Offer(Offer),
    /// What the accepted build needs. Comes last.
    Inputs(Inputs),
}

/// A build that the daemon offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whether the daemon could build it itself right now, as far as free local jobs go.
    pub am_willing: bool,
    /// `x86_64-linux`, or `builtin`.
    pub system: String,
    /// The `.drv` file's store path, in full.
    pub derivation: String,
    /// `requiredSystemFeatures`.
    pub required_features: Vec<String>,
}

/// What an accepted build needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inputs {
    /// Store paths, in full: the whole closure of the build's inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs that are wanted, or their store paths (2.3.7).
    pub wanted: Vec<String>,
}

/// Why the daemon's words cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is not what it should be.
    #[error(transparent)]
    Malformed(#[from] wire::Error),
    /// Some command other than `try`.
    #[error("understand the command {command:?} at byte {offset}")]
    Command {
        /// What stood there.
        command: String,
        /// Where.
        offset: u64,
    },
    /// Not UTF-8.
    #[error("decode {what} at byte {offset} as UTF-8 from {text:?}")]
    NotUtf8 {
        /// What was read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// The bytes.
        text: Text,
    },
    /// A count beyond all reason.
    #[error("read {count} {what} at byte {offset} where at most {maximum} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many are announced.
        count: u64,
        /// How many are accepted.
        maximum: u64,
        /// Where.
        offset: u64,
    },
    /// The stream ended in the middle of something.
    #[error("read {what}: the stream ends in their middle, at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        offset: u64,
    },
}

/// The conversation, without I/O; a [`Dialect`].
///
/// ```
/// use offload::hook::Dialect;
/// use offload::hook::nix::{Conversation, Event};
/// use worker_protocol::wire::Encoder;
///
/// let mut bytes = Vec::new();
/// let mut encoder = Encoder::new(&mut bytes);
/// encoder.word(1).text("builders").text("@/etc/nix/machines").word(0);
/// let mut conversation = Conversation::new();
/// conversation.handle(&bytes);
/// let Some(Event::Settings(settings)) = conversation.poll()? else { panic!() };
/// assert_eq!(settings["builders"], "@/etc/nix/machines");
/// assert_eq!(conversation.poll()?, None);
/// # Ok::<(), offload::hook::nix::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Conversation {
    buffer: Vec<u8>,
    /// How much of `buffer` was decoded.
    decoded: usize,
    /// Where `buffer` begins in the stream.
    offset: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Settings(BTreeMap<String, String>),
    Offers,
    /// Lists of which so many items are still to come; `None` before the count was read.
    Inputs(Option<u64>, Inputs),
    Wanted(Option<u64>, Inputs),
    Ended,
}

impl Default for Stage {
    fn default() -> Self {
        Stage::Settings(BTreeMap::new())
    }
}

impl Dialect for Conversation {
    type Event = Event;
    type Error = Error;

    fn handle(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.decoded);
        self.offset += self.decoded as u64;
        self.decoded = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn accepted(&mut self) {
        self.stage = Stage::Inputs(None, Inputs::default());
    }

    fn poll(&mut self) -> Result<Option<Event>, Error> {
        while !matches!(self.stage, Stage::Ended) {
            match self.step() {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(Pause::Incomplete) => return Ok(None),
                Err(Pause::Failed(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    fn handle_end(&self) -> Result<(), Error> {
        let left = self.buffer.len() - self.decoded;
        let what = match self.stage {
            Stage::Settings(_) => "the settings",
            Stage::Offers if left == 0 => return Ok(()),
            Stage::Offers => "the offer's fields",
            Stage::Inputs(..) => "the inputs",
            Stage::Wanted(..) => "the wanted outputs",
            Stage::Ended => return Ok(()),
        };
        let offset = self.offset + self.buffer.len() as u64;
        Err(Error::Truncated { what, offset })
    }
}

impl Conversation {
    /// At the beginning of the stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes one item of bounded size, so that starting over with more bytes costs little.
    fn step(&mut self) -> Result<Option<Event>, Pause> {
        let start = self.offset + self.decoded as u64;
        let mut decoder = Decoder::at(&self.buffer[self.decoded..], start);
        let event = match &mut self.stage {
            Stage::Settings(settings) => match decode_setting(&mut decoder)? {
                Some(_) if settings.len() as u64 == MAX_SETTINGS => {
                    let count = MAX_SETTINGS + 1;
                    return Err(too_many("settings", count, MAX_SETTINGS, start));
                }
                Some((name, value)) => {
                    settings.insert(name, value);
                    None
                }
                None => {
                    let settings = std::mem::take(settings);
                    self.stage = Stage::Offers;
                    Some(Event::Settings(settings))
                }
            },
            Stage::Offers => Some(Event::Offer(decode_offer(&mut decoder)?)),
            Stage::Inputs(left, inputs) => {
                if decode_item(&mut decoder, left, "inputs", &mut inputs.inputs)? {
                    let inputs = std::mem::take(inputs);
                    self.stage = Stage::Wanted(None, inputs);
                }
                None
            }
            Stage::Wanted(left, inputs) => {
                if decode_item(&mut decoder, left, "wanted outputs", &mut inputs.wanted)? {
                    let inputs = std::mem::take(inputs);
                    self.stage = Stage::Ended;
                    Some(Event::Inputs(inputs))
                } else {
                    None
                }
            }
            Stage::Ended => None,
        };
        self.decoded += usize::try_from(decoder.offset() - start).expect("within the buffer");
        Ok(event)
    }
}

/// Why a step ended without an item.
enum Pause {
    Incomplete,
    Failed(Error),
}

impl From<Stop> for Pause {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Incomplete { .. } => Pause::Incomplete,
            Stop::Malformed(error) => Pause::Failed(error.into()),
        }
    }
}

/// `1 name value` -> the setting; `0` -> nothing, the settings are complete.
fn decode_setting(decoder: &mut Decoder<'_>) -> Result<Option<(String, String)>, Pause> {
    if !decoder.boolean()? {
        return Ok(None);
    }
    let name = text(decoder, "a setting's name", MAX_NAME)?;
    // Paths and prompts may be anything; none that is used here is.
    let value = decoder.text(MAX_SETTING)?.to_string_lossy().into_owned();
    Ok(Some((name, value)))
}

fn decode_offer(decoder: &mut Decoder<'_>) -> Result<Offer, Pause> {
    let offset = decoder.offset();
    let command = text(decoder, "a command", MAX_NAME)?;
    if command != "try" {
        return Err(Pause::Failed(Error::Command { command, offset }));
    }
    let am_willing = decoder.word()? != 0;
    let system = text(decoder, "the system", MAX_NAME)?;
    let derivation = text(decoder, "the derivation's path", MAX_NAME)?;
    let offset = decoder.offset();
    let features = decoder.list(MAX_FEATURES, WORD, |decoder| decoder.text(MAX_NAME))?;
    Ok(Offer {
        am_willing,
        system,
        derivation,
        required_features: features
            .into_iter()
            .map(|feature| utf8(feature, "a feature", offset))
            .collect::<Result<_, _>>()?,
    })
}

/// Reads a list's count or its next item; whether the list is complete.
fn decode_item(
    decoder: &mut Decoder<'_>,
    left: &mut Option<u64>,
    what: &'static str,
    items: &mut Vec<String>,
) -> Result<bool, Pause> {
    match left {
        None => {
            let offset = decoder.offset();
            let count = decoder.word()?;
            if count > MAX_PATHS {
                return Err(too_many(what, count, MAX_PATHS, offset));
            }
            *left = Some(count);
            Ok(count == 0)
        }
        Some(count) => {
            items.push(text(decoder, what, MAX_NAME)?);
            *count -= 1;
            Ok(*count == 0)
        }
    }
}

fn too_many(what: &'static str, count: u64, maximum: u64, offset: u64) -> Pause {
    Pause::Failed(Error::TooMany {
        what,
        count,
        maximum,
        offset,
    })
}

fn text(decoder: &mut Decoder<'_>, what: &'static str, maximum: usize) -> Result<String, Pause> {
    let offset = decoder.offset();
    let text = decoder.text(maximum)?;
    utf8(text, what, offset)
}

fn utf8(text: Text, what: &'static str, offset: u64) -> Result<String, Pause> {
    String::from_utf8(text.into_bytes()).map_err(|error| {
        let text = Text::from(error.into_bytes());
        Pause::Failed(Error::NotUtf8 { what, offset, text })
    })
}

#[cfg(test)]
mod tests {
    use worker_protocol::wire::Encoder;

    use super::*;

    /// A whole conversation with two offers, the second accepted.
    fn conversation() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.word(1).text("store").text("auto");
        encoder.word(1).text("system").text("x86_64-linux").word(0);
        for name in ["a", "b"] {
            encoder.text("try").word(1).text("x86_64-linux");
            encoder.text(format!("/nix/store/{name}.drv"));
            encoder.list(["kvm"], |encoder, feature| {
                encoder.text(feature);
            });
        }
        encoder.list(["/nix/store/i", "/nix/store/j"], |encoder, path| {
            encoder.text(path);
        });
        encoder.list(["out"], |encoder, name| {
            encoder.text(name);
        });
        bytes
    }

    /// Feeds `bytes` in pieces of `size`, accepting the second offer.
    fn events(bytes: &[u8], size: usize) -> Result<Vec<Event>, Error> {
        let mut conversation = Conversation::new();
        let (mut events, mut offers) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            conversation.handle(piece);
            while let Some(event) = conversation.poll()? {
                if let Event::Offer(_) = event {
                    offers += 1;
                    if offers == 2 {
                        conversation.accepted();
                    }
                }
                events.push(event);
            }
        }
        conversation.handle_end()?;
        Ok(events)
    }

    #[test]
    fn pieces_of_any_size_give_the_same_events() {
        let bytes = conversation();
        let whole = events(&bytes, bytes.len()).unwrap();
        assert_eq!(whole.len(), 4);
        let Event::Inputs(inputs) = &whole[3] else {
            panic!("{whole:?}")
        };
        assert_eq!(inputs.inputs, ["/nix/store/i", "/nix/store/j"]);
        assert_eq!(inputs.wanted, ["out"]);
        for size in 1..bytes.len() {
            assert_eq!(events(&bytes, size).unwrap(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_setting_may_be_anything() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.word(1).text("bash-prompt").bytes(b"caf\xe9 >");
        encoder.word(1).text("system").text("x86_64-linux").word(0);
        let events = events(&bytes, 7).unwrap();
        let Event::Settings(settings) = &events[0] else {
            panic!("{events:?}")
        };
        assert_eq!(settings["bash-prompt"], "caf\u{fffd} >");
        assert_eq!(settings["system"], "x86_64-linux");
    }

    #[test]
    fn a_stream_may_end_between_offers_and_nowhere_else() {
        let bytes = conversation();
        let mut fine = Vec::new();
        for end in 0..=bytes.len() {
            match events(&bytes[..end], bytes.len()) {
                Ok(_) => fine.push(end),
                Err(Error::Truncated { offset, .. }) => assert_eq!(offset, end as u64),
                Err(other) => panic!("cut at {end}: {other}"),
            }
        }
        // Behind the settings, the first offer and everything: an accept demands inputs.
        assert_eq!(fine, [96, 192, bytes.len()]);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let error = |build: &dyn Fn(&mut Encoder<'_>)| {
            let mut bytes = Vec::new();
            build(&mut Encoder::new(&mut bytes));
            events(&bytes, 1024).unwrap_err().to_string()
        };
        let offer = |encoder: &mut Encoder<'_>| {
            encoder.word(0).text("try").word(0).text("s").text("d");
        };
        insta::assert_snapshot!(
            [
                error(&|encoder| {
                    encoder.word(7);
                }),
                error(&|encoder| {
                    encoder.word(1).word(1 << 40);
                }),
                error(&|encoder| {
                    encoder.word(1).bytes(b"\xff").text("");
                }),
                error(&|encoder| {
                    encoder.word(0).text("build");
                }),
                error(&|encoder| {
                    offer(encoder);
                    encoder.word(1 << 50);
                }),
                error(&|encoder| {
                    encoder.word(0).text("try").word(0);
                }),
            ]
            .join("\n"),
            @r#"
        decode a boolean from 7 at byte 0
        decode a length of 1099511627776 where at most 4096 is allowed at byte 8
        decode a setting's name at byte 8 as UTF-8 from "\xff"
        understand the command "build" at byte 8
        decode a length of 1125899906842624 where at most 1024 is allowed at byte 64
        read the offer's fields: the stream ends in their middle, at byte 32
        "#
        );
    }
}
