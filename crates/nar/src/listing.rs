mod contents;
#[cfg(feature = "serde")]
mod json;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

pub use self::contents::Contents;
use crate::{Error, Event, Events, Limits, ReadError, Reader};

/// What an archive holds and where: its nodes without the files' data.
///
/// It takes memory in proportion to the number of nodes. It is dropped, compared and printed by
/// functions that call themselves for each node inside another, so that limits of one's own should
/// not allow more than a few thousand of them.
///
/// # As JSON
/// With the feature `serde` it is written and read in the form that binary caches serve as `.ls`
/// files. JSON is text: a listing with a name or target that is not UTF-8 has no such form, and
/// writing it is an error. What is read obeys [`Limits::NIX`], so that `serde_json` may safely be
/// told to ignore its own recursion limit, which ends one node short of that.
///
/// ```
/// use std::io::{Cursor, Read};
/// use nar::Listing;
///
/// let archive = nar::example();
/// let listing = Listing::of(&archive)?;
/// let node = listing.find("greeting").expect("it is there");
/// let mut contents = String::new();
/// node.open(Cursor::new(&archive))?.read_to_string(&mut contents)?;
/// assert_eq!(contents, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The archive's root.
    pub root: Node,
}

/// A node of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its size in bytes.
        size: u64,
        /// The archive's offset of its first byte of data. `None` only in a listing that came as
        /// JSON without it.
        offset: Option<u64>,
    },
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A directory with these entries.
    Directory(BTreeMap<Vec<u8>, Node>),
}

impl Listing {
    /// The listing of an archive in memory, under [`Limits::NIX`].
    ///
    /// # Errors
    /// The bytes are no archive.
    pub fn of(archive: &[u8]) -> Result<Self, Error> {
        Self::of_with_limits(archive, Limits::NIX)
    }

    /// [`Listing::of`] under limits of one's own.
    ///
    /// # Errors
    /// As for [`Listing::of`].
    pub fn of_with_limits(archive: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut lister = Lister::new();
        let mut events = Events::with_limits(archive, limits);
        while let Some(event) = events.next() {
            lister.push(&event?, events.offset());
        }
        Ok(lister.finish().expect("the archive is complete"))
    }

    /// The listing of the archive that comes from `source`, which is left behind its end, under
    /// [`Limits::NIX`].
    ///
    /// # Errors
    /// Those of the source, and if the bytes are no archive.
    pub fn read(source: impl BufRead) -> Result<Self, ReadError> {
        Self::read_with_limits(source, Limits::NIX)
    }

    /// [`Listing::read`] under limits of one's own.
    ///
    /// # Errors
    /// As for [`Listing::read`].
    pub fn read_with_limits(source: impl BufRead, limits: Limits) -> Result<Self, ReadError> {
        let mut reader = Reader::with_limits(source, limits);
        Self::list(&mut reader, |_| Ok(()))
    }

    /// [`Listing::read`] for a source that can seek: files' data is not read.
    ///
    /// # Errors
    /// As for [`Listing::read`].
    pub fn scan(source: impl BufRead + Seek) -> Result<Self, ReadError> {
        Self::scan_with_limits(source, Limits::NIX)
    }

    /// [`Listing::scan`] under limits of one's own.
    ///
    /// # Errors
    /// As for [`Listing::read`].
    pub fn scan_with_limits(
        source: impl BufRead + Seek,
        limits: Limits,
    ) -> Result<Self, ReadError> {
        let mut reader = Reader::with_limits(source, limits);
        Self::list(&mut reader, |reader| reader.skip_data().map(drop))
    }

    fn list<R: BufRead>(
        reader: &mut Reader<R>,
        mut in_file: impl FnMut(&mut Reader<R>) -> io::Result<()>,
    ) -> Result<Self, ReadError> {
        let mut lister = Lister::new();
        loop {
            match reader.next()? {
                Some(Event::File { executable, size }) => {
                    lister.push(&Event::File { executable, size }, reader.offset());
                    in_file(reader).map_err(ReadError::Source)?;
                }
                Some(event) => lister.push(&event, 0),
                None => return Ok(lister.finish().expect("the archive is complete")),
            }
        }
    }

    /// The node at a path of names with `/` between them; slashes before, behind and besides
    /// each other count for nothing, so that `""` and `"/"` are the root. Links are not followed.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<&Node> {
        let names = path
            .as_ref()
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty());
        let mut node = &self.root;
        for name in names {
            let Node::Directory(entries) = node else {
                return None;
            };
            node = entries.get(name)?;
        }
        Some(node)
    }
}

impl Node {
    /// A reader of the file's data, given the archive from its first byte on. An archive that ends
    /// before the file does shows when it is read.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if this is no file or its offset is not known; and if
    /// `archive` cannot seek.
    pub fn open<R: Read + Seek>(&self, mut archive: R) -> io::Result<Contents<R>> {
        let Self::File {
            size,
            offset: Some(offset),
            ..
        } = *self
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        archive.seek(SeekFrom::Start(offset))?;
        Ok(Contents::new(archive, size))
    }

    /// The file's data, given the whole archive. `None` if this is no file, or not of `archive`.
    pub fn contents<'a>(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let Self::File {
            size,
            offset: Some(offset),
            ..
        } = *self
        else {
            return None;
        };
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(offset.checked_add(size)?).ok()?;
        archive.get(start..end)
    }
}

/// Makes a [`Listing`] of events as they pass, whatever else is done with them.
#[derive(Clone, Debug, Default)]
pub struct Lister {
    /// The directories that are open inside each other.
    open: Vec<Open>,
    root: Option<Node>,
}

#[derive(Clone, Debug, Default)]
struct Open {
    entries: BTreeMap<Vec<u8>, Node>,
    /// The name of the entry at hand.
    name: Vec<u8>,
}

impl Lister {
    /// A lister that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of an event. `offset` is where the archive goes on behind it, as
    /// [`Decoder::offset`](crate::Decoder::offset) says; it counts only with [`Event::File`].
    pub fn push(&mut self, event: &Event<'_>, offset: u64) {
        match *event {
            Event::Directory => self.open.push(Open::default()),
            Event::Entry(name) => {
                if let Some(directory) = self.open.last_mut() {
                    directory.name = name.to_vec();
                }
            }
            Event::File { executable, size } => {
                self.put(Node::File {
                    executable,
                    size,
                    offset: Some(offset),
                });
            }
            Event::Data(_) | Event::FileEnd => {}
            Event::Symlink(target) => self.put(Node::Symlink(target.to_vec())),
            Event::DirectoryEnd => {
                if let Some(directory) = self.open.pop() {
                    self.put(Node::Directory(directory.entries));
                }
            }
        }
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open { entries, name }) => {
                entries.insert(std::mem::take(name), node);
            }
            None => self.root = Some(node),
        }
    }

    /// The listing, or `None` if the events were not those of a whole archive.
    pub fn finish(self) -> Option<Listing> {
        let root = self.root.filter(|_| self.open.is_empty())?;
        Some(Listing { root })
    }
}
