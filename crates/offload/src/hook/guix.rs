//! Guix's build hook dialect: what the daemon writes to the hook's standard input.
//!
//! ```text
//! 1 x86_64-linux /gnu/store/..-a.drv kvm,big-parallel\n     a request, until one is accepted
//! /gnu/store/..-in1 /gnu/store/..-in2 \n                    after an accept: inputs,
//! /gnu/store/..-out \n                                      outputs, end of the stream
//! ```
//! Seen on guix 1.2.0 and 1.5.0. Without features the request ends in a blank; so does each list.
//! The inputs are the closure of the direct inputs and the derivation's own whole closure, the
//! outputs those that are missing.

use super::Dialect;

/// Longest word of a line, in bytes: a store path has at most some 300.
const MAX_WORD: usize = 4096;
/// Longest request, in bytes: three words, and as many features as fit.
const MAX_REQUEST: usize = 64 << 10;
/// Most inputs or outputs: a build's whole closure; large systems have some 100,000.
const MAX_PATHS: usize = 1 << 22;

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It offers a build.
    Request(Request),
    /// What the accepted build needs. Comes last.
    Inputs(Inputs),
}

/// A build that the daemon offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether one of the daemon's own slots is free.
    pub local_slot: bool,
    /// `x86_64-linux`.
    pub system: String,
    /// The `.drv` file's store path, in full.
    pub derivation: String,
    /// `requiredSystemFeatures`.
    pub required_features: Vec<String>,
}

/// What an accepted build needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inputs {
    /// Store paths, in full.
    pub inputs: Vec<String>,
    /// The store paths of the outputs that are wanted.
    pub outputs: Vec<String>,
}

/// Why the daemon's words cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is no request.
    #[error("read a request at byte {offset}: {line:?}")]
    Request {
        /// The line, without its end.
        line: String,
        /// Where it begins.
        offset: u64,
    },
    /// A list has an empty word, or one that is no text.
    #[error("read one of the {what} at byte {offset}: {word:?}")]
    Word {
        /// What the list holds.
        what: &'static str,
        /// The word.
        word: String,
        /// Where it begins.
        offset: u64,
    },
    /// A line or a word goes on beyond all reason.
    #[error("read {what} at byte {offset}: longer than {maximum} bytes")]
    TooLong {
        /// What was read.
        what: &'static str,
        /// How long it may be.
        maximum: usize,
        /// Where it begins.
        offset: u64,
    },
    /// A list goes on beyond all reason.
    #[error("read the {what}: more than {maximum} at byte {offset}")]
    TooMany {
        /// What the list holds.
        what: &'static str,
        /// How many it may hold.
        maximum: usize,
        /// Where the first one too many begins.
        offset: u64,
    },
    /// The stream ended in the middle of something.
    #[error("read {what}: the stream ends at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// The stream goes on behind the outputs.
    #[error("find the end behind the outputs: more comes at byte {offset}")]
    Surplus {
        /// Where.
        offset: u64,
    },
}

/// The conversation, without I/O; a [`Dialect`].
///
/// ```
/// use offload::hook::Dialect;
/// use offload::hook::guix::{Conversation, Event};
///
/// let mut conversation = Conversation::new();
/// conversation.handle(b"1 x86_64-linux /gnu/store/a.drv kvm\n");
/// let Some(Event::Request(request)) = conversation.poll()? else { panic!() };
/// assert_eq!(request.required_features, ["kvm"]);
/// conversation.accepted();
/// conversation.handle(b"/gnu/store/b /gnu/store/a.drv \n/gnu/store/c \n");
/// let Some(Event::Inputs(inputs)) = conversation.poll()? else { panic!() };
/// assert_eq!(inputs.outputs, ["/gnu/store/c"]);
/// conversation.handle_end()?;
/// # Ok::<(), offload::hook::guix::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Conversation {
    buffer: Vec<u8>,
    /// How much of `buffer` was understood.
    done: usize,
    /// How much of `buffer` was searched for the end of the word or line at hand.
    searched: usize,
    /// Where `buffer` begins in the stream.
    offset: u64,
    stage: Stage,
    read: Inputs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Requests,
    Inputs,
    Outputs,
    Ended,
}

impl Stage {
    fn what(self) -> &'static str {
        match self {
            Stage::Requests => "a request",
            Stage::Inputs => "inputs",
            Stage::Outputs => "outputs",
            Stage::Ended => "the end",
        }
    }
}

impl Dialect for Conversation {
    type Event = Event;
    type Error = Error;

    fn handle(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.offset += self.done as u64;
        self.searched -= self.done;
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn accepted(&mut self) {
        self.stage = Stage::Inputs;
    }

    fn poll(&mut self) -> Result<Option<Event>, Error> {
        match self.stage {
            Stage::Requests => self.poll_request(),
            Stage::Inputs | Stage::Outputs => self.poll_lists(),
            Stage::Ended if self.done < self.buffer.len() => Err(Error::Surplus {
                offset: self.position(),
            }),
            Stage::Ended => Ok(None),
        }
    }

    fn handle_end(&self) -> Result<(), Error> {
        let rest = self.buffer.len() - self.done;
        match self.stage {
            Stage::Requests | Stage::Ended if rest == 0 => Ok(()),
            stage => Err(Error::Truncated {
                what: stage.what(),
                offset: self.offset + self.buffer.len() as u64,
            }),
        }
    }
}

impl Conversation {
    /// At the beginning of the stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn poll_request(&mut self) -> Result<Option<Event>, Error> {
        let offset = self.position();
        let Some((line, _)) = self.take_until(b"\n", MAX_REQUEST, "a request")? else {
            return Ok(None);
        };
        match parse_request(&line) {
            Some(request) => Ok(Some(Event::Request(request))),
            None => Err(Error::Request {
                line: String::from_utf8_lossy(&line).into_owned(),
                offset,
            }),
        }
    }

    fn poll_lists(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let what = self.stage.what();
            let offset = self.position();
            let Some((word, end)) = self.take_until(b" \n", MAX_WORD, what)? else {
                return Ok(None);
            };
            let list = match self.stage {
                Stage::Inputs => &mut self.read.inputs,
                _ => &mut self.read.outputs,
            };
            // A list ends in a blank, so that its last word is empty.
            if end == b' ' || !word.is_empty() {
                if list.len() == MAX_PATHS {
                    let maximum = MAX_PATHS;
                    return Err(Error::TooMany {
                        what,
                        maximum,
                        offset,
                    });
                }
                list.push(parse_word(&word, what, offset)?);
            }
            if end == b' ' {
                continue;
            }
            if self.stage == Stage::Outputs {
                self.stage = Stage::Ended;
                return Ok(Some(Event::Inputs(std::mem::take(&mut self.read))));
            }
            self.stage = Stage::Outputs;
        }
    }

    /// Takes what stands before the first of `ends`, and that byte.
    fn take_until(
        &mut self,
        ends: &[u8],
        maximum: usize,
        what: &'static str,
    ) -> Result<Option<(Vec<u8>, u8)>, Error> {
        let unsearched = &self.buffer[self.searched..];
        let found = unsearched.iter().position(|byte| ends.contains(byte));
        let end = self.searched + found.unwrap_or(unsearched.len());
        if end - self.done > maximum {
            let offset = self.position();
            return Err(Error::TooLong {
                what,
                maximum,
                offset,
            });
        }
        if found.is_none() {
            self.searched = end;
            return Ok(None);
        }
        let taken = self.buffer[self.done..end].to_vec();
        let by = self.buffer[end];
        self.done = end + 1;
        self.searched = self.done;
        Ok(Some((taken, by)))
    }

    fn position(&self) -> u64 {
        self.offset + self.done as u64
    }
}

/// `1 x86_64-linux /gnu/store/..-a.drv kvm,big-parallel`
fn parse_request(line: &[u8]) -> Option<Request> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (slot, system, derivation, features) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_good = |word: &str| {
        !word.is_empty() && word.len() <= MAX_WORD && word.bytes().all(|b| b.is_ascii_graphic())
    };
    if words.next().is_some() || !is_good(system) || !is_good(derivation) {
        return None;
    }
    let features: Vec<_> = match features {
        "" => Vec::new(),
        features => features.split(',').map(str::to_owned).collect(),
    };
    if !derivation.starts_with('/') || !features.iter().all(|feature| is_good(feature)) {
        return None;
    }
    Some(Request {
        local_slot: match slot {
            "1" => true,
            "0" => false,
            _ => return None,
        },
        system: system.to_owned(),
        derivation: derivation.to_owned(),
        required_features: features,
    })
}

fn parse_word(word: &[u8], what: &'static str, offset: u64) -> Result<String, Error> {
    match std::str::from_utf8(word) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Error::Word {
            what,
            word: String::from_utf8_lossy(word).into_owned(),
            offset,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests, of which the second is accepted.
    const CONVERSATION: &str = "0 i686-linux /gnu/store/a.drv \n\
        1 x86_64-linux /gnu/store/b.drv kvm,big-parallel\n\
        /gnu/store/i /gnu/store/b.drv \n/gnu/store/o \n";

    /// Feeds `bytes` in pieces of `size`, accepting the second request.
    fn events(bytes: &[u8], size: usize) -> Result<Vec<Event>, Error> {
        let mut conversation = Conversation::new();
        let (mut events, mut requests) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            conversation.handle(piece);
            while let Some(event) = conversation.poll()? {
                if let Event::Request(_) = event {
                    requests += 1;
                    if requests == 2 {
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
        let bytes = CONVERSATION.as_bytes();
        let whole = events(bytes, bytes.len()).unwrap();
        insta::assert_debug_snapshot!(whole);
        for size in 1..bytes.len() {
            assert_eq!(events(bytes, size).unwrap(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_may_end_between_requests_and_nowhere_else() {
        let bytes = CONVERSATION.as_bytes();
        let mut fine = Vec::new();
        for end in 0..=bytes.len() {
            match events(&bytes[..end], bytes.len()) {
                Ok(_) => fine.push(end),
                Err(Error::Truncated { offset, .. }) => assert_eq!(offset, end as u64),
                Err(other) => panic!("cut at {end}: {other}"),
            }
        }
        // At once, behind the first request, and behind everything: an accept demands inputs.
        assert_eq!(fine, [0, 31, bytes.len()]);
    }

    #[test]
    fn lists_may_be_empty_and_need_no_last_blank() {
        let request = "0 s /gnu/store/a.drv \n1 s /gnu/store/b.drv \n";
        let inputs = |lists: &str| match events(format!("{request}{lists}").as_bytes(), 7) {
            Ok(mut events) => match events.pop() {
                Some(Event::Inputs(inputs)) => (inputs.inputs, inputs.outputs),
                other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        };
        assert_eq!(inputs("\n\n"), (vec![], vec![]));
        let both = (
            vec!["/a".to_owned(), "/b".to_owned()],
            vec!["/c".to_owned()],
        );
        assert_eq!(inputs("/a /b \n/c \n"), both);
        assert_eq!(inputs("/a /b\n/c\n"), both);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let request = "0 s /gnu/store/a.drv \n1 s /gnu/store/b.drv \n";
        let long = format!("{request}/{}", "x".repeat(MAX_WORD));
        let texts = [
            "2 s /gnu/store/a.drv \n",
            "1 s /gnu/store/a.drv\n",
            "1 s gnu/store/a.drv \n",
            "1  /gnu/store/a.drv \n",
            "1 s /gnu/store/a.drv kvm,\n",
            "1 s /gnu/store/a.drv kvm x\n",
            "\n",
            &"1".repeat(MAX_REQUEST + 1),
            &format!("{request}/a  /b \n"),
            &long,
            &format!("{request}\n\n "),
        ];
        let errors = texts.map(|text| events(text.as_bytes(), 1000).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"));
    }
}
