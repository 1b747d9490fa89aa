//! Where the outputs of a derivation will lie.

use std::ops::Range;

use store_path::{FingerprintError, Hash, StorePath, StorePathRef};

use crate::modulo::sha256;
use crate::{Bytes, DerivationFile, Kind, ModuloError, ModuloMemo, Output, SortedMap};

/// Why a path cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathsError {
    /// The name is not a name, or the kind of hash does not go with the kind of object.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The derivation's hash cannot be computed.
    #[error(transparent)]
    Modulo(#[from] ModuloError),
}

/// Something that a derivation says of its outputs, and that is not so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputMismatch {
    /// The path of an output is another.
    #[error("output `{output}` should be at {expected}, not at {found}")]
    WrongPath {
        /// The output's name.
        output: String,
        /// Where it has to be.
        expected: StorePath,
        /// Where the file says it is.
        found: StorePath,
    },
    /// The file does not say where an output is, and could.
    #[error("output `{output}` should be at {expected}, not open")]
    OpenPath {
        /// The output's name.
        output: String,
        /// Where it has to be.
        expected: StorePath,
    },
    /// The file says where an output is, and an input's path is not known before the build.
    #[error("output `{output}` should be open, not at {found}")]
    UnknowablePath {
        /// The output's name.
        output: String,
        /// Where the file says it is.
        found: StorePath,
    },
    /// The variable named like an output is not its path.
    #[error("variable `{output}` should be the path of that output, not {found:?}")]
    Variable {
        /// The output's name.
        output: String,
        /// What the variable says.
        found: String,
    },
    /// There is no variable named like an output.
    #[error("variable `{output}` should be the path of that output and is missing")]
    NoVariable {
        /// The output's name.
        output: String,
    },
}

impl DerivationFile<'_> {
    /// Where each output has to lie, given the derivation's name (without `.drv`) and the hashes of its inputs; `None` for an output whose path
    /// is not known before the build. What the file itself says of these paths has no influence.
    ///
    /// # Errors
    /// [`PathsError`] if an input's hash is not known, the name is not a name, or the outputs do not go together.
    ///
    /// ```
    /// use derivation::{DerivationFile, ModuloMemo, StoreDir};
    ///
    /// let text = br#"Derive([("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo > $out"],[("builder","/bin/sh"),("name","plain"),("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain"),("system","x86_64-linux")])"#;
    /// let file = DerivationFile::parse(&StoreDir::NIX, text)?;
    /// let paths = file.output_paths("plain", &ModuloMemo::new(StoreDir::NIX))?;
    /// let out = paths.get("out").cloned().flatten().expect("it is input-addressed");
    /// assert_eq!(out.base_name(), "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn output_paths(
        &self,
        name: &str,
        memo: &ModuloMemo,
    ) -> Result<SortedMap<String, Option<StorePath>>, PathsError> {
        let derivation = self.derivation();
        let dir = memo.store_dir();
        let hash = match derivation.kind().map_err(ModuloError::from)? {
            // A deferred output may have been deferred without need.
            Kind::InputAddressed | Kind::Deferred => self.masked_hash(memo)?,
            Kind::Fixed | Kind::Floating | Kind::Impure => None,
        };
        let path = |output: &str, kind: &Output<'_>| match (kind, &hash) {
            (Output::Fixed { address, .. }, _) => dir
                .make_fixed_output_path(&store_path::output_path_name(name, output), address)
                .map(Some),
            (_, Some(hash)) => dir.make_output_path(name, output, hash).map(Some),
            (_, None) => Ok(None),
        };
        let outputs = derivation.outputs.iter();
        outputs
            .map(|(output, kind)| Ok((output.clone().into_owned(), path(output, kind)?)))
            .collect()
    }

    /// Compares what the file says of its output paths, in the outputs and in the variables named like them, with where they have to lie.
    /// Variables are compared where paths are known.
    ///
    /// # Errors
    /// [`PathsError`] as for [`output_paths`](Self::output_paths).
    pub fn check_outputs(
        &self,
        name: &str,
        memo: &ModuloMemo,
    ) -> Result<Vec<OutputMismatch>, PathsError> {
        let mut mismatches = Vec::new();
        let derivation = self.derivation();
        for (output, expected) in self.output_paths(name, memo)? {
            let found = derivation
                .outputs
                .get(output.as_str())
                .and_then(Output::path);
            if let Some(path) = &expected {
                let path = memo.store_dir().print(path);
                match derivation.environment.get(output.as_bytes()) {
                    Some(variable) if **variable == *path.as_bytes() => {}
                    Some(variable) => {
                        let found = String::from_utf8_lossy(variable).into_owned();
                        mismatches.push(OutputMismatch::Variable {
                            output: output.clone(),
                            found,
                        });
                    }
                    None => mismatches.push(OutputMismatch::NoVariable {
                        output: output.clone(),
                    }),
                }
            }
            match (expected, found.map(StorePathRef::to_store_path)) {
                (Some(expected), Some(found)) if expected != found => {
                    mismatches.push(OutputMismatch::WrongPath {
                        output,
                        expected,
                        found,
                    });
                }
                (Some(expected), None) => {
                    mismatches.push(OutputMismatch::OpenPath { output, expected });
                }
                (None, Some(found)) => {
                    mismatches.push(OutputMismatch::UnknowablePath { output, found });
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        Ok(mismatches)
    }

    /// The hash of the text with inputs replaced by their hashes, and without the paths of the outputs.
    fn masked_hash(&self, memo: &ModuloMemo) -> Result<Option<Hash>, ModuloError> {
        let Some(inputs) = memo.inputs(self)? else {
            return Ok(None);
        };
        let text = self.text();
        let sections = self.sections();
        let outputs = self.masked_outputs();
        let mut pieces: Vec<&[u8]> = vec![&text[..sections.outputs.start], &outputs];
        pieces.extend([
            &text[sections.outputs.end..sections.input_derivations.start],
            &inputs,
        ]);
        let mut position = sections.input_derivations.end;
        for value in self.masked_values() {
            pieces.push(&text[position..value.start]);
            position = value.end;
        }
        pieces.push(&text[position..]);
        Ok(Some(Hash::sha256(sha256(&pieces))))
    }

    /// `[("out","","",""),…]`
    fn masked_outputs(&self) -> Vec<u8> {
        let mut text = vec![b'['];
        for (index, name) in self.derivation().outputs.keys().enumerate() {
            text.extend_from_slice(if index > 0 { b",(\"" } else { b"(\"" });
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"\",\"\",\"\",\"\")");
        }
        text.push(b']');
        text
    }

    /// Where the values of the variables named like outputs stand, in order.
    fn masked_values(&self) -> Vec<Range<usize>> {
        let derivation = self.derivation();
        let mut position = self.sections().environment;
        let mut values = Vec::new();
        for (name, value) in derivation.environment.iter() {
            // ("name","value"), and whatever follows it
            let start = position + 2 + printed_len(name) + 3;
            let end = start + printed_len(value);
            if std::str::from_utf8(name).is_ok_and(|name| derivation.outputs.contains_key(name)) {
                values.push(start..end);
            }
            position = end + 3;
        }
        values
    }
}

/// How many bytes a string takes between its quotation marks.
fn printed_len(bytes: &Bytes<'_>) -> usize {
    match bytes {
        // Nothing in it was escaped, else it would not be part of the file.
        Bytes::Borrowed(bytes) => bytes.len(),
        Bytes::Owned(bytes) => crate::print::printed_len(bytes),
    }
}
