//! Values as strings: what their `FromStr` reads and their `Display` prints; hashes in SRI form.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::{ContentAddress, Hash, HashAlgorithm, HashFormat, StoreDir, StorePath, StorePathRef};

macro_rules! as_string {
    ($($type:ty: |$value:ident| $text:expr;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_string! {
    StorePath: |path| path.base_name();
    StoreDir: |dir| dir.as_str();
    HashAlgorithm: |algorithm| algorithm.name();
    Hash: |hash| &hash.print(HashFormat::Sri);
    ContentAddress: |address| &address.to_string();
}

impl Serialize for StorePathRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.base_name())
    }
}

impl<'de> Deserialize<'de> for StorePathRef<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let base_name = <&'de str>::deserialize(deserializer)?;
        Self::from_base_name(base_name).map_err(D::Error::custom)
    }
}
