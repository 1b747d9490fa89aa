//! A Guix store on this host, beside the daemon that serves it.
//!
//! Nothing is ever registered here: a guix-daemon registers what lies at its outputs' paths when
//! the hook exits with 0. It checks no signature then, so everything is checked before.

use std::path::{Path, PathBuf};

use guix_signature::{Acl, SecretKey};
use store_path::{ContentAddress, StoreDir, StorePath};

use super::registry::Registry;
use super::signed::SignedImport;
use super::{Database, ImportError, LocalError, LocalStore, StoreLocation};

/// Largest key or access-control list that is read, in bytes; a list has some 150 for each key.
const MAX_KEY_FILE: u64 = 16 << 20;

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
    configuration: PathBuf,
}

impl GuixStore {
    /// Opens the store's directory and its database.
    ///
    /// # Errors
    /// When one of them is missing, or the database is of an unknown version.
    pub fn open(directories: &GuixDirectories) -> Result<Self, LocalError> {
        let store_dir = StoreDir::new(directories.store.as_str()).map_err(LocalError::StoreDir)?;
        let database = Database::open_guix(&directories.database, store_dir.clone())?;
        let location = StoreLocation {
            real_store_dir: PathBuf::from(store_dir.as_str()),
            store_dir,
            state_dir: directories.state.clone(),
        };
        Ok(GuixStore {
            local: LocalStore::open(location, Registry::Database(database))?,
            configuration: directories.configuration.clone(),
        })
    }

    /// The key that signs what is sent, `/etc/guix/signing-key.sec`.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn signing_key(&self) -> Result<SecretKey, LocalError> {
        let path = self.configuration.join("signing-key.sec");
        SecretKey::parse(&read_key_file(&path)?).map_err(|error| LocalError::Key { path, error })
    }

    /// The keys by which outputs may be signed, `/etc/guix/acl`.
    ///
    /// # Errors
    /// When they cannot be read or understood.
    pub fn access_control_list(&self) -> Result<Acl, LocalError> {
        let path = self.configuration.join("acl");
        Acl::parse(&read_key_file(&path)?).map_err(|error| LocalError::Key { path, error })
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
        let (place, restore) = self.local.begin_restore(path)?;
        let store_dir = self.local.store_dir().clone();
        Ok(SignedImport::new(
            place,
            restore,
            path.clone(),
            fixed,
            store_dir,
        ))
    }
}

fn read_key_file(path: &Path) -> Result<Vec<u8>, LocalError> {
    super::store::read_bounded(path, MAX_KEY_FILE)
}
