use store_path::StorePath;

use super::operation;
use crate::value::Done;
use crate::wire::Text;

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
