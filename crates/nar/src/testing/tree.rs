use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::{Encoder, Error, Event, Events};

/// A file-system tree in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// All its bytes.
        contents: Vec<u8>,
    },
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A directory with these.
    Directory(BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    /// The archive of the tree.
    ///
    /// # Errors
    /// A name or target cannot stand in an archive, or a limit is broken.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut archive = Vec::new();
        let mut encoder = Encoder::new();
        self.encode_to(&mut encoder, &mut archive)?;
        encoder.finish()?;
        Ok(archive)
    }

    fn encode_to(&self, encoder: &mut Encoder, archive: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::File {
                executable,
                contents,
            } => {
                let (executable, size) = (*executable, contents.len() as u64);
                encoder.encode(Event::File { executable, size }, archive)?;
                encoder.encode(Event::Data(contents), archive)?;
                encoder.encode(Event::FileEnd, archive)
            }
            Self::Symlink(target) => encoder.encode(Event::Symlink(target), archive),
            Self::Directory(entries) => {
                encoder.encode(Event::Directory, archive)?;
                for (name, tree) in entries {
                    encoder.encode(Event::Entry(name), archive)?;
                    tree.encode_to(encoder, archive)?;
                }
                encoder.encode(Event::DirectoryEnd, archive)
            }
        }
    }

    /// The tree in an archive.
    ///
    /// # Errors
    /// The bytes are no archive.
    pub fn decode(archive: &[u8]) -> Result<Self, Error> {
        let mut events = Events::new(archive);
        let tree = Self::decode_from(&mut events)?;
        // Whatever follows is an error.
        events.next().transpose()?;
        Ok(tree)
    }

    fn decode_from(events: &mut Events<'_>) -> Result<Self, Error> {
        let mut next = || events.next().expect("an error comes before an early end");
        match next()? {
            Event::File { executable, .. } => {
                let mut contents = Vec::new();
                while let Event::Data(data) = next()? {
                    contents.extend_from_slice(data);
                }
                Ok(Self::File {
                    executable,
                    contents,
                })
            }
            Event::Symlink(target) => Ok(Self::Symlink(target.to_vec())),
            Event::Directory => {
                let mut entries = BTreeMap::new();
                while let Event::Entry(name) = events.next().expect("as above")? {
                    entries.insert(name.to_vec(), Self::decode_from(events)?);
                }
                Ok(Self::Directory(entries))
            }
            event => unreachable!("no node begins with {event:?}"),
        }
    }
}

/// Names of directory entries: mostly short and alike, so that order matters; some of bytes that
/// are not UTF-8, some as long as they may be.
pub fn names() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no / and no NUL", |&byte| byte != b'/' && byte != 0);
    prop_oneof![
        8 => "[abAB.~ -]{1,4}".prop_map(String::into_bytes),
        2 => vec(byte, 1..20),
        1 => vec(b'a'..=b'b', 250..=255),
    ]
    .prop_filter("no . and no ..", |name| !matches!(&name[..], b"." | b".."))
}

/// Trees of all kinds of nodes, up to a few dozen of them.
pub fn trees() -> impl Strategy<Value = Tree> {
    let target = vec(1_u8.., 1..40);
    let leaf = prop_oneof![
        (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(executable, contents)| Tree::File {
            executable,
            contents
        }),
        (any::<bool>(), 0..9000_usize).prop_map(|(executable, size)| Tree::File {
            executable,
            contents: vec![b'x'; size]
        }),
        prop_oneof![
            8 => target,
            1 => vec(b'a'..=b'z', 4000..=4095),
            1 => Just(b"../outside".to_vec()),
        ]
        .prop_map(Tree::Symlink),
    ];
    leaf.prop_recursive(5, 40, 8, |node| {
        btree_map(names(), node, 0..8).prop_map(Tree::Directory)
    })
}
