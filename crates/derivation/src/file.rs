//! A `.drv` file in hand.

use store_path::{Hash, StoreDir, StorePath, StorePathCow, StorePathRef};

use crate::parse::{self, Sections};
use crate::{Derivation, Error, PathsError};

/// What the name of a derivation's own store path ends in.
const EXTENSION: &str = ".drv";

/// A `.drv` file: its bytes beside what they say.
///
/// Every derivation has one text, so hashes that are defined by printing can be taken from the bytes in hand.
///
/// ```
/// use derivation::{DerivationFile, StoreDir};
///
/// let text = br#"Derive([("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo > $out"],[("builder","/bin/sh"),("name","plain"),("out","/nix/store/mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain"),("system","x86_64-linux")])"#;
/// let file = DerivationFile::parse(&StoreDir::NIX, text)?;
/// assert_eq!(file.derivation().arguments.len(), 2);
/// assert_eq!(file.store_path(&StoreDir::NIX, "plain")?.base_name(), "8zd0ck4kmdaf3hzbmvkmvrvpbi100dqg-plain.drv");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DerivationFile<'a> {
    text: &'a [u8],
    derivation: Derivation<'a>,
    sections: Sections,
}

impl<'a> DerivationFile<'a> {
    /// Reads a whole file, as [`Derivation::parse`] does.
    ///
    /// # Errors
    /// [`Error`], which says where, what was expected and what was found.
    pub fn parse(dir: &StoreDir, text: &'a [u8]) -> Result<Self, Error> {
        let (derivation, sections) = parse::derivation(dir, text)?;
        Ok(Self {
            text,
            derivation,
            sections,
        })
    }

    /// What the file says.
    #[must_use]
    pub fn derivation(&self) -> &Derivation<'a> {
        &self.derivation
    }

    /// What the file says, alone.
    #[must_use]
    pub fn into_derivation(self) -> Derivation<'a> {
        self.derivation
    }

    /// The bytes of the file.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }

    /// Where the file lies in the store at `dir`, given the derivation's name (without `.drv`).
    ///
    /// # Errors
    /// [`PathsError::Fingerprint`] if `name` is not a name.
    pub fn store_path(&self, dir: &StoreDir, name: &str) -> Result<StorePath, PathsError> {
        store_path(dir, name, self.text, &self.derivation)
    }
}

impl Derivation<'_> {
    /// Where the derivation itself lies in the store at `dir`, given its name (without `.drv`).
    ///
    /// # Errors
    /// [`PathsError::Fingerprint`] if `name` is not a name.
    pub fn store_path(&self, dir: &StoreDir, name: &str) -> Result<StorePath, PathsError> {
        store_path(dir, name, &self.print(dir), self)
    }
}

/// A text file that refers to all inputs.
fn store_path(
    dir: &StoreDir,
    name: &str,
    text: &[u8],
    derivation: &Derivation<'_>,
) -> Result<StorePath, PathsError> {
    let hash = Hash::sha256_of(text);
    let inputs = derivation
        .input_derivations
        .keys()
        .chain(derivation.input_sources.iter())
        .map(StorePathCow::as_path_ref);
    Ok(dir.make_text_path(&format!("{name}{EXTENSION}"), &hash, inputs)?)
}

/// The name of the derivation that lies at `path`: the path's name without `.drv`. `None` if that is not what it ends in.
///
/// ```
/// use derivation::{StorePath, derivation_name};
///
/// let path: StorePath = "8zd0ck4kmdaf3hzbmvkmvrvpbi100dqg-plain.drv".parse()?;
/// assert_eq!(derivation_name(path.as_path_ref()), Some("plain"));
/// # Ok::<(), store_path::PathError>(())
/// ```
#[must_use]
pub fn derivation_name(path: StorePathRef<'_>) -> Option<&str> {
    path.name()
        .strip_suffix(EXTENSION)
        .filter(|name| !name.is_empty())
}
