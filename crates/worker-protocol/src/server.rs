//! The server half: a [`Session`] that takes and gives bytes, and (feature `tokio`) a `Server` over
//! readers and writers.
//!
//! # Order of calls
//!
//! [`Session::poll_accept`] until the handshake is done. Then, for each request: [`Session::poll_request`];
//! any number of [`Session::log`]; the data that follows the request, if any
//! ([`Session::poll_upload`], or [`Session::poll_path`] first for many paths); one [`Session::answer`] or
//! [`Session::fail`]; and the archive behind the answer to NarFromPath with [`Session::raw`].

#[cfg(feature = "tokio")]
mod adapter;
mod multiple;
mod options;
mod session;
mod upload;

#[cfg(feature = "tokio")]
pub use adapter::Server;
pub use options::Options;
pub use session::{Progress, Session};
