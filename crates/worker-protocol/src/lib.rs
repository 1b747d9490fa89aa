//! The protocol between a store client and a store daemon: both halves, sans-I/O, pipelined.
//!
//! With this crate a Rust program can be a client of nix-daemon and guix-daemon, or stand in for one:
//! - [`client`]: queue requests, read their replies in order, hear the daemon's log meanwhile;
//! - [`server`]: read requests, send logs, answer;
//! - [`operation`]: every request with its fields and its reply;
//! - [`log`]: what daemons tell on the way, and how they say that something failed;
//! - [`wire`]: the basic shapes, also for other conversations of Nix in the same shapes (its build hook);
//! - [`export`]: the format of `nix-store --export` and `guix archive --export`;
//! - [`serve`]: the older protocol of `nix-store --serve`, client half.
//!
//! Sessions take and give bytes; they know no sockets, no files, no clock and no archives. Feature `tokio` has
//! `client::Client` and `server::Server` over any reader and writer; feature `testing` has strategies for
//! property tests, and the oracles of the fuzz targets.
//!
//! # Versions
//!
//! Nix 1.18 to 1.38 and Guix 0x160 to 0x164. [`Version`] names what each has. Daemons that it was tried with:
//! Nix 2.3.7 (1.21), 2.8.0 (1.34), 2.26.3 and 2.34.8 (1.38, each also pinned to every older version), Guix 1.2.0
//! (0x163) and 1.5.0 (0x164). Clients that the server half was tried with: those four of Nix. Features
//! (from 1.38 on) are exchanged; none is announced, so none changes a layout.
//!
//! # Pipelining
//!
//! A nix-daemon reads one request after the other and never needs the next one to answer the last one. So
//! requests may be sent as long as one likes before their replies are read, and with
//! [`client::Options::assume`] even before the daemon has said its version: a whole conversation is one
//! round trip. What cannot be pipelined waits by itself or is refused with a typed error:
//!
//! | what | why | what happens |
//! |---|---|---|
//! | version 1.38 | whether features are exchanged depends on the daemon | without assumption the first request waits for the hello |
//! | data of AddToStoreNar at 1.21 and 1.22, of ImportPaths | the daemon asks for it | replies before it must have been read; the data waits for the daemon's wish; what is behind it may be queued |
//! | anything in Guix's dialect | its daemon takes data that it did not expect for an error | queued requests leave one by one |
//!
//! # Operations
//!
//! The numbers are the first versions (of Nix 1.x, of Guix 0x1xx) that have the operation; "all" begins with the oldest
//! spoken here. **L**: tried live with real daemons. **V**: both directions in property tests at every
//! version; all operations are. **-**: the dialect has none. *(dropped)*: 2.34.8 answers "invalid operation".
//!
//! | operation | Nix | Guix |
//! |---|---|---|
//! | [`IsValidPath`](operation::IsValidPath), [`QueryAllValidPaths`](operation::QueryAllValidPaths), [`QueryPathInfo`](operation::QueryPathInfo), [`QueryReferrers`](operation::QueryReferrers), [`QueryValidDerivers`](operation::QueryValidDerivers), [`QueryPathFromHashPart`](operation::QueryPathFromHashPart) | all L | all L |
//! | [`QueryValidPaths`](operation::QueryValidPaths) | all L, flag from 27 | all L, no flag |
//! | [`HasSubstitutes`](operation::HasSubstitutes), [`QueryPathHash`](operation::QueryPathHash), [`QueryReferences`](operation::QueryReferences) | all L *(dropped)* | all L |
//! | [`QueryDeriver`](operation::QueryDeriver), [`QuerySubstitutablePaths`](operation::QuerySubstitutablePaths), [`QuerySubstitutablePathInfos`](operation::QuerySubstitutablePathInfos) (with content addresses from 22) | all L | all L |
//! | [`QueryDerivationOutputs`](operation::QueryDerivationOutputs), [`QueryDerivationOutputNames`](operation::QueryDerivationOutputNames) | all L | all V |
//! | [`QuerySubstitutablePathInfo`](operation::QuerySubstitutablePathInfo) | all L | - |
//! | [`QueryDerivationOutputMap`](operation::QueryDerivationOutputMap) | 22 L | - |
//! | [`QueryMissing`](operation::QueryMissing) | 19 L | - |
//! | [`QueryRealisation`](operation::QueryRealisation), [`RegisterDrvOutput`](operation::RegisterDrvOutput) | 27 L, JSON from 31 | - |
//! | [`AddToStore`](operation::AddToStore) | all L, inline archive; framed from 25 | all L, inline |
//! | [`AddTextToStore`](operation::AddTextToStore) | all L | all L |
//! | [`AddToStoreNar`](operation::AddToStoreNar) | all L: inline, asked for from 21, framed from 23 | - |
//! | [`AddMultipleToStore`](operation::AddMultipleToStore) | 32 L | - |
//! | [`NarFromPath`](operation::NarFromPath), [`AddSignatures`](operation::AddSignatures) | all L | - |
//! | [`ExportPath`](operation::ExportPath), [`ImportPaths`](operation::ImportPaths) | all L *(dropped)* | all L (import: its refusal of an unsigned path) |
//! | [`BuildPaths`](operation::BuildPaths) | all L, `!*` from 30 | all L |
//! | [`EnsurePath`](operation::EnsurePath), [`AddTempRoot`](operation::AddTempRoot), [`FindRoots`](operation::FindRoots), [`CollectGarbage`](operation::CollectGarbage), [`OptimiseStore`](operation::OptimiseStore), [`VerifyStore`](operation::VerifyStore), [`SyncWithGC`](operation::SyncWithGC) | all L | all L |
//! | [`AddIndirectRoot`](operation::AddIndirectRoot) | all L | all V |
//! | [`BuildDerivation`](operation::BuildDerivation) | all L; outputs from 28, times 29, CPU 37 | - |
//! | [`BuildPathsWithResults`](operation::BuildPathsWithResults) | 34 L | - |
//! | [`AddBuildLog`](operation::AddBuildLog) | 33 L | - |
//! | [`AddPermRoot`](operation::AddPermRoot) | 36 L | - |
//! | [`SetOptions`](operation::SetOptions) | all L | all L, shorter from 61 |
//! | [`QueryFailedPaths`](operation::QueryFailedPaths), [`ClearFailedPaths`](operation::ClearFailedPaths) | - | all L |
//! | [`BuiltinBuilders`](operation::BuiltinBuilders) | - | 61 L |
//! | [`SubstituteUrls`](operation::SubstituteUrls) | - | 64 L |

mod basic_derivation;
mod buffer;
mod build_result;
pub mod client;
mod connection;
mod derived_path;
mod error;
pub mod export;
mod handshake;
pub mod log;
pub mod operation;
mod outstanding;
mod path_info;
mod realisation;
pub mod serve;
pub mod server;
#[cfg(feature = "tokio")]
mod streams;
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

/// The README's examples are compiled.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
