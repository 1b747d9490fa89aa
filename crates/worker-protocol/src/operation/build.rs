use store_path::StorePath;

use super::operation;
use crate::basic_derivation::BasicDerivation;
use crate::build_result::{BuildMode, BuildResult};
use crate::derived_path::{self, DerivedPath};
use crate::value::Done;

operation! {
    /// Brings paths into existence. Fails if any of them cannot be had.
    BuildPaths = 9 {
        /// The paths.
        targets: Vec<DerivedPath>;
        /// How.
        mode: BuildMode;
    } -> Done; refuse |operation, version| {
        derived_path::inexpressible(&operation.targets, version)
    }
}

operation! {
    /// Brings paths into existence, and tells what became of each.
    BuildPathsWithResults = 46 if has_build_paths_with_results {
        /// The paths.
        targets: Vec<DerivedPath>;
        /// How.
        mode: BuildMode;
    } -> Vec<(DerivedPath, BuildResult)>; refuse |operation, version| {
        derived_path::inexpressible(&operation.targets, version)
    }; refuse_reply |results, version| {
        derived_path::inexpressible(results.iter().map(|(target, _)| target), version)
    }
}

operation! {
    /// Builds one derivation whose inputs are all there. Its `.drv` file need not be in the store.
    ///
    /// A daemon does this for users it trusts, and for others if all outputs are content-addressed.
    BuildDerivation = 36 if is_nix {
        /// The derivation's path.
        path: StorePath;
        /// What to build.
        derivation: BasicDerivation;
        /// How.
        mode: BuildMode;
    } -> BuildResult
}

operation! {
    /// Makes a path valid by substitution if need be.
    EnsurePath = 10 {
        /// The path.
        path: StorePath;
    } -> Done
}
