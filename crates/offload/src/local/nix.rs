//! A Nix store on this host, into which outputs are brought and where they are registered.

use store_path::ContentAddress;
use worker_protocol::{Realisation, ValidPathInfo};

use super::optimise::Links;
use super::{Database, Import, ImportError, LocalError, LocalStore, StoreLocation};
use crate::log::Level;

/// See the module's text.
#[derive(Debug)]
pub struct NixStore {
    /// What it has in common with Guix's.
    pub local: LocalStore,
    /// Whether equal files of what comes in become one, as `auto-optimise-store` says.
    pub auto_optimise: bool,
}

impl NixStore {
    /// Opens the store's directory and its database.
    ///
    /// # Errors
    /// When one of them is missing, or the database is of an unknown version.
    pub fn open(location: StoreLocation) -> Result<Self, LocalError> {
        let database = Database::open(&location.state_dir, location.store_dir.clone())?;
        let local = LocalStore::open(location, database)?;
        Ok(NixStore {
            local,
            auto_optimise: false,
        })
    }

    /// Begins to bring in a path that a machine has described. `fixed` is what its derivation
    /// says of the content, if it says anything.
    ///
    /// # Errors
    /// When what stands at its place cannot be removed.
    pub fn import(
        &self,
        promised: ValidPathInfo,
        fixed: Option<ContentAddress>,
    ) -> Result<Import, ImportError> {
        Import::begin(
            &self.local.directory,
            &self.local.location.real_store_dir,
            promised,
            fixed,
        )
    }

    /// Shares what equals files of the store in paths that were brought in, if the store is to
    /// optimise itself. What a person should know of it goes to `tell`.
    ///
    /// # Errors
    /// When the file system refuses; the paths are whole all the same.
    pub fn optimise(
        &self,
        paths: &[ValidPathInfo],
        mut tell: impl FnMut(Level, String),
    ) -> Result<(), LocalError> {
        if !self.auto_optimise {
            return Ok(());
        }
        let mut links = Links::open(&self.local.location.real_store_dir)?;
        for valid in paths {
            links.share(&self.local.real_path(&valid.path), &mut tell)?;
        }
        Ok(())
    }

    /// Registers paths that were brought in, and which outputs of content-addressed derivations
    /// they are: all or none.
    ///
    /// # Errors
    /// When one refers to a path that is not valid, or the database cannot be written.
    pub fn register(
        &mut self,
        paths: &[ValidPathInfo],
        realisations: &[Realisation],
    ) -> Result<(), LocalError> {
        Ok(self.local.database.register(paths, realisations)?)
    }
}
