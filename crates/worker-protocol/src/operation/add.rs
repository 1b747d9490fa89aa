use std::collections::BTreeSet;

use store_path::StorePath;

use super::{Upload, UploadOperation, operation};
use crate::path_info::ValidPathInfo;
use crate::value::Done;
use crate::wire::Text;

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

operation! {
    /// Adds a file whose path follows from its name, contents and references, as `.drv` files do.
    AddTextToStore = 8 {
        /// The name.
        name: Text;
        /// The contents.
        contents: Text;
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
