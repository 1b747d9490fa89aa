//! Derivations whose inputs' paths became known only when they were built.
//!
//! Where the path of an output is not known, strings hold a placeholder. Before such a derivation is built, the placeholders of its inputs
//! give way to real paths, and deferred outputs get paths of their own.

use std::collections::HashMap;

use store_path::{FingerprintError, StoreDir, StorePath, StorePathRef};

use crate::placeholder::{PLACEHOLDER_LEN, Placeholder};
use crate::{
    BasicDerivation, Derivation, DerivationFile, ModuloMemo, Output, PathsError, WantedOutputs,
};

/// Why placeholders cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The path of an input's output is not known.
    #[error("output `{output}` of an input is not known: {input}")]
    UnknownOutput {
        /// The input derivation.
        input: StorePath,
        /// The output's name.
        output: String,
    },
    /// An output that a dynamic input builds on is no derivation.
    #[error("output `{output}` of an input is no derivation: {path}")]
    NotDerivation {
        /// Where the output lies.
        path: StorePath,
        /// The output's name.
        output: String,
    },
    /// The path of a deferred output cannot be computed.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
}

impl Derivation<'_> {
    /// Replaces each input derivation by the paths of the outputs wanted of it, which `outputs` knows, and their placeholders by these paths;
    /// then computes the paths of deferred outputs and puts them into the variables named like them. This is what Nix does with derivations
    /// that use floating outputs; for all others [`resolve`](Self::resolve) is enough.
    ///
    /// For a dynamic input, `outputs` is asked for the path of the output that is a derivation, and then for the outputs of that derivation.
    ///
    /// # Errors
    /// [`ResolveError`] if the path of an output is not known.
    pub fn resolve_placeholders(
        &self,
        dir: &StoreDir,
        name: &str,
        mut outputs: impl FnMut(StorePathRef<'_>, &str) -> Option<StorePath>,
    ) -> Result<BasicDerivation<'static>, ResolveError> {
        let mut known = Known {
            dir,
            paths: Vec::new(),
            replacements: HashMap::new(),
        };
        for (input, wanted) in self.input_derivations.iter() {
            let input = input.as_path_ref();
            let placeholder = |output: &str| Placeholder::of_input(input, output);
            known.add(input, wanted, &placeholder, &mut outputs)?;
        }
        let Known {
            paths,
            replacements,
            ..
        } = known;
        let replaced = |bytes: &[u8]| replace(bytes, &replacements).into();
        let mut basic = self.clone().into_owned().resolve(paths);
        basic.builder = replaced(&basic.builder);
        basic.arguments = basic
            .arguments
            .iter()
            .map(|argument| replaced(argument))
            .collect();
        basic.environment = basic
            .environment
            .iter()
            .map(|(name, value)| (replaced(name), replaced(value)))
            .collect();
        fill_deferred(dir, name, basic)
    }
}

/// The outputs of inputs, now that they are known.
struct Known<'a> {
    dir: &'a StoreDir,
    paths: Vec<StorePath>,
    /// Paths by what stands for them.
    replacements: HashMap<Vec<u8>, Vec<u8>>,
}

impl Known<'_> {
    /// Adds what is wanted of the derivation `input`, whose outputs have these placeholders. Nested at most
    /// [`MAX_DYNAMIC_DEPTH`](crate::MAX_DYNAMIC_DEPTH) deep in all that was read.
    fn add(
        &mut self,
        input: StorePathRef<'_>,
        wanted: &WantedOutputs<'_>,
        placeholder: &dyn Fn(&str) -> Option<Placeholder>,
        outputs: &mut impl FnMut(StorePathRef<'_>, &str) -> Option<StorePath>,
    ) -> Result<(), ResolveError> {
        for output in wanted.outputs.iter() {
            let path = known_path(input, output, outputs)?;
            if let Some(placeholder) = placeholder(output) {
                let replacement = self.dir.print(&path).into_bytes();
                let placeholder = placeholder.to_string().into_bytes();
                self.replacements.insert(placeholder, replacement);
            }
            self.paths.push(path);
        }
        for (output, wanted) in wanted.dynamic.iter() {
            let made = known_path(input, output, outputs)?;
            if !made.is_derivation() {
                return Err(ResolveError::NotDerivation {
                    path: made,
                    output: output.to_string(),
                });
            }
            let before = placeholder(output);
            let below = |output: &str| before.map(|before| before.of_made(output));
            self.add(made.as_path_ref(), wanted, &below, outputs)?;
        }
        Ok(())
    }
}

fn known_path(
    input: StorePathRef<'_>,
    output: &str,
    outputs: &mut impl FnMut(StorePathRef<'_>, &str) -> Option<StorePath>,
) -> Result<StorePath, ResolveError> {
    outputs(input, output).ok_or_else(|| ResolveError::UnknownOutput {
        input: input.to_store_path(),
        output: output.to_owned(),
    })
}

/// Gives deferred outputs the paths that follow from a derivation without input derivations.
fn fill_deferred(
    dir: &StoreDir,
    name: &str,
    basic: BasicDerivation<'static>,
) -> Result<BasicDerivation<'static>, ResolveError> {
    if !basic
        .outputs
        .values()
        .any(|output| *output == Output::Deferred)
    {
        return Ok(basic);
    }
    let derivation = Derivation::from(basic);
    let text = derivation.print(dir);
    // Names of outputs that no file could have are the only thing that can go wrong here; they have no path.
    let file = DerivationFile::parse(dir, &text).ok();
    let paths = match file.map(|file| file.output_paths(name, &ModuloMemo::new(dir.clone()))) {
        Some(Ok(paths)) => paths,
        Some(Err(PathsError::Fingerprint(error))) => return Err(error.into()),
        Some(Err(PathsError::Modulo(_))) | None => Default::default(),
    };
    let mut basic = derivation.resolve([]);
    for (output, path) in paths {
        let Some(path) = path else { continue };
        basic.environment.insert(
            output.clone().into_bytes().into(),
            dir.print(&path).into_bytes().into(),
        );
        basic
            .outputs
            .insert(output.into(), Output::InputAddressed { path: path.into() });
    }
    Ok(basic)
}

/// The bytes with every key replaced by its value; all keys begin with a slash and have [`PLACEHOLDER_LEN`] bytes.
fn replace(bytes: &[u8], replacements: &HashMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(slash) = rest.iter().position(|&byte| byte == b'/') {
        let (before, after) = rest.split_at(slash);
        replaced.extend_from_slice(before);
        let value = after
            .get(..PLACEHOLDER_LEN)
            .and_then(|placeholder| replacements.get(placeholder));
        let (read, written) = value.map_or((1, &b"/"[..]), |value| (PLACEHOLDER_LEN, value));
        replaced.extend_from_slice(written);
        rest = &after[read..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
