//! One build as the core takes it: nothing in it says who asked for it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use derivation::{Derivation, Kind, Output, OutputName, SortedMap};
use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use worker_protocol::wire::Text;
use worker_protocol::{BasicDerivation, DrvOutput};

use crate::schedule::Demand;

/// A build.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The `.drv` file.
    pub path: StorePath,
    /// What the machine's daemon is sent.
    pub derivation: BasicDerivation,
    /// Every path that the build may read: the whole closure of its inputs.
    pub inputs: BTreeSet<StorePath>,
    /// All of its outputs.
    pub outputs: Vec<JobOutput>,
    /// Names of those outputs that are wanted.
    pub wanted: BTreeSet<String>,
    /// How it is to be built.
    pub options: BuildOptions,
}

/// One output of a [`Job`].
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutput {
    /// `out`.
    pub name: String,
    /// Where it will lie, unless that follows from its content.
    pub path: Option<StorePath>,
    /// What its content must be.
    pub content: Content,
}

/// What is known of an output's content before it is built.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Any,
    /// All: it is fixed.
    Fixed(ContentAddress),
    /// How its path follows from it; this identifies the output where realisations are kept.
    Floating {
        /// What is hashed.
        method: ContentAddressMethod,
        /// With what.
        algorithm: HashAlgorithm,
        /// The output's identity, the derivation's hash modulo and its name, where the `.drv` file
        /// is at hand.
        id: Option<DrvOutput>,
    },
}

/// How a build is to be done, as the daemon that asks for it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// How long it may print nothing. `None` is for ever.
    pub silence: Option<Duration>,
    /// How long it may take altogether. `None` is for ever.
    pub time: Option<Duration>,
    /// How many bytes it may print; 0 is without a limit.
    pub log_size: u64,
    /// Whether the build directory is kept when it fails.
    pub keep_failed: bool,
    /// Whether the machine may fetch inputs from its own substituters.
    pub use_substitutes: bool,
    /// Guix: whether the machine's daemon tells of its builds by `@ ..` lines.
    pub trace: bool,
}

/// Why a derivation cannot be built elsewhere.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// It does not parse.
    #[error("failed to parse {path}: {error}")]
    Derivation {
        /// The `.drv` file.
        path: String,
        /// What is wrong, and where.
        error: derivation::Error,
    },
    /// It is of a kind that is built where it is asked for.
    #[error("derivation {0} is impure, dynamic or not resolved yet, and not offloaded")]
    Kind(String),
    /// What was sent of an output makes no sense.
    #[error("output {output} of {derivation} makes no sense: {why}")]
    Output {
        /// The `.drv` file.
        derivation: String,
        /// The output's name.
        output: String,
        /// What is wrong.
        why: String,
    },
    /// It does not say what it demands of a machine.
    #[error("failed to read what {path} demands of a machine: {error}")]
    Requirements {
        /// The `.drv` file.
        path: String,
        /// What is wrong.
        error: derivation::RequirementsError,
    },
    /// An output is wanted that it does not have.
    #[error("derivation {path} has no output {wanted:?}")]
    NoSuchOutput {
        /// The `.drv` file.
        path: String,
        /// The name or path that was asked for.
        wanted: String,
    },
    /// Something that is no path of the store.
    #[error("not a path of the store {}: {error}", store_dir.as_str())]
    Path {
        /// The store.
        store_dir: StoreDir,
        /// What is wrong with it.
        error: store_path::PathError,
    },
}

/// Parses a full path of `store_dir`.
pub(crate) fn parse_path(store_dir: &StoreDir, text: &str) -> Result<StorePath, JobError> {
    store_dir.parse(text).map_err(|error| JobError::Path {
        store_dir: store_dir.clone(),
        error,
    })
}

/// Parses the text of the `.drv` file at `path`.
///
/// # Errors
/// When it does not parse, or is of a kind that is not offloaded.
pub fn parse_derivation(
    store_dir: &StoreDir,
    path: &StorePath,
    text: &[u8],
) -> Result<Derivation<'static>, JobError> {
    let derivation = Derivation::parse(store_dir, text).map_err(|error| JobError::Derivation {
        path: store_dir.print(path),
        error,
    })?;
    let kind = derivation.kind();
    let known = matches!(
        kind,
        Ok(Kind::InputAddressed | Kind::Fixed | Kind::Floating)
    );
    // With inputs whose paths are unknown there is nothing to copy; a daemon resolves them first.
    if !known || derivation.has_dynamic_inputs() {
        return Err(JobError::Kind(store_dir.print(path)));
    }
    Ok(derivation.into_owned())
}

impl Job {
    /// A job from the derivation at `path`, the closure of its inputs, and what is wanted: output
    /// names, or output paths (which nix 2.3.7 gives).
    ///
    /// # Errors
    /// When it lacks a wanted output.
    pub fn new(
        store_dir: &StoreDir,
        path: StorePath,
        derivation: Derivation<'_>,
        inputs: BTreeSet<StorePath>,
        wanted: &[String],
        options: BuildOptions,
    ) -> Result<Self, JobError> {
        let id = |output: &str| {
            // A daemon offers a floating derivation with its inputs resolved.
            Some(DrvOutput {
                derivation_hash: derivation.realisation_hash(store_dir)?,
                output: output.to_owned(),
            })
        };
        let outputs = outputs(store_dir, &path, &derivation.outputs, id)?;
        let wanted = wanted
            .iter()
            .map(|wanted| {
                let is_it = |output: &&JobOutput| {
                    let path = output.path.as_ref().map(|path| store_dir.print(path));
                    output.name == *wanted || path.as_ref() == Some(wanted)
                };
                outputs
                    .iter()
                    .find(is_it)
                    .map(|output| output.name.clone())
                    .ok_or_else(|| JobError::NoSuchOutput {
                        path: store_dir.print(&path),
                        wanted: wanted.clone(),
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Job {
            derivation: BasicDerivation::new(&derivation.resolve(inputs.clone()), store_dir),
            path,
            inputs,
            outputs,
            wanted,
            options,
        })
    }

    /// A job from what a client of the worker protocol sends, and the closure of its inputs, with
    /// what it demands of a machine. All outputs are wanted.
    ///
    /// # Errors
    /// When it makes no sense, or is of a kind that is not offloaded.
    pub fn from_basic(
        store_dir: &StoreDir,
        path: StorePath,
        derivation: BasicDerivation,
        inputs: BTreeSet<StorePath>,
        options: BuildOptions,
    ) -> Result<(Self, Demand), JobError> {
        let parsed = parse_basic(store_dir, &path, &derivation)?;
        let requirements = parsed.requirements();
        let requirements = requirements.map_err(|error| JobError::Requirements {
            path: store_dir.print(&path),
            error,
        })?;
        // Its inputs may be more than the .drv file has, so that its identity is not known.
        let outputs = outputs(store_dir, &path, &parsed.outputs, |_| None)?;
        let derivation = BasicDerivation {
            input_sources: inputs.clone(),
            ..derivation
        };
        let job = Job {
            path,
            derivation,
            inputs,
            wanted: outputs.iter().map(|output| output.name.clone()).collect(),
            outputs,
            options,
        };
        let demand = Demand {
            system: requirements.system,
            required_features: requirements.features.into_iter().collect(),
        };
        Ok((job, demand))
    }

    /// Whether the outputs' paths follow from their contents.
    #[must_use]
    pub fn is_floating(&self) -> bool {
        self.outputs.iter().any(|output| output.path.is_none())
    }
}

fn outputs(
    store_dir: &StoreDir,
    path: &StorePath,
    outputs: &SortedMap<OutputName<'_>, Output<'_>>,
    id: impl Fn(&str) -> Option<DrvOutput>,
) -> Result<Vec<JobOutput>, JobError> {
    let outputs = outputs.iter().map(|(name, output)| {
        let content = match output {
            Output::InputAddressed { .. } => Content::Any,
            Output::Fixed { address, .. } => Content::Fixed(*address),
            Output::Floating { method, algorithm } => Content::Floating {
                method: *method,
                algorithm: *algorithm,
                id: id(name),
            },
            Output::Deferred | Output::Impure { .. } => {
                return Err(JobError::Kind(store_dir.print(path)));
            }
        };
        Ok(JobOutput {
            name: name.to_string(),
            path: output.path().map(|path| path.to_store_path()),
            content,
        })
    });
    outputs.collect()
}

/// What a client has sent, understood.
fn parse_basic(
    store_dir: &StoreDir,
    path: &StorePath,
    sent: &BasicDerivation,
) -> Result<derivation::BasicDerivation<'static>, JobError> {
    let text = |text: &Text| text.to_string_lossy().into_owned();
    let outputs = sent.outputs.iter().map(|(name, output)| {
        let wrong = |why: String| JobError::Output {
            derivation: store_dir.print(path),
            output: text(name),
            why,
        };
        let place = match text(&output.path).as_str() {
            "" => None,
            place => {
                let place = store_dir.parse(place);
                Some(place.map_err(|error| wrong(error.to_string()))?.into())
            }
        };
        let (algorithm, hash) = (text(&output.hash_algorithm), text(&output.hash));
        let output = Output::from_fields(place, &algorithm, &hash);
        let output = output.map_err(|error| wrong(error.to_string()))?;
        Ok((OutputName::Owned(text(name)), output))
    });
    let outputs = outputs.collect::<Result<_, JobError>>()?;
    let bytes = |text: &Text| derivation::Bytes::Owned(text.to_vec());
    let environment = sent.environment.iter();
    Ok(derivation::BasicDerivation {
        outputs,
        input_sources: sent.input_sources.iter().cloned().map(Into::into).collect(),
        system: Cow::Owned(text(&sent.platform)),
        builder: bytes(&sent.builder),
        arguments: sent.arguments.iter().map(bytes).collect(),
        environment: environment
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"Derive([("dev","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a-dev","",""),("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-a","","")],[],[],"x86_64-linux","/bin/sh",[],[])"#;
    const FLOATING: &str = r#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])"#;
    const IMPURE: &str =
        r#"Derive([("out","","r:sha256","impure")],[],[],"x86_64-linux","/bin/sh",[],[])"#;

    fn job(text: &str, wanted: &[&str]) -> Result<Job, String> {
        let path = StoreDir::NIX.parse("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-a.drv");
        let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
        let input = StoreDir::NIX.parse("/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-b");
        let inputs = BTreeSet::from([input.unwrap()]);
        let (dir, path) = (&StoreDir::NIX, path.unwrap());
        parse_derivation(dir, &path, text.as_bytes())
            .and_then(|derivation| {
                let options = BuildOptions::default();
                Job::new(dir, path, derivation, inputs, &wanted, options)
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_are_wanted_by_name_or_by_path() {
        let by_name = job(TWO, &["out"]).unwrap();
        let by_path = job(TWO, &["/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-a"]).unwrap();
        assert_eq!(by_name, by_path);
        assert_eq!(by_name.wanted, BTreeSet::from(["out".to_owned()]));
        assert_eq!(by_name.outputs.len(), 2);
        assert_eq!(by_name.derivation.input_sources, by_name.inputs);
    }

    #[test]
    fn a_floating_output_is_known_by_a_hash() {
        let floating = job(FLOATING, &["out"]).unwrap();
        assert!(floating.is_floating());
        let [
            JobOutput {
                path: None,
                content: Content::Floating { id, .. },
                ..
            },
        ] = floating.outputs.as_slice()
        else {
            panic!("{floating:?}")
        };
        let derivation = Derivation::parse(&StoreDir::NIX, FLOATING.as_bytes()).unwrap();
        let id = id.as_ref().unwrap();
        assert_eq!(
            Some(id.derivation_hash),
            derivation.realisation_hash(&StoreDir::NIX)
        );
    }

    #[test]
    fn what_cannot_be_built_elsewhere_is_told() {
        let texts = [
            job(TWO, &["doc"]),
            job(IMPURE, &["out"]),
            job("Derive([", &[]),
        ];
        insta::assert_snapshot!(texts.map(Result::unwrap_err).join("\n"));
    }
}
