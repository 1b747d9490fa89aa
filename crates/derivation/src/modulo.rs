//! What stands for a derivation in the hashes of those that use it.
//!
//! The output paths of a derivation are computed from its text with each input derivation's path replaced by a hash of that derivation,
//! formed in the same way. So fixed-output derivations that fetch the same thing in different ways are one input:
//!
//! ```text
//! fixed        sha256("fixed:out:" METHOD-AND-ALGORITHM ":" HEX ":" OUTPUT-PATH)
//! all others   sha256(the text, with [("INPUT-HASH",["out"]),…] for the input derivations, sorted by hash)
//! ```

mod walk;

pub use walk::WalkError;

use std::collections::{BTreeSet, HashMap};

use data_encoding::HEXLOWER;
use store_path::{StoreDir, StorePath, StorePathRef};

use crate::path_hasher::PathHashing;
use crate::{DerivationFile, Kind, KindError, OutputName, SortedSet};

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// What stands for a derivation in the hashes of those that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashModulo {
    /// The digest of a fixed-output derivation: the same for all that make the same output at the same path.
    Fixed([u8; 32]),
    /// The digest of an input-addressed derivation.
    InputAddressed([u8; 32]),
    /// None: its output paths are not known before it is built, nor are those of what uses it.
    Deferred,
}

/// Why there is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuloError {
    /// An input derivation is not in the memo.
    #[error("input derivation has no known hash: {0}")]
    UnknownInput(StorePath),
    /// An input derivation is fixed-output and has only `out`.
    #[error("input derivation has no output `{output}`: {path}")]
    NoSuchOutput {
        /// The input.
        path: StorePath,
        /// What is wanted of it.
        output: String,
    },
    /// The outputs do not go together.
    #[error(transparent)]
    Kind(#[from] KindError),
}

/// The hashes of the derivations seen so far, in the store at one directory.
///
/// ```
/// use derivation::{DerivationFile, HashModulo, ModuloMemo, StoreDir, StorePath};
///
/// let fixed = br#"Derive([("out","/nix/store/1q82x5ah029adc0r5p06p3ivlzzh3hss-empty","sha256","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],[],[],"x","y",[],[])"#;
/// let mut memo = ModuloMemo::new(StoreDir::NIX);
/// let path: StorePath = "8zd0ck4kmdaf3hzbmvkmvrvpbi100dqg-empty.drv".parse()?;
/// // A real caller reads the file at this path.
/// let hash = memo.walk(&path, |_| Ok::<_, std::io::Error>(fixed.to_vec()))?;
/// assert!(matches!(hash, HashModulo::Fixed(_)));
/// assert_eq!(memo.get(&path), Some(hash));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModuloMemo {
    dir: StoreDir,
    known: HashMap<StorePath, HashModulo, PathHashing>,
}

impl ModuloMemo {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(dir: StoreDir) -> Self {
        Self {
            dir,
            known: HashMap::default(),
        }
    }

    /// The store directory that all derivations are in.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.dir
    }

    /// The hash of the derivation at `path`, if it is known.
    #[must_use]
    pub fn get(&self, path: &StorePath) -> Option<HashModulo> {
        self.known.get(path).copied()
    }

    /// Makes the hash of the derivation at `path` known.
    pub fn insert(&mut self, path: StorePath, hash: HashModulo) {
        self.known.insert(path, hash);
    }

    /// Computes the hash of a file whose input derivations are all known, and makes it known.
    ///
    /// # Errors
    /// [`ModuloError`] if an input is not known, or the outputs do not go together.
    pub fn add(
        &mut self,
        path: StorePath,
        file: &DerivationFile<'_>,
    ) -> Result<HashModulo, ModuloError> {
        let hash = self.hash(file)?;
        self.known.insert(path, hash);
        Ok(hash)
    }

    fn hash(&self, file: &DerivationFile<'_>) -> Result<HashModulo, ModuloError> {
        let derivation = file.derivation();
        if let Some(fixed) = derivation.fixed_output() {
            let address = fixed.address;
            let digits = address.hash.digits(store_path::HashFormat::Base16);
            let path = self.dir.display(fixed.path);
            let text = format!(
                "fixed:out:{}{}:{digits}:{path}",
                address.method.prefix(),
                address.hash.algorithm()
            );
            return Ok(HashModulo::Fixed(sha256(&[text.as_bytes()])));
        }
        if derivation.kind()? != Kind::InputAddressed {
            return Ok(HashModulo::Deferred);
        }
        let Some(inputs) = self.inputs(file)? else {
            return Ok(HashModulo::Deferred);
        };
        let (text, section) = (file.text(), &file.sections().input_derivations);
        Ok(HashModulo::InputAddressed(sha256(&[
            &text[..section.start],
            &inputs,
            &text[section.end..],
        ])))
    }

    /// `[("INPUT-HASH",["out"]),…]`; `None` if some input has none, or is dynamic.
    pub(crate) fn inputs(&self, file: &DerivationFile<'_>) -> Result<Option<Vec<u8>>, ModuloError> {
        let derivation = file.derivation();
        let mut inputs = Vec::with_capacity(derivation.input_derivations.len());
        for (path, wanted) in derivation.input_derivations.iter() {
            let unknown = || ModuloError::UnknownInput(path.as_path_ref().to_store_path());
            match *self.known.get(path.base_name()).ok_or_else(unknown)? {
                HashModulo::Deferred => return Ok(None),
                _ if !wanted.dynamic.is_empty() => return Ok(None),
                HashModulo::Fixed(digest) => {
                    check_fixed_input(path.as_path_ref(), &wanted.outputs)?;
                    inputs.push((digest, &wanted.outputs));
                }
                HashModulo::InputAddressed(digest) => inputs.push((digest, &wanted.outputs)),
            }
        }
        inputs.sort_by_key(|(digest, _)| *digest);
        Ok(Some(print_inputs(&inputs)))
    }
}

fn check_fixed_input(
    path: StorePathRef<'_>,
    wanted: &SortedSet<OutputName<'_>>,
) -> Result<(), ModuloError> {
    match wanted.iter().find(|name| *name != "out") {
        Some(output) => Err(ModuloError::NoSuchOutput {
            path: path.to_store_path(),
            output: output.clone().into_owned(),
        }),
        None => Ok(()),
    }
}

/// Inputs with equal digests become one, which is wanted for the outputs of all of them.
fn print_inputs(sorted: &[(Digest, &SortedSet<OutputName<'_>>)]) -> Vec<u8> {
    // A digest in hexadecimal, its punctuation and a name or two.
    let mut text = Vec::with_capacity(2 + sorted.len() * 96);
    text.push(b'[');
    for (index, group) in sorted.chunk_by(|(a, _), (b, _)| a == b).enumerate() {
        text.extend_from_slice(if index > 0 { b",(\"" } else { b"(\"" });
        let start = text.len();
        text.resize(start + 64, 0);
        HEXLOWER.encode_mut(&group[0].0, &mut text[start..]);
        text.extend_from_slice(b"\",[");
        match group {
            [(_, names)] => push_names(&mut text, names.iter().map(|name| &**name)),
            _ => {
                let names = group
                    .iter()
                    .flat_map(|(_, names)| names.iter().map(|name| &**name));
                push_names(&mut text, names.collect::<BTreeSet<_>>());
            }
        }
        text.extend_from_slice(b"])");
    }
    text.push(b']');
    text
}

/// `"dev","out"`
fn push_names<'a>(text: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
    for (index, name) in names.into_iter().enumerate() {
        text.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
        text.extend_from_slice(name.as_bytes());
        text.push(b'"');
    }
}

/// The digest of some pieces, one behind the other.
pub(crate) fn sha256(pieces: &[&[u8]]) -> Digest {
    let mut hasher = store_path::Hasher::sha256();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher
        .finish()
        .digest()
        .try_into()
        .expect("a SHA-256 digest has 32 bytes")
}
