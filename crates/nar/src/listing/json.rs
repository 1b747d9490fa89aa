//! Listings as JSON, in the form of binary caches' `.ls` files:
//!
//! ```json
//! {"version":1,"root":{"type":"directory","entries":{
//!   "a":{"type":"regular","size":3,"executable":true,"narOffset":400},
//!   "b":{"type":"symlink","target":"a"}}}}
//! ```
//!
//! `executable` is left out where it is false.

mod read;

use std::collections::BTreeMap;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};

use super::{Listing, Node};

/// The only version there is.
const VERSION: u64 = 1;

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("version", &VERSION)?;
        map.serialize_entry("root", &self.root)?;
        map.end()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::File {
                executable,
                size,
                offset,
            } => {
                map.serialize_entry("type", "regular")?;
                map.serialize_entry("size", size)?;
                if *executable {
                    map.serialize_entry("executable", &true)?;
                }
                if let Some(offset) = offset {
                    map.serialize_entry("narOffset", offset)?;
                }
            }
            Self::Symlink(target) => {
                map.serialize_entry("type", "symlink")?;
                map.serialize_entry("target", text::<S>(target)?)?;
            }
            Self::Directory(entries) => {
                map.serialize_entry("type", "directory")?;
                map.serialize_entry("entries", &Entries(entries))?;
            }
        }
        map.end()
    }
}

struct Entries<'a>(&'a BTreeMap<Vec<u8>, Node>);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, node) in self.0 {
            map.serialize_entry(text::<S>(name)?, node)?;
        }
        map.end()
    }
}

fn text<S: Serializer>(bytes: &[u8]) -> Result<&str, S::Error> {
    str::from_utf8(bytes).map_err(|_| {
        S::Error::custom(format_args!(
            "name or target is not UTF-8: {}",
            bytes.escape_ascii()
        ))
    })
}
