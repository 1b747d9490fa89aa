//! The protocol between a store client and a store daemon: both halves, sans-I/O, pipelined.
//!
//! With this crate a Rust program can be a client of nix-daemon and guix-daemon, or stand in for one:
//! - [`client`]: queue requests, read their replies in order, hear the daemon's log meanwhile;
//! - [`server`]: read requests, send logs, answer;
//! - [`operation`]: every request with its fields and its reply;
//! - [`log`]: what daemons tell on the way, and how they say that something failed;
//! - [`wire`]: the basic shapes, also for other conversations of Nix in the same shapes (its build hook);
//! - [`export`]: what `nix-store --export` and `guix archive --export` write, read and written piece by piece;
//! - [`serve`]: the older protocol of `nix-store --serve`, client half.
//!
//! Sessions take and give bytes; they know no sockets, no files, no clock and no archives. Feature `tokio` has
//! `client::Client` and `server::Server` over any reader and writer; feature `derivation` makes a [`BasicDerivation`]
//! of a parsed one; feature `testing` has strategies for property tests, and the oracles of the fuzz targets.
//!
//! # Versions
//!
//! Nix 1.18 to 1.38 and Guix 0x160 to 0x164. [`Version`] names what each has. Daemons that it was tried with:
//! Nix 2.3.7 (1.21), 2.8.0 (1.34), 2.26.3 and 2.34.8 (1.38, each also pinned to every older version), Guix 1.2.0
//! (0x163) and 1.5.0 (0x164). Clients that the server half was tried with: all six.
//!
//! The lower of both sides' versions is spoken. A server announces 1.38; a client what its options say, and that is
//! 1.37 unless it is asked for more: what 1.38 adds is an exchange of features, which costs a round trip. There this
//! side names none, so that none changes a layout, whatever the other one names. Dynamic derivations, which name an
//! output of an output, are refused: see [`DerivedPath`].
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
//! | data of AddToStoreNar at 1.21 and 1.22, of ImportPaths | the daemon asks for it | replies before it must have been read; the data waits for the daemon's wish; what is behind it may be queued once the data has ended |
//! | anything in Guix's dialect | its daemon takes data that it did not expect for an error | queued requests leave one by one; with [`client::Options::together`], in one write as many as may |
//!
//! # Errors, and what is bounded
//!
//! An error of one request leaves the connection usable, unless the peer closes it: a nix-daemon does after an
//! operation that it does not know. [`Error::is_survivable`] says of the others. What a version cannot say is refused
//! before a byte of it is sent.
//!
//! A session holds at most one message of its peer besides what was read ahead ([`wire::limit::MESSAGE`], or what the
//! options say), and of data that is sent at most 1 MiB; data that comes is handed on in blocks. There are no timeouts:
//! the caller bounds its waits, and futures may be dropped where their documentation says so.
//!
//! # Operations, and how each was tested
//!
//! The numbers are the first versions (of Nix 1.x, of Guix 0x1xx) that have the operation; "all" begins with the
//! oldest spoken here; "-": the dialect has none. Nothing rests on sources alone: **every operation's request
//! and reply is held to bytes that were written by hand, in both directions, at every version that has it**
//! (`tests/vectors`), and to random values cut anywhere (`tests/properties.rs`).
//!
//! Besides, **L**: called live, with a second request behind it, on every daemon that has it, at each version that
//! changes its layout (AddBuildLog and AddPermRoot: from 34 and 37 on; where what a daemon can say is only part of
//! what the layout allows, a note tells). *s*: real clients asked the server half for it (Nix's: copying to and
//! from a store of ours, looking into it, building on it).
//!
//! | operation | Nix | Guix |
//! |---|---|---|
//! | [`IsValidPath`](operation::IsValidPath), [`QueryPathInfo`](operation::QueryPathInfo) | all L*s* | all L*s* |
//! | [`QueryAllValidPaths`](operation::QueryAllValidPaths) | all L | all L |
//! | [`QueryPathFromHashPart`](operation::QueryPathFromHashPart) | all L | all L |
//! | [`QueryReferrers`](operation::QueryReferrers), [`QueryValidDerivers`](operation::QueryValidDerivers) | all L | all L*s* |
//! | [`QueryValidPaths`](operation::QueryValidPaths) | all L*s*, flag from 27 (false only) | all L, no flag |
//! | [`HasSubstitutes`](operation::HasSubstitutes), [`QueryPathHash`](operation::QueryPathHash), [`QueryReferences`](operation::QueryReferences) | all L; 2.34.8 has dropped them | all L*s* |
//! | [`QueryDeriver`](operation::QueryDeriver) | all L | all L |
//! | [`QuerySubstitutablePaths`](operation::QuerySubstitutablePaths), [`QuerySubstitutablePathInfos`](operation::QuerySubstitutablePathInfos) | all L, addresses from 22; no daemon had a substituter: empty replies | all L*s*, empty replies |
//! | [`QueryDerivationOutputs`](operation::QueryDerivationOutputs) | all L | all L*s* |
//! | [`QueryDerivationOutputNames`](operation::QueryDerivationOutputNames) | all L | all L |
//! | [`QuerySubstitutablePathInfo`](operation::QuerySubstitutablePathInfo) | all L, empty replies | - |
//! | [`QueryDerivationOutputMap`](operation::QueryDerivationOutputMap) | 22 L | - |
//! | [`QueryMissing`](operation::QueryMissing) | 19 L*s* | - |
//! | [`RegisterDrvOutput`](operation::RegisterDrvOutput) | 27 L, JSON from 31 | - |
//! | [`QueryRealisation`](operation::QueryRealisation) | 27 L, empty replies | - |
//! | [`AddToStore`](operation::AddToStore) | all L, archive inline; framed from 25 | all L*s*, inline |
//! | [`AddTextToStore`](operation::AddTextToStore) | all L | all L*s* |
//! | [`AddToStoreNar`](operation::AddToStoreNar) | all L*s* (asked for): inline, asked for from 21, framed from 23 | - |
//! | [`AddMultipleToStore`](operation::AddMultipleToStore) | 32 L*s* | - |
//! | [`NarFromPath`](operation::NarFromPath) | all L*s* | - |
//! | [`AddSignatures`](operation::AddSignatures) | all L | - |
//! | [`ExportPath`](operation::ExportPath), [`ImportPaths`](operation::ImportPaths) | all L; 2.34.8 has dropped the first, and was not asked for the second | all L*s*: signed by each daemon, taken in by each; unsigned and changed ones refused |
//! | [`BuildPaths`](operation::BuildPaths) | all L, `!*` from 30; only paths that cannot be had | all L*s*, building and failing |
//! | [`BuildPathsWithResults`](operation::BuildPathsWithResults) | 34 L*s*, only paths that cannot be had | - |
//! | [`BuildDerivation`](operation::BuildDerivation) | all L*s*; outputs from 28, times 29, CPU 37 | - |
//! | [`EnsurePath`](operation::EnsurePath), [`FindRoots`](operation::FindRoots), [`SyncWithGC`](operation::SyncWithGC) | all L | all L |
//! | [`AddTempRoot`](operation::AddTempRoot) | all L | all L*s* |
//! | [`AddIndirectRoot`](operation::AddIndirectRoot), [`OptimiseStore`](operation::OptimiseStore), [`VerifyStore`](operation::VerifyStore), [`CollectGarbage`](operation::CollectGarbage) | all L | all L*s*; 1.2.0 cannot collect in a bare root |
//! | [`AddBuildLog`](operation::AddBuildLog) | 33 L | - |
//! | [`AddPermRoot`](operation::AddPermRoot) | 36 L | - |
//! | [`SetOptions`](operation::SetOptions) | all L*s* | all L*s*, shorter from 61 |
//! | [`QueryFailedPaths`](operation::QueryFailedPaths), [`ClearFailedPaths`](operation::ClearFailedPaths) | - | all L*s* |
//! | [`BuiltinBuilders`](operation::BuiltinBuilders) | - | 61 L*s* |
//! | [`SubstituteUrls`](operation::SubstituteUrls) | - | 64 L |
//!
//! Log messages, errors and greetings have their vectors at every version, too; conversations of all six daemons
//! were recorded, and are said again whole, in pieces, cut, reset, stalled and changed at every byte, by both
//! halves. What every Nix and Guix here exports is read, cut at every byte, and written as the same bytes, which every
//! other one imports. The [serve protocol](serve) has vectors at 2.5, 2.6 and 2.7, and every command was called live on the
//! four Nix, but for ExportPaths and ImportPaths, which only 2.3.7 still has.

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
pub use build_result::{BuildMode, BuildResult, BuildStatus, OtherStatus};
pub use derived_path::{DerivedPath, Outputs};
pub use error::{Error, Incompatible, Misuse, Place};
pub use log::{Log, RemoteError};
pub use operation::{Operation, Request};
pub use path_info::{PathInfo, ValidPathInfo};
pub use realisation::{DrvOutput, Realisation};
pub use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath,
};
pub use value::{Context, Done, NarHash, Value};
pub use version::{Dialect, Version};

/// The README's examples are compiled.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
