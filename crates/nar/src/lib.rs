//! Nix archives (nar): the format in which Nix and Guix hash, sign, store and send file-system trees.
//!
//! ```
//! use nar::{Digest, Observed, RestoreOptions};
//!
//! # let directory = tempfile::tempdir()?;
//! # let (source, target) = (directory.path().join("source"), directory.path().join("target"));
//! # std::fs::create_dir(&source)?;
//! # std::fs::write(source.join("greeting"), "hello")?;
//! let mut archive = Vec::new();
//! let mut digest = Digest::new();
//! nar::dump(&source, &mut Observed::new(&mut archive, &mut digest))?;
//! println!("{:02x?}", digest.finish().sha256);
//!
//! for event in nar::Events::new(&archive) {
//!     println!("{:?}", event?);
//! }
//! let as_a_store_wants_it = RestoreOptions::default().canonical(true);
//! nar::restore_with(&mut &archive[..], &target, as_a_store_wants_it)?;
//! # assert_eq!(std::fs::read_to_string(target.join("greeting"))?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which part for what
//!
//! | you have | and want | use |
//! |---|---|---|
//! | a path | its archive | [`dump()`], [`dump_with`] options; [`dump_ahead`] on two threads; [`Dump`] to read it in pieces |
//! | an archive's bytes, as they come | a path | [`restore()`], or [`Restore`] to push them |
//! | an archive in memory | what it says | [`Events`], [`Listing`] |
//! | something that reads | what it says | [`Reader`], or that of the module `tokio` |
//! | bytes, as they come, from anywhere | what they say | [`Decoder`] |
//! | things to say | an archive | [`Encoder`], [`Writer`], or that of the module `tokio` |
//! | bytes that pass | hash and size, references | [`Digest`], [`References`] through [`Observed`] |
//!
//! At the core are [`Decoder`] and [`Encoder`], which do no input or output; everything else is
//! thin around them. Async code can use them as they are, or [`Dump`] and [`Restore`] in pieces.
//!
//! # What it promises
//!
//! - **One spelling.** Encoding what was decoded gives the very same bytes. Padding that is not
//!   zero, names out of order or twice, and anything else that a second spelling of the same tree
//!   could differ in are errors, with offset and [`Kind`]. The encoder can write nothing else.
//! - **Nothing behind the end** is taken: an archive may be followed by something else.
//! - **Cut anywhere.** Events and errors do not depend on the pieces in which an archive comes.
//! - **Bounded.** What is held does not depend on what an archive claims, nor on how large it is:
//!   [`Limits`] bound names, targets and depth, and data only passes. Two things do grow with the
//!   number of names in one directory. A dump has to sort them: it holds the names of the directories
//!   it is in, 25 bytes and the name for each, and up to three times that while there come to be
//!   more. And a restore that keeps apart names that differ in case ([`RestoreOptions::case_hack`])
//!   holds those of the directories it is in, about 60 bytes and the name for each.
//! - **Nothing outside.** Dumps and restores go from directory descriptor to directory descriptor
//!   and follow no symbolic link from the root on, the root itself included; the path that leads to
//!   it is followed as any path is. A restore creates and never opens or overwrites.
//!
//! # Features
//!
//! None is on by default, and each only adds: `tokio` the module of that name, `serde` the JSON
//! form of [`Listing`], `testing` strategies and oracles for tests.
//!
//! Dumps and restores need Linux, where every promise of theirs was tested; elsewhere the crate is
//! without them. All else does no input or output of its own, and asks nothing of the system.

#[cfg(target_os = "linux")]
mod case_hack;
mod decoder;
mod digest;
#[cfg(target_os = "linux")]
mod dump;
mod encoder;
mod error;
mod event;
mod events;
mod grammar;
mod limits;
mod listing;
mod names;
mod observe;
mod position;
mod reader;
mod references;
#[cfg(target_os = "linux")]
mod restore;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token;
#[cfg(feature = "tokio")]
pub mod tokio;
mod writer;

pub use decoder::{Decoder, Step};
pub use digest::{Digest, Fingerprint};
#[cfg(target_os = "linux")]
pub use dump::{Dump, DumpError, DumpErrorKind, DumpOptions, dump, dump_ahead, dump_with};
pub use encoder::Encoder;
pub use error::{Error, Kind};
pub use event::Event;
pub use events::Events;
pub use limits::Limits;
pub use listing::{Contents, Lister, Listing, Node};
pub use observe::{Observe, Observed};
pub use reader::{ReadError, Reader};
pub use references::References;
#[cfg(target_os = "linux")]
pub use restore::{
    Durability, LeftBehind, Restore, RestoreError, RestoreErrorKind, RestoreOptions, Written,
    restore, restore_with,
};
pub use writer::{WriteError, Writer};

/// The archive of a directory that holds a file `greeting` (`hello`) and a symlink `link` to it:
/// for examples and first tests.
pub fn example() -> Vec<u8> {
    let mut archive = Vec::new();
    let mut encoder = Encoder::new();
    let events = [
        Event::Directory,
        Event::Entry(b"greeting"),
        Event::File {
            executable: false,
            size: 5,
        },
        Event::Data(b"hello"),
        Event::FileEnd,
        Event::Entry(b"link"),
        Event::Symlink(b"greeting"),
        Event::DirectoryEnd,
    ];
    for event in events {
        encoder
            .encode(event, &mut archive)
            .expect("the events are in order");
    }
    archive
}

/// The examples of the README, compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
