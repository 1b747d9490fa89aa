//! The `offload` program.

fn main() {}
