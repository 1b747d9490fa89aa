use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use store_path::{Hash, HashFormat, StorePath};

use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop, WORD, limit};

/// One output of a derivation, named by the derivation's hash modulo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrvOutput {
    /// Hash of the derivation modulo its fixed-output inputs.
    pub derivation_hash: Hash,
    /// Name of the output.
    pub output: String,
}

impl DrvOutput {
    fn print(&self) -> String {
        format!(
            "{}!{}",
            self.derivation_hash.print(HashFormat::Base16),
            self.output
        )
    }

    fn parse(text: &str) -> Option<DrvOutput> {
        let (hash, output) = text.split_once('!')?;
        let derivation_hash = hash.parse().ok()?;
        (!output.is_empty()).then(|| DrvOutput {
            derivation_hash,
            output: output.to_owned(),
        })
    }
}

/// `sha256:BASE16!NAME`.
impl Value for DrvOutput {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.text(self.print());
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<DrvOutput, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::NAME)?;
        let output = std::str::from_utf8(bytes).ok().and_then(DrvOutput::parse);
        output.ok_or_else(|| decoder.not_a(offset, "an output of a derivation", bytes))
    }

    fn smallest(_: &Context) -> usize {
        // The shortest hash is an MD5 in base 64: `md5:`, 22 digits, the mark, a name of one byte.
        WORD + 28_usize.next_multiple_of(WORD)
    }
}

/// That an output of a content-addressed derivation was built as a certain path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Realisation {
    /// The output.
    pub id: DrvOutput,
    /// The path.
    pub out_path: StorePath,
    /// Signatures, each `key-name:base64`.
    pub signatures: BTreeSet<String>,
    /// The realisations of its inputs that it was made with.
    pub dependent_realisations: BTreeMap<DrvOutput, StorePath>,
}

impl Realisation {
    /// An output that was built as this path, without signatures, from inputs that have no realisations.
    #[must_use]
    pub fn new(id: DrvOutput, out_path: StorePath) -> Realisation {
        Realisation {
            id,
            out_path,
            signatures: BTreeSet::new(),
            dependent_realisations: BTreeMap::new(),
        }
    }

    fn to_json(&self) -> String {
        let dependent: serde_json::Map<String, Json> = self
            .dependent_realisations
            .iter()
            .map(|(output, path)| (output.print(), Json::from(path.base_name())))
            .collect();
        let signatures: Vec<&str> = self.signatures.iter().map(String::as_str).collect();
        serde_json::json!({
            "dependentRealisations": dependent,
            "id": self.id.print(),
            "outPath": self.out_path.base_name(),
            "signatures": signatures,
        })
        .to_string()
    }

    /// Unknown members are ignored, as nix-daemon does.
    fn from_json(bytes: &[u8]) -> Option<Realisation> {
        let json: Json = serde_json::from_slice(bytes).ok()?;
        let path = |value: &Json| StorePath::from_base_name(value.as_str()?).ok();
        let signatures = match json.get("signatures") {
            Some(list) => list
                .as_array()?
                .iter()
                .map(|signature| signature.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            None => BTreeSet::new(),
        };
        let dependent_realisations = match json.get("dependentRealisations") {
            Some(map) => map
                .as_object()?
                .iter()
                .map(|(output, value)| Some((DrvOutput::parse(output)?, path(value)?)))
                .collect::<Option<_>>()?,
            None => BTreeMap::new(),
        };
        Some(Realisation {
            id: DrvOutput::parse(json.get("id")?.as_str()?)?,
            out_path: path(json.get("outPath")?)?,
            signatures,
            dependent_realisations,
        })
    }
}

/// One JSON text.
impl Value for Realisation {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder.text(self.to_json());
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<Realisation, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::JSON)?;
        Realisation::from_json(bytes).ok_or_else(|| decoder.not_a(offset, "a realisation", bytes))
    }

    fn smallest(_: &Context) -> usize {
        // `{"id":"","outPath":""}` with the shortest output, and a path whose name has one byte.
        WORD + (22 + 28 + 34_usize).next_multiple_of(WORD)
    }
}

/// A store path without its directory.
pub(crate) fn base_name(decoder: &mut Decoder<'_>) -> Result<StorePath, Stop> {
    let offset = decoder.offset();
    let bytes = decoder.bytes(limit::PATH)?;
    let path = std::str::from_utf8(bytes)
        .ok()
        .and_then(|name| StorePath::from_base_name(name).ok());
    path.ok_or_else(|| decoder.not_a(offset, "a store path's base name", bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_as_nix_writes_it() {
        let json = br#"{"dependentRealisations":{},"id":"sha256:9c0e6bf5ffe4dbb7c1a2a3f3b5bb1a6d0a76bd6e76b9b9f2cd5ebd9a9bfa6fb4!out","outPath":"6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-x","signatures":["k:AA=="]}"#;
        let realisation = Realisation::from_json(json).expect("this is valid");
        assert_eq!(realisation.id.output, "out");
        assert_eq!(realisation.to_json().as_bytes(), json);
    }
}
