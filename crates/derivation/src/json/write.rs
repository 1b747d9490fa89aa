//! To JSON. Members are in alphabetical order, as Nix prints them.

use std::collections::BTreeMap;
use std::str;

use serde::Serialize;
use serde_json::value::RawValue;
use store_path::{ContentAddressMethod, HashFormat, StoreDir, StorePath, StorePathRef};

use super::{JsonError, JsonForm};
use crate::attributes::STRUCTURED;
use crate::{Derivation, Output, WantedOutputs, derivation_name};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FullPaths<'a> {
    args: Vec<&'a str>,
    builder: &'a str,
    env: BTreeMap<&'a str, &'a str>,
    input_drvs: BTreeMap<String, Vec<&'a str>>,
    input_srcs: Vec<String>,
    outputs: BTreeMap<&'a str, JsonOutput>,
    system: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version4<'a> {
    args: Vec<&'a str>,
    builder: &'a str,
    env: BTreeMap<&'a str, &'a str>,
    inputs: Inputs<'a>,
    name: &'a str,
    outputs: BTreeMap<&'a str, JsonOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_attrs: Option<&'a RawValue>,
    system: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct Inputs<'a> {
    drvs: BTreeMap<&'a str, Wanted<'a>>,
    srcs: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wanted<'a> {
    dynamic_outputs: BTreeMap<&'a str, Wanted<'a>>,
    outputs: Vec<&'a str>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_algo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

#[derive(Serialize)]
struct Envelope {
    derivations: BTreeMap<String, Box<RawValue>>,
    version: u64,
}

pub(super) fn show<'a>(
    form: JsonForm,
    dir: &StoreDir,
    derivations: &mut dyn Iterator<Item = (&'a StorePath, &'a Derivation<'a>)>,
) -> Result<String, JsonError> {
    let mut objects = BTreeMap::new();
    for (path, drv) in derivations {
        let name = derivation_name(path.as_path_ref()).unwrap_or(path.name());
        let object = RawValue::from_string(derivation(form, dir, name, drv)?).map_err(shape)?;
        let key = match form {
            JsonForm::FullPaths => dir.print(path),
            JsonForm::Version4 => path.base_name().to_owned(),
        };
        objects.insert(key, object);
    }
    match form {
        JsonForm::FullPaths => print(&objects),
        JsonForm::Version4 => print(&Envelope {
            derivations: objects,
            version: 4,
        }),
    }
}

pub(super) fn derivation(
    form: JsonForm,
    dir: &StoreDir,
    name: &str,
    derivation: &Derivation<'_>,
) -> Result<String, JsonError> {
    let args = derivation
        .arguments
        .iter()
        .map(|argument| text(argument))
        .collect::<Result<_, _>>()?;
    let builder = text(&derivation.builder)?;
    let variables = derivation
        .environment
        .iter()
        .map(|(name, value)| Ok((text(name)?, text(value)?)));
    let mut env: BTreeMap<_, _> = variables.collect::<Result<_, JsonError>>()?;
    let outputs = derivation
        .outputs
        .iter()
        .map(|(name, output)| (&**name, json_output(form, dir, output)))
        .collect();
    let system = &*derivation.system;
    match form {
        JsonForm::FullPaths => {
            if derivation.has_dynamic_inputs() {
                return Err(JsonError::Dynamic);
            }
            let drvs = derivation.input_derivations.iter();
            let input_drvs = drvs
                .map(|(path, wanted)| (dir.print(path), names(wanted)))
                .collect();
            let input_srcs = derivation
                .input_sources
                .iter()
                .map(|path| dir.print(path))
                .collect();
            print(&FullPaths {
                args,
                builder,
                env,
                input_drvs,
                input_srcs,
                outputs,
                system,
            })
        }
        JsonForm::Version4 => {
            let structured_attrs = match derivation.environment.get(STRUCTURED) {
                Some(json) => Some(serde_json::from_str(text(json)?).map_err(shape)?),
                None => None,
            };
            env.remove("__json");
            let drvs = derivation
                .input_derivations
                .iter()
                .map(|(path, outputs)| (path.base_name(), wanted(outputs)))
                .collect();
            let srcs = derivation
                .input_sources
                .iter()
                .map(|path| path.base_name())
                .collect();
            let inputs = Inputs { drvs, srcs };
            print(&Version4 {
                args,
                builder,
                env,
                inputs,
                name,
                outputs,
                structured_attrs,
                system,
                version: 4,
            })
        }
    }
}

fn json_output(form: JsonForm, dir: &StoreDir, output: &Output<'_>) -> JsonOutput {
    let full = form == JsonForm::FullPaths;
    let impure = matches!(output, Output::Impure { .. }).then_some(true);
    let print = |path: StorePathRef<'_>| {
        if full {
            dir.print(path)
        } else {
            path.base_name().to_owned()
        }
    };
    match output {
        Output::InputAddressed { path } => JsonOutput {
            path: Some(print(path.as_path_ref())),
            ..JsonOutput::default()
        },
        Output::Deferred => JsonOutput::default(),
        Output::Fixed { path, address } if full => JsonOutput {
            path: Some(print(path.as_path_ref())),
            hash_algo: Some(output.hash_algorithm()),
            hash: Some(address.hash.digits(HashFormat::Base16)),
            ..JsonOutput::default()
        },
        Output::Fixed { address, .. } => JsonOutput {
            method: Some(method_name(address.method)),
            hash: Some(address.hash.print(HashFormat::Sri)),
            ..JsonOutput::default()
        },
        Output::Floating { .. } | Output::Impure { .. } if full => JsonOutput {
            hash_algo: Some(output.hash_algorithm()),
            impure,
            ..JsonOutput::default()
        },
        Output::Floating { method, algorithm } | Output::Impure { method, algorithm } => {
            JsonOutput {
                method: Some(method_name(*method)),
                hash_algo: Some(algorithm.to_string()),
                impure,
                ..JsonOutput::default()
            }
        }
    }
}

fn method_name(method: ContentAddressMethod) -> &'static str {
    match method {
        ContentAddressMethod::Text => "text",
        ContentAddressMethod::Flat => "flat",
        ContentAddressMethod::Recursive => "nar",
        ContentAddressMethod::Git => "git",
    }
}

fn names<'a>(wanted: &'a WantedOutputs<'_>) -> Vec<&'a str> {
    wanted.outputs.iter().map(|name| &**name).collect()
}

fn wanted<'a>(outputs: &'a WantedOutputs<'_>) -> Wanted<'a> {
    let dynamic_outputs = outputs
        .dynamic
        .iter()
        .map(|(name, outputs)| (&**name, wanted(outputs)))
        .collect();
    Wanted {
        dynamic_outputs,
        outputs: names(outputs),
    }
}

fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    str::from_utf8(bytes)
        .map_err(|_| JsonError::NotUtf8(String::from_utf8_lossy(bytes).into_owned()))
}

fn print(object: &impl Serialize) -> Result<String, JsonError> {
    serde_json::to_string(object).map_err(shape)
}

fn shape(error: serde_json::Error) -> JsonError {
    JsonError::Shape(error.to_string())
}
