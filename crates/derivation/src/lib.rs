//! Store derivations (.drv files): parse, print, and what they demand of a machine.

mod attributes;
mod basic;
mod derivation;
mod difference;
mod error;
mod file;
mod input;
pub mod json;
mod modulo;
mod output;
mod parse;
mod path_hasher;
mod paths;
mod print;
mod requirements;
mod resolve;
mod sorted;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use attributes::{AttributeError, AttributeErrorKind, Attributes, StructuredAttributes};
pub use basic::BasicDerivation;
pub use derivation::{Bytes, Derivation, FixedOutput, Kind, KindError};
pub use difference::{Difference, Part, Side};
pub use error::{Entries, Error, ErrorKind, Expected, OutputErrorKind};
pub use file::{DerivationFile, derivation_name};
pub use input::{MAX_DYNAMIC_DEPTH, WantedOutputs};
pub use json::{JsonError, JsonForm};
pub use modulo::{HashModulo, ModuloError, ModuloMemo, WalkError};
pub use output::{Output, OutputFields, OutputName};
pub use paths::{OutputMismatch, PathsError};
pub use requirements::{Requirements, RequirementsError};
pub use resolve::{ResolveError, input_placeholder, output_placeholder};
pub use sorted::{SortedMap, SortedSet};
pub use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath, StorePathCow,
    StorePathRef,
};
