//! The daemon's conversation with its build hook: [`nix`] and [`guix`] without I/O, [`serve`] and
//! [`serve_guix`], which hold it from the first word to the exit code, and what is the same for
//! both once a build is accepted.

mod accepted;
mod dialect;
pub mod guix;
pub mod nix;
mod requests;
mod serve;
mod serve_guix;
mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use accepted::ExitCode;
pub use dialect::Dialect;
pub use serve::{Surroundings, serve};
pub use serve_guix::{GuixArguments, GuixSurroundings, serve_guix};
pub use settings::{Settings, SettingsError};
