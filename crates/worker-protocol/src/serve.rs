//! The older protocol of `nix-store --serve [--write]`: client half, versions 2.5 to 2.7 (Nix 2.3 to today).
//!
//! It is what `ssh://` stores speak, and all that some keys allow on a builder. [`Session`] takes and gives
//! bytes; `Client` (feature `tokio`) puts it over a reader and a writer.
//!
//! | who | what |
//! |---|---|
//! | client | `0x390c9deb`, its version (2.7 is `0x207`) |
//! | server | `0x5452eecb`, its version |
//! | client | a command's number and its fields, again and again |
//! | server | its reply |
//!
//! # What is not in it
//!
//! There is no log: what builds print, and the text of every error, goes to the program's standard error,
//! which belongs to whoever started the program. An error other than a failed build ends the program: then
//! its request and all behind it end in [`Error::Closed`], and what was answered before can still be read. A
//! build cannot be cancelled but by hanging up. Signatures are not checked, and no path is rooted but by
//! [`QueryValidPaths::lock`].
//!
//! # Pipelining
//!
//! The program reads one command after the other, so requests may leave before the replies to those before
//! them came, archives included; and all but [`BuildDerivation`] and [`BuildPaths`], whose layout depends on
//! the version, even together with the handshake. An assumed version lets these leave as well.
//!
//! Nix 2.8.0 tests the client's version wrongly and sends built outputs to clients of every version, so this
//! one never announces less than 2.6, where they are part of the reply.

#[cfg(feature = "tokio")]
mod adapter;
mod command;
mod session;
mod version;

#[cfg(feature = "tokio")]
pub use adapter::{Client, Upload};
pub use command::{
    AddToStoreNar, BuildDerivation, BuildPaths, BuildSettings, Command, DumpStorePath, ExportPaths,
    ImportPaths, QueryClosure, QueryPathInfos, QueryValidPaths, UploadCommand,
};
pub use session::{Context, Progress, Session};
pub use version::ServeVersion;

#[cfg(doc)]
use crate::Error;
pub use crate::outstanding::Ticket;
