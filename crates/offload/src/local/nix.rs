//! A Nix store on this host, into which outputs are brought and where they are registered.

use store_path::ContentAddress;
use worker_protocol::{Realisation, ValidPathInfo};

use super::{Database, Import, ImportError, LocalError, LocalStore, StoreLocation};

/// See the module's text.
#[derive(Debug)]
pub struct NixStore {
    /// What it has in common with Guix's.
    pub local: LocalStore,
}

impl NixStore {
    /// Opens the store's directory and its database.
    ///
    /// # Errors
    /// When one of them is missing, or the database is of an unknown version.
    pub fn open(location: StoreLocation) -> Result<Self, LocalError> {
        let database = Database::open(&location.state_dir, location.store_dir.clone())?;
        let local = LocalStore::open(location, database)?;
        Ok(NixStore { local })
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
