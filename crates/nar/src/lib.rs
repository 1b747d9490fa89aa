//! Nix archives: a strict incremental decoder and encoder, dump from and restore to a file system.

mod case_hack;
mod decoder;
mod digest;
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
mod restore;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token;
#[cfg(feature = "tokio")]
pub mod tokio;
mod writer;

pub use decoder::{Decoder, Step};
pub use digest::{Digest, Fingerprint};
pub use dump::{Dump, DumpError, DumpErrorKind, DumpOptions, dump};
pub use encoder::Encoder;
pub use error::{Error, Kind};
pub use event::Event;
pub use events::Events;
pub use limits::Limits;
pub use listing::{Lister, Listing, Node};
pub use observe::{Observe, Observed};
pub use reader::{ReadError, Reader};
pub use references::References;
pub use restore::{
    Durability, LeftBehind, Restore, RestoreError, RestoreErrorKind, RestoreOptions, Written,
    restore, restore_with,
};
pub use writer::Writer;

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
