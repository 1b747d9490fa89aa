//! A Guix store on this host, beside the daemon that serves it.
//!
//! Nothing is ever registered here: a guix-daemon registers what lies at its outputs' paths when
//! the hook exits with 0. It checks no signature then, so everything is checked before.

use std::path::PathBuf;

use store_path::{ContentAddress, StoreDir, StorePath};

use super::registry::Registry;
use super::signed::{Destination, SignedImport};
use super::{
    Database, GuixKeys, HostBounds, ImportError, Limits, LocalError, LocalStore, StoreLocation,
};

/// Where guix-daemon keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixDirectories {
    /// The store directory, `/gnu/store`.
    pub store: String,
    /// The state directory, `/var/guix`, which holds the slot locks.
    pub state: PathBuf,
    /// The directory of its database, `/var/guix/db`.
    pub database: PathBuf,
    /// The directory of its keys and of the machine list, `/etc/guix`.
    pub configuration: PathBuf,
}

impl Default for GuixDirectories {
    fn default() -> Self {
        GuixDirectories {
            store: StoreDir::GUIX.as_str().to_owned(),
            state: PathBuf::from("/var/guix"),
            database: PathBuf::from("/var/guix/db"),
            configuration: PathBuf::from("/etc/guix"),
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct GuixStore {
    /// What it has in common with Nix's.
    pub local: LocalStore,
    /// Who signs.
    pub(crate) keys: GuixKeys,
    limits: Limits,
}

impl GuixStore {
    /// Opens the store's directory and its database.
    ///
    /// # Errors
    /// When one of them is missing, or the database is of an unknown version.
    pub fn open(
        directories: &GuixDirectories,
        keys: GuixKeys,
        limits: Limits,
        bounds: HostBounds,
    ) -> Result<Self, LocalError> {
        let store_dir = StoreDir::new(directories.store.as_str()).map_err(LocalError::StoreDir)?;
        let patience = bounds.database;
        let database = Database::open_guix(&directories.database, store_dir.clone(), patience)?;
        let location = StoreLocation {
            real_store_dir: PathBuf::from(store_dir.as_str()),
            store_dir,
            state_dir: directories.state.clone(),
        };
        Ok(GuixStore {
            local: LocalStore::open(location, Registry::Database(database), bounds)?,
            keys,
            limits,
        })
    }

    /// Begins to bring in `path`, which a machine exports. `fixed` is what its derivation says of
    /// the content, if it says anything.
    ///
    /// # Errors
    /// When what stands at its place cannot be removed.
    pub fn import(
        &self,
        path: &StorePath,
        fixed: Option<ContentAddress>,
    ) -> Result<SignedImport, ImportError> {
        let (directory, folder) = self.local.folder();
        let destination = Destination {
            directory,
            folder,
            store_dir: self.local.store_dir(),
            limits: self.limits,
        };
        SignedImport::begin(destination, path.clone(), fixed)
    }
}
