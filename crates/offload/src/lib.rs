//! Remote builds for Nix and Guix store daemons: choose a machine, copy what it lacks, build
//! there, bring the outputs back.
//!
//! The rooms stand in the order in which data flows through them; see ARCHITECTURE.md.

pub mod broker;
pub mod build;
mod copy;
pub mod embedded;
mod failover;
pub mod failure;
pub mod fleet;
pub mod health;
pub mod hook;
pub mod job;
pub mod link;
pub mod local;
pub mod log;
pub mod machines;
pub mod probe;
pub mod queue;
pub mod remote;
pub mod schedule;
pub mod slots;
mod state_file;
pub mod store;
