//! Listings as JSON, in the form of binary caches' `.ls` files:
//!
//! ```json
//! {"version":1,"root":{"type":"directory","entries":{
//!   "a":{"type":"regular","size":3,"executable":true,"narOffset":400},
//!   "b":{"type":"symlink","target":"a"}}}}
//! ```
//!
//! `executable` is left out where it is false. A name or target that is not UTF-8 has no such form
//! and is an error.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Listing, Node};
use crate::{Limits, names};

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

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Form {
            version: u64,
            root: Node,
        }
        let Form { version, root } = Form::deserialize(deserializer)?;
        if version != VERSION {
            return Err(D::Error::custom(format_args!(
                "version of a listing is not 1: {version}"
            )));
        }
        Ok(Self { root })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // All kinds in one, so that the kind may come behind what depends on it.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Form {
            r#type: String,
            size: Option<u64>,
            #[serde(default)]
            executable: bool,
            nar_offset: Option<u64>,
            target: Option<String>,
            entries: Option<BTreeMap<String, Node>>,
        }
        let form = Form::deserialize(deserializer)?;
        let missing = D::Error::missing_field;
        match &*form.r#type {
            "regular" => Ok(Self::File {
                executable: form.executable,
                size: form.size.ok_or_else(|| missing("size"))?,
                offset: form.nar_offset,
            }),
            "symlink" => {
                let target = form.target.ok_or_else(|| missing("target"))?.into_bytes();
                let refused =
                    target.len() > Limits::NIX.target || names::check_target(&target).is_err();
                if refused {
                    Err(D::Error::custom("symlink target that cannot be one"))
                } else {
                    Ok(Self::Symlink(target))
                }
            }
            "directory" => {
                let entries = form.entries.ok_or_else(|| missing("entries"))?;
                let entries = entries.into_iter().map(|(name, node)| {
                    let name = name.into_bytes();
                    if name.len() > Limits::NIX.name || names::check_name(&name).is_err() {
                        return Err(D::Error::custom(format_args!(
                            "name that cannot be one: {}",
                            name.escape_ascii()
                        )));
                    }
                    Ok((name, node))
                });
                Ok(Self::Directory(entries.collect::<Result<_, _>>()?))
            }
            other => Err(D::Error::unknown_variant(
                other,
                &["regular", "symlink", "directory"],
            )),
        }
    }
}
