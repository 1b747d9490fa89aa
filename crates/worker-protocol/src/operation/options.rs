use std::collections::BTreeMap;

use super::Operation;
use crate::Version;
use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop, Text};

/// Sets options for the rest of the connection.
///
/// A nix-daemon takes the fields as given, so a client that sends this sets all of them. It ignores those
/// of the `settings` that the client may not set, with a warning in the log.
///
/// A guix-daemon from 0x161 on hears of jobs, silence and cores only through its settings, where each may be missing.
/// There they are sent unless the `settings` have them, or they are those of [`SetOptions::default`]: then it does as
/// its own command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetOptions {
    /// Keep the directories of failed builds.
    pub keep_failed: bool,
    /// Go on with other builds when one failed.
    pub keep_going: bool,
    /// Build when substitution fails.
    pub fallback: bool,
    /// Which messages to send: see [`Level`](crate::log::Level).
    pub verbosity: u64,
    /// How many builds may run at a time. A daemon that gets 0 refuses to build.
    pub max_build_jobs: u64,
    /// After how many seconds of silence a build is stopped; 0 for never.
    pub max_silent_time: u64,
    /// Whether the daemon asks its own build hook before it builds, which may hand the build on. A guix-daemon
    /// starts `guix offload` for that, whether or not there is a list of machines (1.2.0 and 1.5.0). Nix's daemons
    /// take no notice.
    pub use_build_hook: bool,
    /// Which messages builds send: 0 (as an error) sends their output as log lines.
    pub build_verbosity: u64,
    /// Whether builds are told of by `@ build-started ..` lines. Guix only.
    pub print_build_trace: bool,
    /// How many cores a build is told to use; 0 for all.
    pub build_cores: u64,
    /// Whether substituters are used.
    pub use_substitutes: bool,
    /// Settings by name.
    pub settings: BTreeMap<Text, Text>,
}

impl Default for SetOptions {
    /// What a client asks for that wants a build's output and nothing special.
    fn default() -> SetOptions {
        SetOptions {
            keep_failed: false,
            keep_going: false,
            fallback: false,
            verbosity: 3,
            max_build_jobs: 1,
            max_silent_time: 0,
            use_build_hook: true,
            build_verbosity: 0,
            print_build_trace: false,
            build_cores: 0,
            use_substitutes: true,
            settings: BTreeMap::new(),
        }
    }
}

/// One of the numbers.
type Field = fn(&mut SetOptions) -> &mut u64;

/// What Guix has as settings by these names, from 0x161 on.
const PAIRS: [(&str, Field); 3] = [
    ("build-max-jobs", |options| &mut options.max_build_jobs),
    ("build-max-silent-time", |options| {
        &mut options.max_silent_time
    }),
    ("build-cores", |options| &mut options.build_cores),
];

impl SetOptions {
    /// The settings, with those fields among them that are no default.
    fn with_pairs(&self) -> BTreeMap<Text, Text> {
        let (mut options, mut defaults) = (self.clone(), SetOptions::default());
        for (name, field) in PAIRS {
            let value = *field(&mut options);
            if value != *field(&mut defaults) {
                let setting = options.settings.entry(name.into());
                setting.or_insert_with(|| value.to_string().into());
            }
        }
        options.settings
    }

    /// Makes settings the fields that [`SetOptions::with_pairs`] would write so.
    fn take_pairs(&mut self) {
        for (name, field) in PAIRS {
            let text = self.settings.get(name.as_bytes()).and_then(Text::to_str);
            let value = text.and_then(|text| {
                let value: u64 = text.parse().ok()?;
                (value.to_string() == text).then_some(value)
            });
            if let Some(value) = value
                && value != *field(self)
            {
                *field(self) = value;
                self.settings.remove(name.as_bytes());
            }
        }
    }
}

/// Keep failed, keep going, fallback, verbosity, jobs, silence, build hook, build verbosity, 0 (log
/// type), build trace, cores, substitutes, settings.
///
/// Guix from 0x161 on: without jobs, silence and cores, which are settings there.
impl Operation for SetOptions {
    const NUMBER: u64 = 19;
    const NAME: &'static str = "SetOptions";
    type Reply = ();

    fn exists(_: Version) -> bool {
        true
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        let in_pairs = context.version.has_options_as_pairs();
        encoder
            .boolean(self.keep_failed)
            .boolean(self.keep_going)
            .boolean(self.fallback);
        encoder.word(self.verbosity);
        if !in_pairs {
            encoder.word(self.max_build_jobs).word(self.max_silent_time);
        }
        encoder
            .boolean(self.use_build_hook)
            .word(self.build_verbosity)
            .word(0);
        encoder.boolean(self.print_build_trace);
        if !in_pairs {
            encoder.word(self.build_cores);
        }
        encoder.boolean(self.use_substitutes);
        if in_pairs {
            self.with_pairs().encode(encoder, context);
        } else {
            self.settings.encode(encoder, context);
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<SetOptions, Stop> {
        let in_pairs = context.version.has_options_as_pairs();
        let mut options = SetOptions {
            keep_failed: decoder.boolean()?,
            keep_going: decoder.boolean()?,
            fallback: decoder.boolean()?,
            verbosity: decoder.word()?,
            ..SetOptions::default()
        };
        if !in_pairs {
            options.max_build_jobs = decoder.word()?;
            options.max_silent_time = decoder.word()?;
        }
        options.use_build_hook = decoder.word()? != 0;
        options.build_verbosity = decoder.word()?;
        decoder.word()?;
        options.print_build_trace = decoder.word()? != 0;
        if !in_pairs {
            options.build_cores = decoder.word()?;
        }
        options.use_substitutes = decoder.boolean()?;
        options.settings = Value::decode(decoder, context)?;
        if in_pairs {
            options.take_pairs();
        }
        Ok(options)
    }

    fn encode_reply(_: &(), _: &mut Encoder<'_>, _: &Context) {}

    fn decode_reply(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }
}
