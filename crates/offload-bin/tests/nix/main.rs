//! Builds between two real nix-daemons, through the hook, over a real sshd.
//!
//! `OFFLOAD_TEST_HOOK=stock` runs the builds through the distribution's own `build-remote` instead, which tells what is
//! the hook's doing from what is the daemon's; what only our hook promises is left out then.
//! `OFFLOAD_TEST_COORDINATOR` and `OFFLOAD_TEST_BUILDER` name root folders of other distributions (made by
//! `crates/testbed/make-roots`) for the two hosts; `OFFLOAD_TEST_SECOND` one for the second builder, which is else as
//! the first.

mod bed;
mod broker;
mod builds;
mod choice;
mod commands;
mod disk;
mod endpoint;
mod failures;
mod faults;
mod floating;
mod killed;
mod optimise;
mod places;
mod registration;
mod rows;
mod same_output;
mod schema;
mod setup;
mod ssh;
mod stage;
mod trouble;
mod ways;
