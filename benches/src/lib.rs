//! Benchmarks of the workspace; see `benches/README.md`.

pub mod contest;
pub mod derivations;
pub mod ratios;
