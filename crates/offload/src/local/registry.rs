//! What a store knows of its paths, and where more of them are registered.

use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;
use worker_protocol::{PathInfo, Realisation, ValidPathInfo};

use super::programs::ByPrograms;
use super::{Database, LocalError};

/// See the module's text.
#[derive(Debug)]
pub(super) enum Registry {
    /// The database itself.
    Database(Database),
    /// Nix's own programs, where the database has a schema that is not known.
    Programs(Box<ByPrograms>),
}

impl Registry {
    /// What is known of `path`, or `None` if it is not valid.
    pub(super) fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, LocalError> {
        Ok(match self {
            Registry::Database(database) => database.path_info(path)?,
            Registry::Programs(programs) => programs.path_info(path)?,
        })
    }

    /// Those of `paths` that are valid.
    pub(super) fn valid(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        Ok(match self {
            Registry::Database(database) => database.valid(paths)?,
            Registry::Programs(programs) => programs.valid(paths)?,
        })
    }

    /// The outputs of the derivation at `path` whose paths are known, by name.
    pub(super) fn outputs(
        &self,
        path: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, LocalError> {
        Ok(match self {
            Registry::Database(database) => database.outputs(path)?,
            Registry::Programs(programs) => programs.outputs(path)?,
        })
    }

    /// `roots` and everything that they refer to, or a part of it where that is more than `most` paths. Paths
    /// that are not valid are left out, but for the roots themselves.
    pub(super) fn closure<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
        most: usize,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        let mut closure: BTreeSet<StorePath> = roots.into_iter().cloned().collect();
        let mut open: Vec<_> = closure.iter().cloned().collect();
        while let Some(path) = open.pop() {
            if closure.len() > most {
                break;
            }
            for reference in self.references(&path)? {
                if closure.insert(reference.clone()) {
                    open.push(reference);
                }
            }
        }
        Ok(closure)
    }

    /// What `path` refers to: nothing if it is not valid.
    fn references(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, LocalError> {
        Ok(match self {
            Registry::Database(database) => database.references(path)?,
            Registry::Programs(programs) => {
                let info = programs.path_info(path)?;
                info.map(|info| info.references).unwrap_or_default()
            }
        })
    }

    /// Registers `paths` as valid, and which outputs they realise.
    pub(super) fn register(
        &mut self,
        paths: &[ValidPathInfo],
        realisations: &[Realisation],
    ) -> Result<(), LocalError> {
        match self {
            Registry::Database(database) => database.register(paths, realisations)?,
            Registry::Programs(programs) => programs.register(paths, realisations)?,
        }
        Ok(())
    }
}
