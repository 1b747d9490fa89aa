//! The coordinator's own store: what is known of its paths, their files, and how outputs are
//! brought in although the daemon that called us holds the locks on them.

mod authenticate;
mod bounds;
mod check;
mod database;
mod guix;
mod hash_modulo;
mod import;
mod keys;
mod limits;
mod location;
mod nix;
mod optimise;
mod path_lock;
mod programs;
mod registry;
mod remove;
mod signed;
mod store;
mod temporary_roots;

pub use authenticate::AuthenticateError;
pub use bounds::HostBounds;
pub(crate) use check::Passing;
pub use database::{Database, DatabaseError};
pub use guix::{GuixDirectories, GuixStore};
pub use import::{Import, ImportError};
pub(crate) use keys::{Authority, Signer};
pub use keys::{GuixKeys, GuixProgram};
pub use limits::Limits;
pub use location::{LocationError, StoreDirectories, StoreLocation};
pub use nix::NixStore;
pub use optimise::OptimiseError;
pub(crate) use path_lock::PathLocks;
pub use programs::{NixPrograms, ProgramError};
pub(crate) use remove::remove_tree;
pub(crate) use signed::Destination;
pub use signed::{Restored, SignedImport};
pub(crate) use store::read_derivation;
pub use store::{LocalError, LocalStore};
