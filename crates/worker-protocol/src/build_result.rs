use std::collections::BTreeMap;

use crate::realisation::{DrvOutput, Realisation};
use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Kind, Stop, Text, WORD, limit};

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BuildStatus {
    /// 0: built.
    Built,
    /// 1: substituted.
    Substituted,
    /// 2: nothing had to be done.
    AlreadyValid,
    /// 3: the builder failed, and will again.
    PermanentFailure,
    /// 4: the derivation is not acceptable.
    InputRejected,
    /// 5: an output is not acceptable.
    OutputRejected,
    /// 6: it may succeed when tried again (out of disk space, killed).
    TransientFailure,
    /// 7: failed before, and remembered. No longer sent.
    CachedFailure,
    /// 8: over the time limit or the silence limit.
    TimedOut,
    /// 9: something else failed, such as a build hook.
    MiscFailure,
    /// 10: a dependency failed.
    DependencyFailed,
    /// 11: over the limit of the log's size.
    LogLimitExceeded,
    /// 12: two builds gave different results.
    NotDeterministic,
    /// 13: a realisation that is already known is in the way.
    ResolvesToAlreadyValid,
    /// 14: no substituter has it.
    NoSubstituters,
    /// 15: a fixed-output derivation's content is not what it says. Newer than 2.28.
    HashMismatch,
    /// 16: the build was stopped, as another one of the same request failed. Newer than 2.28.
    Cancelled,
    /// A number that has no meaning here (yet), so a failure.
    Other(OtherStatus),
}

/// The number of a status without a name of its own: [`BuildStatus::from_number`] makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherStatus(u64);

impl OtherStatus {
    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The statuses, each at the place of its number.
const STATUSES: [BuildStatus; 17] = [
    BuildStatus::Built,
    BuildStatus::Substituted,
    BuildStatus::AlreadyValid,
    BuildStatus::PermanentFailure,
    BuildStatus::InputRejected,
    BuildStatus::OutputRejected,
    BuildStatus::TransientFailure,
    BuildStatus::CachedFailure,
    BuildStatus::TimedOut,
    BuildStatus::MiscFailure,
    BuildStatus::DependencyFailed,
    BuildStatus::LogLimitExceeded,
    BuildStatus::NotDeterministic,
    BuildStatus::ResolvesToAlreadyValid,
    BuildStatus::NoSubstituters,
    BuildStatus::HashMismatch,
    BuildStatus::Cancelled,
];

impl BuildStatus {
    /// The status with a number of the protocol.
    pub fn from_number(number: u64) -> BuildStatus {
        let known = usize::try_from(number)
            .ok()
            .and_then(|index| STATUSES.get(index));
        known
            .copied()
            .unwrap_or(BuildStatus::Other(OtherStatus(number)))
    }

    /// The number of the protocol.
    pub fn number(self) -> u64 {
        match (self, STATUSES.iter().position(|&status| status == self)) {
            (BuildStatus::Other(other), _) => other.number(),
            (_, place) => place.expect("all other statuses are in the list") as u64,
        }
    }

    /// Whether the outputs are there.
    pub fn is_success(self) -> bool {
        use BuildStatus::{AlreadyValid, Built, ResolvesToAlreadyValid, Substituted};
        matches!(
            self,
            Built | Substituted | AlreadyValid | ResolvesToAlreadyValid
        )
    }
}

/// What became of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildResult {
    /// How it ended.
    pub status: BuildStatus,
    /// Why it failed, for a person; empty otherwise.
    pub error: Text,
    /// How often it was built. From 1.29 on, else 0.
    pub times_built: u64,
    /// Whether its builds differed. From 1.29 on.
    pub is_non_deterministic: bool,
    /// When it started and stopped, in seconds since 1970; 0 when it was not built. From 1.29 on.
    pub start_time: u64,
    /// See `start_time`.
    pub stop_time: u64,
    /// User CPU time in microseconds. From 1.37 on, and where the daemon can measure it.
    pub cpu_user: Option<u64>,
    /// System CPU time in microseconds. See `cpu_user`.
    pub cpu_system: Option<u64>,
    /// The outputs. From 1.28 on; daemons leave it empty for derivations that are not content-addressed
    /// unless that experimental feature is on (2.8) or name all outputs (newer).
    pub built_outputs: BTreeMap<DrvOutput, Realisation>,
}

impl BuildResult {
    /// A result with a status and nothing else.
    pub fn new(status: BuildStatus) -> BuildResult {
        BuildResult {
            status,
            error: Text::default(),
            times_built: 0,
            is_non_deterministic: false,
            start_time: 0,
            stop_time: 0,
            cpu_user: None,
            cpu_system: None,
            built_outputs: BTreeMap::new(),
        }
    }
}

/// Status, error; 1.29: times built, whether different, start, stop; 1.37: CPU times; 1.28: outputs.
impl Value for BuildResult {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        let version = context.version;
        encoder.word(self.status.number()).text(&self.error);
        if version.has_build_times() {
            encoder
                .word(self.times_built)
                .boolean(self.is_non_deterministic);
            encoder.word(self.start_time).word(self.stop_time);
        }
        if version.has_cpu_times() {
            for time in [self.cpu_user, self.cpu_system] {
                encoder.optional(time, |encoder, time| {
                    encoder.word(time);
                });
            }
        }
        if version.has_built_outputs() {
            self.built_outputs.encode(encoder, context);
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<BuildResult, Stop> {
        let version = context.version;
        let mut result = BuildResult::new(BuildStatus::from_number(decoder.word()?));
        result.error = decoder.text(limit::LOG)?;
        if version.has_build_times() {
            result.times_built = decoder.word()?;
            result.is_non_deterministic = decoder.boolean()?;
            result.start_time = decoder.word()?;
            result.stop_time = decoder.word()?;
        }
        if version.has_cpu_times() {
            result.cpu_user = decoder.optional(Decoder::word)?;
            result.cpu_system = decoder.optional(Decoder::word)?;
        }
        if version.has_built_outputs() {
            result.built_outputs = Value::decode(decoder, context)?;
        }
        Ok(result)
    }

    fn smallest(_: &Context) -> usize {
        2 * WORD
    }
}

/// What is built how: see [`BuildMode`]'s variants for their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum BuildMode {
    /// 0: what is missing.
    #[default]
    Normal = 0,
    /// 1: what is missing or damaged.
    Repair = 1,
    /// 2: everything, to compare with what is there.
    Check = 2,
}

impl Value for BuildMode {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.word(*self as u64);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<BuildMode, Stop> {
        let offset = decoder.offset();
        match decoder.word()? {
            0 => Ok(BuildMode::Normal),
            1 => Ok(BuildMode::Repair),
            2 => Ok(BuildMode::Check),
            value => {
                let kind = Kind::Number {
                    what: "a build mode",
                    value,
                };
                Err(decoder.error_at(offset, kind))
            }
        }
    }
}
