use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;

use super::operation;
use crate::derived_path::{self, DerivedPath};
use crate::path_info::PathInfo;
use crate::value::{Context, NarHash, Value};
use crate::wire::{Decoder, Encoder, Stop, Text};

operation! {
    /// What is known of a path; nothing if it is not valid. (A guix-daemon fails then; so has a server in
    /// that dialect to do.)
    QueryPathInfo = 26 {
        /// The path.
        path: StorePath;
    } -> Option<PathInfo>; refuse_reply |info, version| match info {
        None if version.is_guix() => Some(" with nothing"),
        _ => None,
    }
}

operation! {
    /// The valid paths that refer to a path.
    QueryReferrers = 6 {
        /// The path.
        path: StorePath;
    } -> BTreeSet<StorePath>
}

operation! {
    /// The valid derivations that have a path as an output.
    QueryValidDerivers = 33 {
        /// The path.
        path: StorePath;
    } -> BTreeSet<StorePath>
}

operation! {
    /// The valid path with a hash part.
    QueryPathFromHashPart = 29 {
        /// 32 digits of base 32.
        hash_part: Text;
    } -> Option<StorePath>
}

operation! {
    /// The hash of a valid path's archive. [`QueryPathInfo`] tells more.
    QueryPathHash = 4 {
        /// The path.
        path: StorePath;
    } -> NarHash
}

operation! {
    /// The paths that a valid path refers to. [`QueryPathInfo`] tells more.
    QueryReferences = 5 {
        /// The path.
        path: StorePath;
    } -> BTreeSet<StorePath>
}

operation! {
    /// The derivation that made a valid path, if that is known. [`QueryPathInfo`] tells more.
    QueryDeriver = 18 {
        /// The path.
        path: StorePath;
    } -> Option<StorePath>
}

operation! {
    /// The output paths of a valid derivation.
    QueryDerivationOutputs = 22 {
        /// The derivation.
        path: StorePath;
    } -> BTreeSet<StorePath>
}

operation! {
    /// The names of a valid derivation's outputs.
    QueryDerivationOutputNames = 28 {
        /// The derivation.
        path: StorePath;
    } -> Vec<Text>
}

operation! {
    /// The outputs of a valid derivation, with their paths as far as they are known.
    QueryDerivationOutputMap = 41 if has_output_map {
        /// The derivation.
        path: StorePath;
    } -> BTreeMap<Text, Option<StorePath>>
}

operation! {
    /// What would have to be built, substituted or fails, to get paths.
    QueryMissing = 40 if has_query_missing {
        /// The wanted paths.
        targets: Vec<DerivedPath>;
    } -> Missing; refuse |operation, version| {
        derived_path::inexpressible(&operation.targets, version)
    }
}

/// What is missing for some paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Missing {
    /// Derivations to build.
    pub will_build: BTreeSet<StorePath>,
    /// Paths to substitute.
    pub will_substitute: BTreeSet<StorePath>,
    /// Paths that nothing is known of.
    pub unknown: BTreeSet<StorePath>,
    /// Bytes to download.
    pub download_size: u64,
    /// Bytes of their archives.
    pub nar_size: u64,
}

impl Value for Missing {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.will_build.encode(encoder, context);
        self.will_substitute.encode(encoder, context);
        self.unknown.encode(encoder, context);
        encoder.word(self.download_size).word(self.nar_size);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Missing, Stop> {
        Ok(Missing {
            will_build: Value::decode(decoder, context)?,
            will_substitute: Value::decode(decoder, context)?,
            unknown: Value::decode(decoder, context)?,
            download_size: decoder.word()?,
            nar_size: decoder.word()?,
        })
    }
}
