//! From JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath, StorePathCow,
    check_name,
};

use super::JsonError;
use crate::attributes::STRUCTURED;
use crate::output::check_method;
use crate::{
    Derivation, MAX_DYNAMIC_DEPTH, Output, OutputErrorKind, OutputName, WantedOutputs,
    derivation_name,
};

/// All members that any form has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object<'a> {
    name: Option<String>,
    version: Option<u64>,
    outputs: BTreeMap<String, ObjectOutput>,
    input_srcs: Option<Vec<String>>,
    input_drvs: Option<BTreeMap<String, Wanted>>,
    inputs: Option<Inputs>,
    #[serde(alias = "platform")]
    system: String,
    builder: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    #[serde(borrow)]
    structured_attrs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObjectOutput {
    path: Option<String>,
    method: Option<String>,
    hash_algo: Option<String>,
    hash: Option<String>,
    #[serde(default)]
    impure: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    srcs: Vec<String>,
    drvs: BTreeMap<String, Wanted>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wanted {
    Plain(Vec<String>),
    Dynamic {
        outputs: Vec<String>,
        #[serde(rename = "dynamicOutputs")]
        dynamic_outputs: BTreeMap<String, Wanted>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    derivations: BTreeMap<String, &'a RawValue>,
    version: u64,
}

pub(super) fn show(
    dir: &StoreDir,
    json: &str,
) -> Result<Vec<(StorePath, Derivation<'static>)>, JsonError> {
    let objects: BTreeMap<String, &RawValue> = parse(json)?;
    let objects = if objects.contains_key("derivations") {
        let envelope: Envelope<'_> = parse(json)?;
        check_version(envelope.version)?;
        envelope.derivations
    } else {
        objects
    };
    let read = |(path, object): (String, &RawValue)| {
        let path = store_path(dir, &path)?;
        let derivation = derivation(dir, derivation_name(path.as_path_ref()), object.get())?;
        Ok((path, derivation))
    };
    objects.into_iter().map(read).collect()
}

pub(super) fn derivation(
    dir: &StoreDir,
    name: Option<&str>,
    json: &str,
) -> Result<Derivation<'static>, JsonError> {
    let object: Object<'_> = parse(json)?;
    if let Some(version) = object.version {
        check_version(version)?;
    }
    let name = object.name.as_deref().or(name);
    let outputs = object.outputs.into_iter().map(|(key, fields)| {
        let output = output(dir, name, &key, fields)?;
        Ok((output_name(key)?, output))
    });
    let inputs = object.inputs.unwrap_or_default();
    let drvs = inputs
        .drvs
        .into_iter()
        .chain(object.input_drvs.unwrap_or_default());
    let srcs = inputs
        .srcs
        .into_iter()
        .chain(object.input_srcs.unwrap_or_default());
    let mut environment = object.env;
    if let Some(attributes) = object.structured_attrs
        && environment
            .insert("__json".to_owned(), without_spaces(attributes.get()))
            .is_some()
    {
        return Err(JsonError::StructuredTwice);
    }
    let bytes = |text: String| Cow::Owned(text.into_bytes());
    let derivation = Derivation {
        outputs: outputs.collect::<Result<_, JsonError>>()?,
        input_derivations: drvs
            .map(|(path, wanted)| {
                Ok((
                    store_path(dir, &path)?.into(),
                    wanted_outputs(wanted, MAX_DYNAMIC_DEPTH)?,
                ))
            })
            .collect::<Result<_, JsonError>>()?,
        input_sources: srcs
            .map(|path| Ok(store_path(dir, &path)?.into()))
            .collect::<Result<_, JsonError>>()?,
        system: object.system.into(),
        builder: bytes(object.builder),
        arguments: object.args.into_iter().map(bytes).collect(),
        environment: environment
            .into_iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
    };
    if derivation.environment.contains_key(STRUCTURED) {
        derivation.structured_attributes()?;
    }
    Ok(derivation)
}

/// Versions 1 to 3 say nothing that version 4 does not, only differently.
fn check_version(version: u64) -> Result<(), JsonError> {
    if (1..=4).contains(&version) {
        Ok(())
    } else {
        Err(JsonError::Version(version))
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(json).map_err(|error| JsonError::Shape(error.to_string()))
}

/// In full or as a base name.
fn store_path(dir: &StoreDir, text: &str) -> Result<StorePath, JsonError> {
    Ok(if text.starts_with('/') {
        dir.parse(text)?
    } else {
        text.parse()?
    })
}

fn output_name(name: String) -> Result<OutputName<'static>, JsonError> {
    check_name(&name)?;
    Ok(name.into())
}

fn output(
    dir: &StoreDir,
    name: Option<&str>,
    key: &str,
    fields: ObjectOutput,
) -> Result<Output<'static>, JsonError> {
    let wrong = |kind| JsonError::Output {
        kind,
        output: key.to_owned(),
    };
    let path = fields.path.map(|path| store_path(dir, &path)).transpose()?;
    // `hashAlgo` has the method as a prefix where there is no `method`.
    let (prefixed, algorithm) =
        ContentAddressMethod::split_prefix(fields.hash_algo.as_deref().unwrap_or_default());
    let method = match fields.method.as_deref() {
        None => prefixed,
        Some("nar") => ContentAddressMethod::Recursive,
        Some("flat") => ContentAddressMethod::Flat,
        Some("text") => ContentAddressMethod::Text,
        Some("git") => ContentAddressMethod::Git,
        Some(other) => return Err(JsonError::Method(other.to_owned())),
    };
    let algorithm = if algorithm.is_empty() {
        None
    } else {
        Some(algorithm.parse::<HashAlgorithm>()?)
    };
    let check = |algorithm| check_method(method, algorithm).map_err(wrong);
    match (path, algorithm, fields.hash, fields.impure) {
        (Some(path), None, None, false) => Ok(Output::InputAddressed { path: path.into() }),
        (None, None, None, false) => Ok(Output::Deferred),
        (None, Some(algorithm), None, true) => {
            check(algorithm).map(|()| Output::Impure { method, algorithm })
        }
        (None, Some(algorithm), None, false) => {
            check(algorithm).map(|()| Output::Floating { method, algorithm })
        }
        (path, algorithm, Some(hash), false) => {
            let address = ContentAddress {
                method,
                hash: Hash::parse(&hash, algorithm)?,
            };
            check(address.hash.algorithm())?;
            let path = fixed_path(dir, name, key, path, &address)?;
            Ok(Output::Fixed { path, address })
        }
        (Some(_), _, None, _) => Err(wrong(OutputErrorKind::FloatingWithPath)),
        (_, _, _, true) => Err(wrong(OutputErrorKind::Algorithm)),
    }
}

fn fixed_path(
    dir: &StoreDir,
    name: Option<&str>,
    key: &str,
    path: Option<StorePath>,
    address: &ContentAddress,
) -> Result<StorePathCow<'static>, JsonError> {
    let path = match (path, name) {
        (Some(path), _) => path,
        (None, Some(name)) => {
            dir.make_fixed_output_path(&store_path::output_path_name(name, key), address)?
        }
        (None, None) => return Err(JsonError::NoName(key.to_owned())),
    };
    Ok(path.into())
}

fn wanted_outputs(wanted: Wanted, depth: usize) -> Result<WantedOutputs<'static>, JsonError> {
    let (outputs, dynamic) = match wanted {
        Wanted::Plain(outputs) => (outputs, BTreeMap::new()),
        Wanted::Dynamic {
            outputs,
            dynamic_outputs,
        } => (outputs, dynamic_outputs),
    };
    if depth == 0 && !dynamic.is_empty() {
        return Err(JsonError::Dynamic);
    }
    let dynamic = dynamic
        .into_iter()
        .map(|(name, wanted)| Ok((output_name(name)?, wanted_outputs(wanted, depth - 1)?)));
    Ok(WantedOutputs {
        outputs: outputs
            .into_iter()
            .map(output_name)
            .collect::<Result<_, _>>()?,
        dynamic: dynamic.collect::<Result<_, JsonError>>()?,
    })
}

/// Leaves out what stands between the tokens of some JSON.
fn without_spaces(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|&character| {
            match (in_string, character) {
                (true, _) if escaped => escaped = false,
                (true, '\\') => escaped = true,
                (_, '"') => in_string = !in_string,
                (true, _) => {}
                (false, _) => return !character.is_ascii_whitespace(),
            }
            true
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::without_spaces;

    #[test]
    fn spaces_go_but_for_those_in_strings() {
        assert_eq!(
            without_spaces("{ \"a \\\" b\" :\n[ 1.50 , \"\\\\\" , true ] }"),
            r#"{"a \" b":[1.50,"\\",true]}"#
        );
    }
}
