//! The coordinator's own store: what is known of its paths, their files, and how outputs are
//! brought in although the daemon that called us holds the locks on them.

mod check;
mod database;
mod hash_modulo;
mod import;
mod location;
mod nix;
mod remove;

pub(crate) use check::Passing;
pub use database::{Database, DatabaseError};
pub use import::{Import, ImportError};
pub use location::{LocationError, StoreDirectories, StoreLocation};
pub use nix::{LocalError, NixStore};
pub(crate) use remove::remove_tree;
