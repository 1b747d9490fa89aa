//! The client half: a [`Session`] that takes and gives bytes, and (feature `tokio`) a `Client` over
//! readers and writers.
//!
//! # Order of calls
//!
//! [`Session::new`]; then, as often as wanted and in any order: [`Session::queue`], or
//! [`Session::begin_upload`] with its [`Session::upload`] and [`Session::finish_upload`]. Whatever is to be
//! sent stands in [`Session::outgoing`]. Replies come in the order of the requests, each through
//! [`Session::poll_reply`], which says how many bytes it wants to see first; they go in through
//! [`Session::space`] and [`Session::received`].

#[cfg(feature = "tokio")]
mod adapter;
#[cfg(feature = "tokio")]
mod adapter_upload;
mod greet;
mod options;
mod reply;
mod session;
mod upload;

#[cfg(feature = "tokio")]
pub use adapter::{Client, Event};
#[cfg(feature = "tokio")]
pub use adapter_upload::{MultipleUpload, NarUpload};
pub use options::Options;
pub use session::{Progress, Session};

pub use crate::handshake::Greeting;
pub use crate::outstanding::Ticket;
