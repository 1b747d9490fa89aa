//! From JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::VERSION;
use crate::{Kind, Limits, Listing, Node, names};

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
        NodeAt { depth: 1 }.deserialize(deserializer)
    }
}

/// Reads a node with `depth - 1` others around it.
struct NodeAt {
    depth: usize,
}

/// Reads the entries of a directory with `depth - 1` nodes around it.
struct EntriesAt {
    depth: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Field {
    Type,
    Size,
    Executable,
    NarOffset,
    Target,
    Entries,
    #[serde(other)]
    Unknown,
}

/// All kinds of nodes in one: the kind may come behind what depends on it.
#[derive(Default)]
struct Form {
    kind: Option<String>,
    size: Option<u64>,
    executable: Option<bool>,
    offset: Option<u64>,
    target: Option<String>,
    entries: Option<BTreeMap<Vec<u8>, Node>>,
}

impl<'de> DeserializeSeed<'de> for NodeAt {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NodeAt {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node of a listing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut form = Form::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Type => set(&mut form.kind, "type", map.next_value()?)?,
                Field::Size => set(&mut form.size, "size", map.next_value()?)?,
                Field::Executable => set(&mut form.executable, "executable", map.next_value()?)?,
                Field::NarOffset => set(&mut form.offset, "narOffset", map.next_value()?)?,
                Field::Target => set(&mut form.target, "target", map.next_value()?)?,
                Field::Entries => {
                    let entries = map.next_value_seed(EntriesAt { depth: self.depth })?;
                    set(&mut form.entries, "entries", entries)?;
                }
                Field::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        form.into_node()
    }
}

fn set<T, E: Error>(field: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

impl Form {
    fn into_node<E: Error>(self) -> Result<Node, E> {
        let missing = E::missing_field;
        match &*self.kind.ok_or_else(|| missing("type"))? {
            "regular" => Ok(Node::File {
                executable: self.executable.unwrap_or(false),
                size: self.size.ok_or_else(|| missing("size"))?,
                offset: self.offset,
            }),
            "symlink" => {
                let target = self.target.ok_or_else(|| missing("target"))?.into_bytes();
                let refused =
                    target.len() > Limits::NIX.target || names::check_target(&target).is_err();
                if refused {
                    Err(E::custom("symlink target that cannot be one"))
                } else {
                    Ok(Node::Symlink(target))
                }
            }
            "directory" => {
                let entries = self.entries.ok_or_else(|| missing("entries"))?;
                Ok(Node::Directory(entries))
            }
            other => Err(E::unknown_variant(
                other,
                &["regular", "symlink", "directory"],
            )),
        }
    }
}

impl<'de> DeserializeSeed<'de> for EntriesAt {
    type Value = BTreeMap<Vec<u8>, Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntriesAt {
    type Value = BTreeMap<Vec<u8>, Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("entries of a directory")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let limit = Limits::NIX.depth;
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = name.into_bytes();
            if name.len() > Limits::NIX.name || names::check_name(&name).is_err() {
                return Err(A::Error::custom(format_args!(
                    "name that cannot be one: {}",
                    name.escape_ascii()
                )));
            }
            if self.depth >= limit {
                return Err(A::Error::custom(Kind::Depth { limit }));
            }
            let depth = self.depth + 1;
            let node = map.next_value_seed(NodeAt { depth })?;
            if entries.insert(name, node).is_some() {
                return Err(A::Error::custom(Kind::NameTwice));
            }
        }
        Ok(entries)
    }
}
