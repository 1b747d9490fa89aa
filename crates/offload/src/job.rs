//! One build as the core takes it: nothing in it says who asked for it.

use std::collections::BTreeSet;
use std::time::Duration;

use derivation::{Derivation, Kind};
use store_path::{ContentAddress, StoreDir, StorePath};
use worker_protocol::BasicDerivation;

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
    /// How long it may take.
    pub limits: Limits,
}

/// One output of a [`Job`].
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutput {
    /// `out`.
    pub name: String,
    /// Where it will lie.
    pub path: StorePath,
    /// What its content must be, where the derivation says so.
    pub fixed: Option<ContentAddress>,
}

/// How long a build may take. `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Without printing anything.
    pub silence: Option<Duration>,
    /// Altogether.
    pub time: Option<Duration>,
    /// Whether the machine may fetch inputs from its own substituters.
    pub use_substitutes: bool,
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
    /// Its outputs' paths are not known before they are built.
    #[error(
        "derivation has outputs whose paths are not known before they are built, which is not yet offloaded: {0}"
    )]
    UnknownOutputs(String),
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

impl Job {
    /// A job from the text of the `.drv` file at `path`, the closure of its inputs, and what is
    /// wanted: output names, or output paths (which nix 2.3.7 gives).
    ///
    /// # Errors
    /// When the derivation does not parse, is of a kind that is not offloaded, or lacks a wanted
    /// output.
    pub fn new(
        store_dir: &StoreDir,
        path: StorePath,
        text: &[u8],
        inputs: BTreeSet<StorePath>,
        wanted: &[String],
        limits: Limits,
    ) -> Result<Self, JobError> {
        let full = || store_dir.print(&path);
        let derivation =
            Derivation::parse(store_dir, text).map_err(|error| JobError::Derivation {
                path: full(),
                error,
            })?;
        let outputs = outputs(&derivation).ok_or_else(|| JobError::UnknownOutputs(full()))?;
        let wanted = wanted
            .iter()
            .map(|wanted| {
                outputs
                    .iter()
                    .find(|output| {
                        output.name == *wanted || store_dir.print(&output.path) == *wanted
                    })
                    .map(|output| output.name.clone())
                    .ok_or_else(|| JobError::NoSuchOutput {
                        path: full(),
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
            limits,
        })
    }

    /// The output at `path`, if it is one of this build's.
    #[must_use]
    pub fn output_at(&self, path: &StorePath) -> Option<&JobOutput> {
        self.outputs.iter().find(|output| output.path == *path)
    }
}

/// All outputs, if all of their paths are known.
fn outputs(derivation: &Derivation<'_>) -> Option<Vec<JobOutput>> {
    if !matches!(derivation.kind(), Ok(Kind::InputAddressed | Kind::Fixed)) {
        return None;
    }
    let fixed = derivation.fixed_output().map(|fixed| fixed.address);
    derivation
        .outputs
        .iter()
        .map(|(name, output)| {
            Some(JobOutput {
                name: name.to_string(),
                path: output.path()?.to_owned(),
                fixed,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"Derive([("dev","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a-dev","",""),("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-a","","")],[],[],"x86_64-linux","/bin/sh",[],[])"#;
    const FLOATING: &str =
        r#"Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[])"#;

    fn job(text: &str, wanted: &[&str]) -> Result<Job, String> {
        let path = StoreDir::NIX.parse("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-a.drv");
        let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
        let input = StoreDir::NIX.parse("/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-b");
        let inputs = BTreeSet::from([input.unwrap()]);
        let limits = Limits::default();
        Job::new(
            &StoreDir::NIX,
            path.unwrap(),
            text.as_bytes(),
            inputs,
            &wanted,
            limits,
        )
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
        let dev = &by_name.outputs[0];
        assert_eq!(by_name.output_at(&dev.path), Some(dev));
    }

    #[test]
    fn what_cannot_be_built_elsewhere_is_told() {
        let texts = [
            job(TWO, &["doc"]),
            job(FLOATING, &["out"]),
            job("Derive([", &[]),
        ];
        insta::assert_snapshot!(texts.map(Result::unwrap_err).join("\n"));
    }
}
