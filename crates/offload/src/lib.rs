//! Remote builds for Nix and Guix store daemons: choose a machine, copy what it lacks, build
//! there, bring the outputs back.

pub mod link;
pub mod machines;
pub mod schedule;
pub mod slots;
