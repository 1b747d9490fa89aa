//! Builds between real guix-daemons, through the program as `GUIX`, over a real sshd.
//!
//! `OFFLOAD_ROOTS` names a folder of root folders of distributions (made by `crates/testbed/make-roots`); the tests run
//! with each of them that has Guix, and not at all where it is not set.

mod bed;
mod builds;
mod commands;
mod keys;
mod replies;
mod rsa;
mod ways;
