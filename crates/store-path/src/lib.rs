//! Store directories, store paths, nix-base32 and the hashes that name things in a Nix or Guix store.
//!
//! ```text
//! /nix/store/wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8/bin/bash
//! ^--------^ ^------------------------------^ ^---------^ ^------^
//! store dir  digest: 20 bytes in nix-base32   name        not part of the store path
//!            ^------------------------------------------^
//!            base name
//! ```
//!
//! A [`StoreDir`] is a value, never a constant: the same code serves `/nix/store`, `/gnu/store` and a store anywhere else.
//! A [`StorePath`] is a base name that was checked; joined with a [`StoreDir`] it becomes a path of the file system.
//! Nothing here reads files: every function takes bytes and returns facts.
//!
//! ```
//! use store_path::StoreDir;
//!
//! let bash = StoreDir::NIX.parse("/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8")?;
//! assert_eq!(bash.name(), "bash-5.1-p8");
//! assert_eq!(bash.hash_part(), "wadmyilr414n7bimxysbny876i2vlm5r");
//! assert_eq!(StoreDir::GUIX.display(&bash).to_string(), "/gnu/store/wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8");
//! # Ok::<(), store_path::PathError>(())
//! ```
//!
//! # Features
//!
//! None is on by default, and each only adds: `hashes` the hash functions besides SHA-256, `serde` values as strings
//! (store paths by base name, hashes in SRI form), `testing` strategies and oracles for tests.

pub mod base32;
mod content_address;
mod cow;
mod dir;
mod fingerprint;
mod hash;
mod name;
mod path;
mod path_error;
#[cfg(feature = "serde")]
mod serde;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use content_address::{
    ContentAddress, ContentAddressError, ContentAddressErrorKind, ContentAddressMethod,
};
pub use cow::StorePathCow;
pub use dir::{Display, StoreDir, StoreDirError, StoreDirErrorKind};
pub use fingerprint::{FingerprintError, output_path_name};
pub use hash::{Hash, HashAlgorithm, HashError, HashErrorKind, HashFormat, Hasher, compress_hash};
pub use name::{MAX_NAME_LEN, check_name, name_prefix_len};
pub use path::{DIGEST_LEN, HASH_PART_LEN, StorePath, StorePathRef};
pub use path_error::{PathError, PathErrorKind};

/// The README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
