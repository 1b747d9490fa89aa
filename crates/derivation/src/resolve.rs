//! Derivations whose inputs' paths became known only when they were built.
//!
//! Where the path of an output is not known, strings hold a placeholder: `/` and 52 characters of nix-base32. Before such a derivation is
//! built, the placeholders of its inputs give way to real paths, and deferred outputs get paths of their own.

use std::collections::HashMap;

use store_path::{
    FingerprintError, HashAlgorithm, HashFormat, StoreDir, StorePath, StorePathRef, base32,
    output_path_name,
};

use crate::{
    BasicDerivation, Derivation, DerivationFile, ModuloMemo, Output, PathsError, derivation_name,
};

/// Bytes of a placeholder: a slash and a SHA-256 digest in nix-base32.
const PLACEHOLDER_LEN: usize = 1 + base32::encoded_len(32);

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
    /// An input is an output of a derivation that is itself built; that one has to be built first.
    #[error("input is dynamic: {0}")]
    DynamicInput(StorePath),
    /// The path of a deferred output cannot be computed.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
}

/// What stands for the path of a derivation's own output, in its own strings, as long as that path is not known.
///
/// ```
/// assert_eq!(derivation::output_placeholder("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9");
/// ```
#[must_use]
pub fn output_placeholder(output: &str) -> String {
    placeholder(&format!("nix-output:{output}"))
}

/// What stands for the path of an input's output as long as that path is not known. `None` if `input` is no derivation.
#[must_use]
pub fn input_placeholder(input: StorePathRef<'_>, output: &str) -> Option<String> {
    let name = output_path_name(derivation_name(input)?, output);
    Some(placeholder(&format!(
        "nix-upstream-output:{}:{name}",
        input.hash_part()
    )))
}

fn placeholder(text: &str) -> String {
    format!(
        "/{}",
        HashAlgorithm::Sha256
            .hash(text.as_bytes())
            .digits(HashFormat::Base32)
    )
}

impl Derivation<'_> {
    /// Replaces each input derivation by the paths of the outputs wanted of it, which `outputs` knows, and their placeholders by these paths;
    /// then computes the paths of deferred outputs and puts them into the variables named like them. This is what Nix does with derivations
    /// that use floating outputs; for all others [`resolve`](Self::resolve) is enough.
    ///
    /// # Errors
    /// [`ResolveError`] if the path of an output is not known, or an input is dynamic.
    pub fn resolve_placeholders(
        &self,
        dir: &StoreDir,
        name: &str,
        mut outputs: impl FnMut(StorePathRef<'_>, &str) -> Option<StorePath>,
    ) -> Result<BasicDerivation<'static>, ResolveError> {
        let mut paths = Vec::new();
        let mut replacements = HashMap::new();
        for (input, wanted) in self.input_derivations.iter() {
            let input = input.as_ref();
            if !wanted.dynamic.is_empty() {
                return Err(ResolveError::DynamicInput(input.to_owned()));
            }
            for output in wanted.outputs.iter() {
                let unknown = || ResolveError::UnknownOutput {
                    input: input.to_owned(),
                    output: output.clone().into_owned(),
                };
                let path = outputs(input, output).ok_or_else(unknown)?;
                if let Some(placeholder) = input_placeholder(input, output) {
                    replacements.insert(placeholder.into_bytes(), dir.print(&path).into_bytes());
                }
                paths.push(path);
            }
        }
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
