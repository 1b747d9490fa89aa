//! Store derivations (.drv files): parse, print, and what they demand of a machine.
//!
//! ```text
//! Derive([("out","/nix/store/…-name","","")],            outputs        what it makes
//!        [("/nix/store/…-input.drv",["out"])],           derivations    what is built before it
//!        ["/nix/store/…-source"],                        sources        what is there already
//!        "x86_64-linux","/nix/store/…/bin/bash",         system, builder
//!        ["-e","…"],                                     arguments
//!        [("name","value")])                             environment
//! ```
//!
//! - [`Derivation`] is what a file says: plain data, borrowed from the file where nothing is escaped. [`Derivation::parse`] is strict, so
//!   that [`Derivation::print`] gives back every accepted file byte for byte.
//! - [`DerivationFile`] keeps the bytes beside it, for everything that is defined by hashing them: its own [store
//!   path](DerivationFile::store_path), its [output paths](DerivationFile::output_paths), with a [`ModuloMemo`] of its inputs' hashes.
//! - [`Requirements`] is what it demands of a machine; [`BasicDerivation`] what a machine is sent to build it.
//! - [`json`] reads and writes what `nix derivation show` prints; [`Derivation::differences`] says in words why two are not the same.
//!
//! It reads all kinds there are, of Nix and of Guix: input-addressed, fixed, floating, deferred, impure, with dynamic inputs, with
//! structured attributes. Nothing here reads files; every function takes bytes and returns facts.
//!
//! One feature, off by default, only adds: `testing`, strategies and oracles for tests.

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
mod placeholder;
mod print;
mod realisation;
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
pub use placeholder::{dynamic_placeholder, input_placeholder, output_placeholder};
pub use requirements::{Requirements, RequirementsError};
pub use resolve::ResolveError;
pub use sorted::{SortedMap, SortedSet};
pub use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath, StorePathCow,
    StorePathRef,
};

/// The README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
