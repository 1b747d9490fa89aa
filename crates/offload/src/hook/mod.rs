//! The daemon's conversation with its build hook: [`nix`] without I/O, and [`serve`], which holds
//! it from the first setting to the exit code.

pub mod nix;
mod serve;
mod settings;

pub use serve::{ExitCode, Surroundings, serve};
pub use settings::{Settings, SettingsError};
