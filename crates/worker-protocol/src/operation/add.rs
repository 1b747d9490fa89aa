use std::collections::BTreeSet;

use store_path::StorePath;

use super::{Operation, Upload, UploadOperation, operation};
use crate::Version;
use crate::path_info::ValidPathInfo;
use crate::realisation::base_name;
use crate::value::{Context, Done, Value};
use crate::wire::{Decoder, Encoder, Stop, Text, limit};

operation! {
    /// Adds a path with its archive, which follows as data of exactly `nar_size` bytes.
    AddToStoreNar = 39 if is_nix {
        /// The path and what is known of it. The hash must be that of the archive.
        path: ValidPathInfo;
        /// Replace the path if it is valid already but damaged.
        repair: bool;
        /// Accept it without a signature of a trusted key. Daemons allow that to users they trust.
        dont_check_signatures: bool;
    } -> (); upload |version| {
        match version {
            _ if version.has_framed_nar() => Upload::Framed,
            _ if version.has_tunnelled_nar() => Upload::Tunnelled,
            _ => Upload::Inline,
        }
    }
}

impl UploadOperation for AddToStoreNar {
    fn data_size(&self) -> Option<u64> {
        Some(self.path.info.nar_size)
    }
}

operation! {
    /// Adds any number of paths with their archives, references before what refers to them.
    ///
    /// The data: the number of paths, then for each its info (in the layout of 1.16) and its archive.
    AddMultipleToStore = 44 if has_add_multiple_to_store {
        /// See [`AddToStoreNar`].
        repair: bool;
        /// See [`AddToStoreNar`].
        dont_check_signatures: bool;
    } -> (); upload |_| Upload::Framed
}

/// Adds the log of a build, which follows as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddBuildLog {
    /// The derivation.
    pub path: StorePath,
}

/// The base name of the derivation.
impl Operation for AddBuildLog {
    const NUMBER: u64 = 45;
    const NAME: &'static str = "AddBuildLog";
    type Reply = Done;

    fn exists(version: Version) -> bool {
        version.has_add_build_log()
    }

    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.text(self.path.base_name());
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<AddBuildLog, Stop> {
        base_name(decoder).map(|path| AddBuildLog { path })
    }

    fn encode_reply(reply: &Done, encoder: &mut Encoder<'_>, context: &Context) {
        reply.encode(encoder, context);
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Done, Stop> {
        Value::decode(decoder, context)
    }

    fn upload(_: Version) -> Upload {
        Upload::Framed
    }
}

impl UploadOperation for AddBuildLog {
    fn data_size(&self) -> Option<u64> {
        None
    }
}

operation! {
    /// Delivers a path in the form of [`export`](crate::export), as data before the reply.
    ExportPath = 16 {
        /// The path.
        path: StorePath;
        /// Whether to sign it. Guix needs root for that; Nix ignores it.
        sign: bool;
    } -> Done
}

operation! {
    /// Adds paths in the form of [`export`](crate::export), which follow as data.
    ImportPaths = 27 {} -> Vec<StorePath>; upload |_| Upload::Tunnelled
}

impl UploadOperation for ImportPaths {
    fn data_size(&self) -> Option<u64> {
        None
    }
}

operation! {
    /// Adds a file whose path follows from its name, contents and references, as `.drv` files do.
    AddTextToStore = 8 {
        /// The name.
        name: Text, most limit::NAME;
        /// The contents.
        contents: Text, most limit::CONTENTS;
        /// The references.
        references: BTreeSet<StorePath>;
    } -> StorePath
}

operation! {
    /// Adds signatures to a valid path.
    AddSignatures = 37 if is_nix {
        /// The path.
        path: StorePath;
        /// Signatures, each `key-name:base64`.
        signatures: BTreeSet<Text>;
    } -> Done
}

operation! {
    /// Fetches a path's archive, which follows the reply.
    NarFromPath = 38 if is_nix {
        /// The path.
        path: StorePath;
    } -> (); raw true
}
