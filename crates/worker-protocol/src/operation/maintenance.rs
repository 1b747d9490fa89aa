use store_path::StorePath;

use super::operation;
use crate::value::{Context, Done, Value};
use crate::wire::{Decoder, Encoder, Kind, Stop, Text};

operation! {
    /// Keeps a path, valid or not, from being collected while the connection lasts.
    AddTempRoot = 11 {
        /// The path.
        path: StorePath;
    } -> Done
}

operation! {
    /// Makes a symbolic link outside of the store a root.
    AddIndirectRoot = 12 {
        /// Absolute path of the link.
        link: Text;
    } -> Done
}

operation! {
    /// Makes a symbolic link to a path, as a root.
    AddPermRoot = 47 if has_add_perm_root {
        /// The path.
        path: StorePath;
        /// Absolute path of the link.
        link: Text;
    } -> Text
}

operation! {
    /// Waits for a running collection to end. Nix does nothing since 2.4.
    SyncWithGC = 13 {} -> Done
}

operation! {
    /// The roots: each the place that refers to a path, such as a symbolic link or `/proc/12/exe`, and the
    /// path.
    FindRoots = 14 {} -> Vec<(Text, StorePath)>
}

operation! {
    /// Collects garbage, or tells what it is.
    CollectGarbage = 20 {
        /// What to do.
        action: GarbageAction;
        /// Of [`GarbageAction::DeleteSpecific`]: the paths.
        paths: Vec<StorePath>;
        /// Delete paths that are in use, too. Daemons refuse that.
        ignore_liveness: bool;
        /// Stop once so many bytes were freed; `u64::MAX` for no limit.
        max_freed: u64;
        /// Three words without meaning.
        obsolete: [Obsolete; 3];
    } -> Collected
}

/// What a collection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GarbageAction {
    /// 0: tells the paths that are in use.
    ReturnLive = 0,
    /// 1: tells those that are not.
    ReturnDead = 1,
    /// 2: deletes those that are not.
    DeleteDead = 2,
    /// 3: deletes certain paths if they are not in use.
    DeleteSpecific = 3,
}

impl Value for GarbageAction {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.word(*self as u64);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<GarbageAction, Stop> {
        let offset = decoder.offset();
        match decoder.word()? {
            0 => Ok(GarbageAction::ReturnLive),
            1 => Ok(GarbageAction::ReturnDead),
            2 => Ok(GarbageAction::DeleteDead),
            3 => Ok(GarbageAction::DeleteSpecific),
            value => {
                let kind = Kind::Number {
                    what: "what a collection does",
                    value,
                };
                Err(decoder.error_at(offset, kind))
            }
        }
    }
}

/// A word without meaning: sent as 0, ignored when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Obsolete;

impl Value for [Obsolete; 3] {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.word(0).word(0).word(0);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<Self, Stop> {
        for _ in 0..3 {
            decoder.word()?;
        }
        Ok([Obsolete; 3])
    }
}

/// What a collection did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// The paths that were told or deleted. They need not be well-formed store paths.
    pub paths: Vec<Text>,
    /// How many bytes were freed.
    pub bytes_freed: u64,
}

/// Paths, bytes, a word without meaning.
impl Value for Collected {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.paths.encode(encoder, context);
        encoder.word(self.bytes_freed).word(0);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Collected, Stop> {
        let paths = Value::decode(decoder, context)?;
        let bytes_freed = decoder.word()?;
        decoder.word()?;
        Ok(Collected { paths, bytes_freed })
    }
}

operation! {
    /// Replaces equal files by hard links.
    OptimiseStore = 34 {} -> Done
}

operation! {
    /// Checks the store against its database. Answers whether errors are left.
    VerifyStore = 35 {
        /// Hash all contents, too.
        check_contents: bool;
        /// Repair what is damaged by substitution.
        repair: bool;
    } -> bool
}

operation! {
    /// The outputs of builds that failed and are not to be tried again.
    QueryFailedPaths = 24 if has_failed_paths {} -> Vec<Text>
}

operation! {
    /// Forgets that builds failed.
    ClearFailedPaths = 25 if has_failed_paths {
        /// Their outputs, or `*` for all.
        paths: Vec<Text>;
    } -> Done
}

operation! {
    /// The names of the builders `builtin:NAME`.
    BuiltinBuilders = 80 if has_builtin_builders {} -> Vec<Text>
}

operation! {
    /// The URLs of the daemon's substituters.
    SubstituteUrls = 81 if has_substitute_urls {} -> Vec<Text>
}
