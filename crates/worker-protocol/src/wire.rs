//! What the bytes are: every value of the protocol is made of a handful of shapes.
//!
//! | shape | bytes |
//! |---|---|
//! | word | 8 bytes, little endian |
//! | boolean | a word, 0 or 1 |
//! | bytes, text | a word with the length, the bytes, zeros up to a multiple of 8 |
//! | list | a word with the count, then the items |
//! | map | a word with the count, then key and value in turn |
//! | optional | a word 0, or a word 1 and the value |
//!
//! [`Encoder`] appends to a `Vec<u8>`. [`Decoder`] walks over a `&[u8]` that may end too early: then it
//! says how many bytes are missing *at least* ([`Stop::Incomplete`]), and the caller starts again once it
//! has them. The bound counts every announced list item with its smallest size, so that starting again
//! stays cheap: a list of store paths is tried three or four times, however it was cut. Sessions go on behind the
//! items that they have seen.
//!
//! Nix's build hook talks to its daemon in the same shapes:
//!
//! ```
//! use worker_protocol::wire::{Decoder, Encoder, Stop, limit};
//!
//! let mut bytes = Vec::new();
//! Encoder::new(&mut bytes)
//!     .text("try")
//!     .boolean(true)
//!     .list(["kvm", "big-parallel"], |encoder, feature| {
//!         encoder.text(feature);
//!     });
//!
//! let mut decoder = Decoder::new(&bytes);
//! assert_eq!(decoder.text(limit::NAME)?, "try");
//! assert!(decoder.boolean()?);
//! let features = decoder.list(limit::ITEMS, 8, |decoder| decoder.text(limit::NAME))?;
//! assert_eq!(features, ["kvm", "big-parallel"]);
//! decoder.finish()?;
//!
//! // "try" alone is 16 bytes: 8 of them are here, so 8 are missing.
//! let cut = Decoder::new(&bytes[..8]).text(limit::NAME);
//! assert_eq!(cut, Err(Stop::Incomplete { at_least: 8 }));
//! # Ok::<(), Stop>(())
//! ```

mod decoder;
mod encoder;
mod error;
pub mod limit;
mod marks;
mod text;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{Error, Kind, Stop};
pub(crate) use marks::{Marks, decode_on};
pub use text::Text;

/// Size of a word, and the unit to which bytes are padded.
pub const WORD: usize = 8;
