//! Store derivations (.drv files): parse, print, and what they demand of a machine.

mod attributes;
mod basic;
mod derivation;
mod error;
mod input;
mod output;
mod parse;
mod print;
mod requirements;
mod sorted;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use attributes::{AttributeError, AttributeErrorKind, Attributes, StructuredAttributes};
pub use basic::BasicDerivation;
pub use derivation::{Bytes, Derivation, FixedOutput, Kind, KindError};
pub use error::{Entries, Error, ErrorKind, Expected, OutputErrorKind};
pub use input::{MAX_DYNAMIC_DEPTH, WantedOutputs};
pub use output::{Output, OutputFields, OutputName};
pub use requirements::{Requirements, RequirementsError};
pub use sorted::{SortedMap, SortedSet};
pub use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath, StorePathCow,
    StorePathRef,
};
