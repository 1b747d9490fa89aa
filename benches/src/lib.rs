//! Benchmarks of the workspace; see `benches/README.md`.

pub mod derivations;
pub mod ratios;
