//! A coordinator and a machine inside this process, for a newcomer's first look and for tests.
//!
//! The machine is an SSH server on loopback with a small store daemon behind it, which runs real
//! builders; the coordinator is a store, and the daemon's side of the hook's conversation. Between
//! them runs the same code as between real daemons, over real SSH. What it can never do is to
//! prove anything about those: both sides of every protocol here are our own.

mod coordinator;
mod daemon;
mod directory_store;
mod guix;
mod misbehaviour;
mod ssh_server;

#[cfg(test)]
pub(crate) use coordinator::create_database;
pub use coordinator::{Coordinator, CoordinatorError, Heard, PreparedBuild, Source, Wanted};
pub use directory_store::DirectoryStore;
pub use guix::{GuixExport, Hurry};
pub use misbehaviour::Misbehaviour;
pub use ssh_server::{Machine, MachineError};
