use std::collections::BTreeSet;

use store_path::StorePath;

use super::operation;

operation! {
    /// Whether a path is valid. Only paths in the store may be asked for: others fail.
    IsValidPath = 1 {
        /// The path.
        path: StorePath;
    } -> bool
}

operation! {
    /// Which of the paths are valid.
    QueryValidPaths = 31 {
        /// The paths.
        paths: BTreeSet<StorePath>;
        /// Whether the daemon shall substitute those that are not, first. Older versions don't.
        substitute: bool, if has_substitute_flag;
    } -> BTreeSet<StorePath>
}

operation! {
    /// All valid paths.
    QueryAllValidPaths = 23 {} -> BTreeSet<StorePath>
}

operation! {
    /// Whether a substituter has a path.
    HasSubstitutes = 3 {
        /// The path.
        path: StorePath;
    } -> bool
}

operation! {
    /// Which of the paths a substituter has.
    QuerySubstitutablePaths = 32 {
        /// The paths.
        paths: BTreeSet<StorePath>;
    } -> BTreeSet<StorePath>
}
