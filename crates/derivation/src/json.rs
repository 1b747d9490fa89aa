//! Derivations as JSON, in the forms that `nix derivation show` prints.
//!
//! | | [`JsonForm::FullPaths`] | [`JsonForm::Version4`] |
//! |---|---|---|
//! | printed by | Nix 2.4 to 2.17 (as `show-derivation` before 2.13) | Nix 2.33 and later |
//! | around it | `{"/nix/store/….drv": …}` | `{"derivations": {"….drv": …}, "version": 4}` |
//! | store paths | in full | base names |
//! | inputs | `inputSrcs`, `inputDrvs: {PATH: ["out"]}` | `inputs: {srcs, drvs: {BASE: {outputs, dynamicOutputs}}}` |
//! | fixed output | `path`, `hashAlgo: "r:sha256"`, `hash` in base16 | `method: "nar"`, `hash` in SRI form |
//! | structured attributes | the variable `__json` | `structuredAttrs`, an object |
//! | dynamic inputs | cannot be said | can |
//!
//! Reading takes both forms, those in between, and that of Nix 2.3 (`platform` for `system`), as they come: what is there decides, piece by piece. JSON is text:
//! a derivation with a variable that is not UTF-8 has no JSON. In version 4 the text of structured attributes is not kept; reading makes it
//! again without spaces, which is how Nix writes it.

mod read;
mod write;

use store_path::{FingerprintError, HashError, PathError, StoreDir, StorePath};

use crate::attributes::AttributeError;
use crate::{Derivation, OutputErrorKind};

/// A form of JSON; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// The older form, with store paths in full.
    FullPaths,
    /// The newer form, with base names.
    Version4,
}

/// Why there is no derivation in some JSON, or no JSON of a derivation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or not of this shape.
    #[error("json is not of the shape of a derivation: {0}")]
    Shape(String),
    /// Its version is not known.
    #[error("json version is not known: {0}")]
    Version(u64),
    /// A store path is none.
    #[error(transparent)]
    StorePath(#[from] PathError),
    /// A hash is none.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A method is none of `nar`, `flat`, `text`, `git`.
    #[error("method of an output is not known: {0}")]
    Method(String),
    /// The fields of an output do not fit together.
    #[error("{kind}: {output}")]
    Output {
        /// Why.
        kind: OutputErrorKind,
        /// The output's name.
        output: String,
    },
    /// A fixed output has no path, and without a name none can be computed.
    #[error("fixed output has no path and the derivation no name: {0}")]
    NoName(String),
    /// The path of a fixed output cannot be computed.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// Structured attributes are there twice, as `structuredAttrs` and in the environment.
    #[error("structured attributes are there twice")]
    StructuredTwice,
    /// Structured attributes are no JSON object.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// Dynamic inputs are nested too deep, or the form cannot say them.
    #[error("dynamic inputs have no place in this form or are nested too deep")]
    Dynamic,
    /// Something is not UTF-8.
    #[error("string is not UTF-8: {0}")]
    NotUtf8(String),
}

/// Reads what `nix derivation show` prints, in any form: derivations by their store paths.
///
/// # Errors
/// [`JsonError`] for the first thing that is wrong.
pub fn read_show(
    dir: &StoreDir,
    json: &str,
) -> Result<Vec<(StorePath, Derivation<'static>)>, JsonError> {
    read::show(dir, json)
}

/// Prints derivations as `nix derivation show` does, on one line.
///
/// # Errors
/// [`JsonError`] if something is not UTF-8, or the form cannot say it.
pub fn write_show<'a>(
    form: JsonForm,
    dir: &StoreDir,
    derivations: impl IntoIterator<Item = (&'a StorePath, &'a Derivation<'a>)>,
) -> Result<String, JsonError> {
    write::show(form, dir, &mut derivations.into_iter())
}

impl Derivation<'static> {
    /// Reads one derivation from JSON, in any form. `name` stands in for a name that the JSON does not have; it is needed for fixed outputs
    /// without a path.
    ///
    /// # Errors
    /// [`JsonError`] for the first thing that is wrong.
    pub fn from_json(dir: &StoreDir, name: Option<&str>, json: &str) -> Result<Self, JsonError> {
        read::derivation(dir, name, json)
    }
}

impl Derivation<'_> {
    /// Prints it as JSON, on one line.
    ///
    /// # Errors
    /// [`JsonError`] if something is not UTF-8, or the form cannot say it.
    ///
    /// ```
    /// use derivation::{Derivation, JsonForm, StoreDir};
    ///
    /// let text = br#"Derive([("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","","")],[],[],"x86_64-linux","/bin/sh",[],[])"#;
    /// let derivation = Derivation::parse(&StoreDir::NIX, text)?;
    /// let json = derivation.to_json(JsonForm::Version4, &StoreDir::NIX, "plain")?;
    /// assert!(json.starts_with(r#"{"args":[],"builder":"/bin/sh","env":{},"inputs":{"drvs":{},"srcs":[]},"name":"plain","outputs""#));
    /// assert_eq!(Derivation::from_json(&StoreDir::NIX, None, &json)?, derivation);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self, form: JsonForm, dir: &StoreDir, name: &str) -> Result<String, JsonError> {
        write::derivation(form, dir, name, self)
    }
}
