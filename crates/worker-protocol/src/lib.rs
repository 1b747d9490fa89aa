//! The protocol between a store client and a store daemon, both halves, sans-I/O, pipelined.

mod basic_derivation;
mod buffer;
mod build_result;
pub mod client;
mod derived_path;
mod error;
pub mod export;
mod handshake;
pub mod log;
pub mod operation;
mod path_info;
mod realisation;
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod value;
mod version;
pub mod wire;

pub use basic_derivation::{BasicDerivation, BasicOutput};
pub use build_result::{BuildMode, BuildResult, BuildStatus};
pub use derived_path::{DerivedPath, Outputs};
pub use error::{Error, Incompatible, Misuse, Place};
pub use log::{Log, RemoteError};
pub use operation::{Operation, Request};
pub use path_info::{PathInfo, ValidPathInfo};
pub use realisation::{DrvOutput, Realisation};
pub use value::{Context, Done, NarHash, Value};
pub use version::{Dialect, Version};
