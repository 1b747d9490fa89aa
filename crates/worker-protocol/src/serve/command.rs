use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;

use super::Context;
use crate::derived_path;
use crate::wire::{Decoder, Encoder, Kind, Stop, limit};
use crate::{
    BasicDerivation, BuildResult, BuildStatus, DerivedPath, NarHash, PathInfo, RemoteError,
    ValidPathInfo, Value, Version,
};

/// One command of the serve protocol.
pub trait Command {
    /// Its number.
    const NUMBER: u64;
    /// Its name in Nix's sources, without the `cmd`.
    const NAME: &'static str;
    /// Whether data follows the request: then it is an [`UploadCommand`].
    const HAS_DATA: bool = false;
    /// Whether the request's layout depends on the version.
    const NEEDS_VERSION: bool = false;
    /// Whether data follows the reply of which only a decoder finds the end.
    const RAW_REPLY: bool = false;
    /// What the server answers.
    type Reply;

    /// What this request holds that has no bytes, as the end of "send NAME ..", or nothing.
    fn inexpressible(&self) -> Option<&'static str> {
        None
    }

    /// Appends the fields.
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context);

    /// Reads the reply.
    ///
    /// # Errors
    /// [`Stop`].
    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop>;
}

/// A command whose request has data behind it.
pub trait UploadCommand: Command {
    /// How many bytes of data there are, where the request says so.
    fn data_size(&self) -> Option<u64>;
}

/// Values are those of the worker protocol at this version.
const VALUES: Version = Version::nix(27);

fn values(context: &Context) -> crate::Context {
    crate::Context {
        store_dir: context.store_dir.clone(),
        version: VALUES,
    }
}

/// Which of the paths are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryValidPaths {
    /// Keep them from being collected while the connection lasts.
    pub lock: bool,
    /// Substitute those that are not valid first.
    pub substitute: bool,
    /// The paths.
    pub paths: BTreeSet<StorePath>,
}

impl Command for QueryValidPaths {
    const NUMBER: u64 = 1;
    const NAME: &'static str = "QueryValidPaths";
    type Reply = BTreeSet<StorePath>;

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.boolean(self.lock).boolean(self.substitute);
        self.paths.encode(encoder, &values(context));
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop> {
        Value::decode(decoder, &values(context))
    }
}

/// What is known of paths. Those that are not valid are missing in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPathInfos {
    /// The paths.
    pub paths: BTreeSet<StorePath>,
}

/// For each: path, deriver, references, download size, archive size, hash with its algorithm's name, content
/// address, signatures. An empty text at the end.
impl Command for QueryPathInfos {
    const NUMBER: u64 = 2;
    const NAME: &'static str = "QueryPathInfos";
    type Reply = Vec<ValidPathInfo>;

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.paths.encode(encoder, &values(context));
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop> {
        let context = values(context);
        decoder.items_until_none(limit::ITEMS, |decoder| {
            let Some(path) = Option::<StorePath>::decode(decoder, &context)? else {
                return Ok(None);
            };
            let deriver = Value::decode(decoder, &context)?;
            let references = Value::decode(decoder, &context)?;
            decoder.word()?;
            let nar_size = decoder.word()?;
            let offset = decoder.offset();
            let text = decoder.bytes(limit::HASH)?;
            let hash = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| decoder.not_a(offset, "a hash", text))?;
            let nar_hash =
                NarHash::from_hash(hash).ok_or_else(|| decoder.not_a(offset, "a SHA-256", text))?;
            let content_address = Value::decode(decoder, &context)?;
            let mut info = PathInfo::new(nar_hash, nar_size);
            info.deriver = deriver;
            info.references = references;
            info.content_address = content_address;
            info.signatures = Value::decode(decoder, &context)?;
            Ok(Some(ValidPathInfo { path, info }))
        })
    }
}

/// Fetches a path's archive, which is all of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpStorePath {
    /// The path.
    pub path: StorePath,
}

impl Command for DumpStorePath {
    const NUMBER: u64 = 3;
    const NAME: &'static str = "DumpStorePath";
    const RAW_REPLY: bool = true;
    type Reply = ();

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.path.encode(encoder, &values(context));
    }

    fn decode_reply(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }
}

/// Adds paths in the form of [`export`](crate::export), which follow as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPaths {}

impl Command for ImportPaths {
    const NUMBER: u64 = 4;
    const NAME: &'static str = "ImportPaths";
    const HAS_DATA: bool = true;
    type Reply = ();

    fn encode(&self, _: &mut Encoder<'_>, _: &Context) {}

    fn decode_reply(decoder: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        decode_done(decoder)
    }
}

impl UploadCommand for ImportPaths {
    fn data_size(&self) -> Option<u64> {
        None
    }
}

/// Fetches paths in the form of [`export`](crate::export), which is all of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPaths {
    /// The paths, references before what refers to them.
    pub paths: Vec<StorePath>,
}

impl Command for ExportPaths {
    const NUMBER: u64 = 5;
    const NAME: &'static str = "ExportPaths";
    const RAW_REPLY: bool = true;
    type Reply = ();

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.word(0);
        self.paths.encode(encoder, &values(context));
    }

    fn decode_reply(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }
}

/// How builds run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildSettings {
    /// After how many seconds of silence a build is stopped; 0 for never.
    pub max_silent_time: u64,
    /// After how many seconds a build is stopped; 0 for never.
    pub timeout: u64,
    /// After how many bytes of log a build is stopped; 0 for never.
    pub max_log_size: u64,
    /// How many more times to build, to compare. Nix from 2.12 on refuses anything but 0.
    pub repeat: u64,
    /// Whether a difference then is a failure.
    pub enforce_determinism: bool,
    /// Keep the directories of failed builds. From 2.7 on.
    pub keep_failed: bool,
}

impl BuildSettings {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder
            .word(self.max_silent_time)
            .word(self.timeout)
            .word(self.max_log_size);
        encoder.word(self.repeat).boolean(self.enforce_determinism);
        if context.version.has_keep_failed() {
            encoder.boolean(self.keep_failed);
        }
    }
}

/// Brings paths into existence. The reply is an error if any of them cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPaths {
    /// The paths. A derivation itself cannot be asked for: its path means all of its outputs.
    pub targets: Vec<DerivedPath>,
    /// How.
    pub settings: BuildSettings,
}

/// 0, or an exit status and a message.
impl Command for BuildPaths {
    const NUMBER: u64 = 6;
    const NAME: &'static str = "BuildPaths";
    const NEEDS_VERSION: bool = true;
    type Reply = Result<(), RemoteError>;

    fn inexpressible(&self) -> Option<&'static str> {
        derived_path::inexpressible(&self.targets, VALUES)
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.targets.encode(encoder, &values(context));
        self.settings.encode(encoder, context);
    }

    fn decode_reply(decoder: &mut Decoder<'_>, _: &Context) -> Result<Self::Reply, Stop> {
        match decoder.word()? {
            0 => Ok(Ok(())),
            status => {
                let message = decoder.text(limit::LOG)?;
                Ok(Err(RemoteError::new(message).with_status(status)))
            }
        }
    }
}

/// Everything that paths refer to, and they themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryClosure {
    /// Of derivations, the outputs as well.
    pub include_outputs: bool,
    /// The paths.
    pub paths: BTreeSet<StorePath>,
}

impl Command for QueryClosure {
    const NUMBER: u64 = 7;
    const NAME: &'static str = "QueryClosure";
    type Reply = BTreeSet<StorePath>;

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        encoder.boolean(self.include_outputs);
        self.paths.encode(encoder, &values(context));
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Self::Reply, Stop> {
        Value::decode(decoder, &values(context))
    }
}

/// Builds one derivation whose inputs are all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildDerivation {
    /// The derivation's path.
    pub path: StorePath,
    /// What to build.
    pub derivation: BasicDerivation,
    /// How.
    pub settings: BuildSettings,
}

/// Status, error, times built, whether different, start, stop; from 2.6 on the outputs.
impl Command for BuildDerivation {
    const NUMBER: u64 = 8;
    const NAME: &'static str = "BuildDerivation";
    const NEEDS_VERSION: bool = true;
    type Reply = BuildResult;

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.path.encode(encoder, &values(context));
        self.derivation.encode(encoder, &values(context));
        self.settings.encode(encoder, context);
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<BuildResult, Stop> {
        let mut result = BuildResult::new(BuildStatus::from_number(decoder.word()?));
        result.error = decoder.text(limit::LOG)?;
        result.times_built = decoder.word()?;
        result.is_non_deterministic = decoder.boolean()?;
        result.start_time = decoder.word()?;
        result.stop_time = decoder.word()?;
        result.built_outputs = match context.version.has_built_outputs() {
            true => Value::decode(decoder, &values(context))?,
            false => BTreeMap::new(),
        };
        Ok(result)
    }
}

/// Adds a path with its archive, which follows as data of exactly `nar_size` bytes. Signatures are not
/// checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddToStoreNar {
    /// The path and what is known of it.
    pub path: ValidPathInfo,
}

impl Command for AddToStoreNar {
    const NUMBER: u64 = 9;
    const NAME: &'static str = "AddToStoreNar";
    const HAS_DATA: bool = true;
    type Reply = ();

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.path.encode(encoder, &values(context));
    }

    fn decode_reply(decoder: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        decode_done(decoder)
    }
}

impl UploadCommand for AddToStoreNar {
    fn data_size(&self) -> Option<u64> {
        Some(self.path.info.nar_size)
    }
}

fn decode_done(decoder: &mut Decoder<'_>) -> Result<(), Stop> {
    let offset = decoder.offset();
    match decoder.word()? {
        1 => Ok(()),
        value => {
            let kind = Kind::Number {
                what: "the word 1 of a finished command",
                value,
            };
            Err(decoder.error_at(offset, kind))
        }
    }
}
