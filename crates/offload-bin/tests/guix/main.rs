//! Builds between real guix-daemons, through the program as `GUIX`, over a real sshd.
//!
//! `OFFLOAD_ROOTS` names a folder of root folders of distributions (made by `crates/testbed/make-roots`); the tests run
//! with each of them that has Guix, and not at all where it is not set. With `OFFLOAD_TEST_HEAVY=1` they also run between
//! each two of them, with every fault, and with large trees and files; `OFFLOAD_TEST_KILLS=50` kills more hooks.
//! `OFFLOAD_TEST_PAIRS="bullseye:sid sid:bullseye"` names the pairs of coordinator and builder that they run with.

mod bed;
mod broker;
mod builds;
mod commands;
mod daemon;
mod disk;
mod faults;
mod heavy;
mod keys;
mod killed;
mod lists;
mod replies;
mod rsa;
mod setup;
mod stage;
mod stock;
mod unprivileged;
mod ways;
