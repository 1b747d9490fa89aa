//! A Nix store on this host, into which outputs are brought and where they are registered.

use std::collections::BTreeSet;

use store_path::ContentAddress;
use worker_protocol::{Realisation, ValidPathInfo};

use super::optimise::Links;
use super::programs::ByPrograms;
use super::registry::Registry;
use super::{
    Database, DatabaseError, HostBounds, Import, ImportError, LocalError, LocalStore, NixPrograms,
    StoreLocation,
};
use crate::log::Level;

/// See the module's text.
#[derive(Debug)]
pub struct NixStore {
    /// What it has in common with Guix's.
    pub local: LocalStore,
    /// Whether equal files of what comes in become one, as `auto-optimise-store` says.
    pub auto_optimise: bool,
    /// Whether what comes in is on disk before it is registered, as `fsync-store-paths` says.
    pub fsync: bool,
}

impl NixStore {
    /// Opens the store's directory and its database. Where that has a schema that is not known,
    /// `programs` do what else would be done in it.
    ///
    /// # Errors
    /// When one of them is missing, or the programs are.
    pub fn open(
        location: StoreLocation,
        programs: NixPrograms,
        bounds: HostBounds,
    ) -> Result<Self, LocalError> {
        let store_dir = location.store_dir.clone();
        let database = Database::open(&location.state_dir, store_dir.clone(), bounds.database);
        let registry = match database {
            // Without one there is no database either, and nobody shall make one here.
            Err(error) if error.is_of_another_schema() => {
                let programs = ByPrograms::new(programs, bounds.program, store_dir, error);
                // Whether they are there is better known before a build is accepted.
                programs.valid(&BTreeSet::new())?;
                Registry::Programs(Box::new(programs))
            }
            opened => Registry::Database(opened?),
        };
        let local = LocalStore::open(location, registry, bounds)?;
        Ok(NixStore {
            local,
            auto_optimise: false,
            fsync: false,
        })
    }

    /// Why Nix's own programs are asked, and not the database, if it is so.
    #[must_use]
    pub fn why_by_programs(&self) -> Option<&DatabaseError> {
        match &self.local.registry {
            Registry::Database(_) => None,
            Registry::Programs(programs) => Some(programs.why()),
        }
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
    /// When one refers to a path that is not valid, the disk or the database cannot be written.
    pub fn register(
        &mut self,
        paths: &[ValidPathInfo],
        realisations: &[Realisation],
    ) -> Result<(), LocalError> {
        if self.fsync {
            // At once for all files: each by itself would wait for the disk's journal.
            rustix::fs::syncfs(&self.local.directory).map_err(|errno| LocalError::Flush {
                path: self.local.location.real_store_dir.clone(),
                source: errno.into(),
            })?;
        }
        self.local.registry.register(paths, realisations)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use store_path::StoreDir;

    use super::*;

    /// What is said of the database in `folder`, where Nix's own programs are not there.
    fn refusal(folder: &Path) -> String {
        let location = StoreLocation {
            store_dir: StoreDir::NIX,
            real_store_dir: folder.to_owned(),
            state_dir: folder.to_owned(),
        };
        let programs = NixPrograms::new(PathBuf::from("/nowhere"), "");
        let error = NixStore::open(location, programs, HostBounds::default()).unwrap_err();
        error
            .to_string()
            .replace(&folder.display().to_string(), "STATE")
    }

    #[test]
    fn a_schema_that_is_not_known_takes_nixs_own_programs_and_a_missing_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let missing = refusal(folder.path());
        crate::embedded::create_database(folder.path()).unwrap();
        std::fs::write(folder.path().join("db/schema"), "11").unwrap();
        let unknown = refusal(folder.path());
        insta::assert_snapshot!([missing, unknown].join("\n"), @r#"
        database schema is version "" and only 10 is known: STATE/db/schema
        failed to look up paths by /nowhere/nix-daemon: No such file or directory (os error 2) (the schema of the store's database is not known)
        "#);
    }
}
