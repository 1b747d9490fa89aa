//! What tests and fuzz targets share: trees in memory, a strategy that makes them, and oracles.
//!
//! An oracle takes any bytes and panics if the crate breaks one of its promises on them.

mod oracles;
mod seen;
mod tree;

pub use oracles::identity;
#[cfg(feature = "testing")]
pub use oracles::listing;
#[cfg(feature = "tokio")]
pub use oracles::readers_agree;
#[cfg(target_os = "linux")]
pub use oracles::restore_stays_inside;
pub use seen::{Outcome, Seen, in_pieces, in_slice, through_reader};
pub use tree::{Tree, names, trees};
