//! A store on this host, beside the daemon that serves it: what Nix's and Guix's have in common.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use derivation::Derivation;
use store_path::{StoreDir, StorePath};
use worker_protocol::PathInfo;

use super::registry::Registry;
use super::temporary_roots::TemporaryRoots;
use super::{
    AuthenticateError, DatabaseError, HostBounds, OptimiseError, ProgramError, StoreLocation,
};

/// Largest `.drv` file that is read, in bytes; the largest seen in use are some tens of MiB.
const MAX_DERIVATION: u64 = 256 << 20;

/// Why the coordinator's own store cannot be used. No machine is to blame.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Nix's own programs, which have the last word on a database whose schema is not known.
    #[error("{0} (the schema of the store's database is not known)")]
    Programs(#[from] ProgramError),
    /// The store directory cannot be opened, or a file in it cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file beyond all reason.
    #[error("file is larger than {maximum} bytes: {}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        maximum: u64,
    },
    /// The store directory that the environment names is none.
    #[error("{0}")]
    StoreDir(store_path::StoreDirError),
    /// A key file cannot be understood.
    #[error("failed to read {}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: guix_signature::Error,
    },
    /// What was written does not get to the disk.
    #[error("failed to flush the file system of {}: {source}", path.display())]
    Flush {
        /// The store directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A path's content is not what is registered of it.
    #[error("size of the path is not as registered (nix-store --verify-path tells more): {0}")]
    Corrupt(String),
    /// Equal files could not be shared.
    #[error(transparent)]
    Optimise(#[from] OptimiseError),
    /// The lock on a path cannot be taken.
    #[error("failed to lock {}: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Somebody else has held the lock on a path for too long.
    #[error("failed to lock {} within {} s (bound output-lock): another process brings it in", path.display(), patience.as_secs_f32())]
    Locked {
        /// The path.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The garbage collector cannot be told to keep a path.
    #[error("failed to write {}, which keeps an output from the garbage collector: {source}", path.display())]
    TemporaryRoot {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `guix authenticate`, which a key is left to.
    #[error(transparent)]
    Authenticate(#[from] AuthenticateError),
    /// The daemon named an input that is not valid.
    #[error("input is not valid in the local store: {0}")]
    NotValid(String),
}

/// The store's files, and what its database knows of them. Nothing is brought in through it: how
/// that is done is what differs ([`NixStore`](super::NixStore), [`GuixStore`](super::GuixStore)).
#[derive(Debug)]
pub struct LocalStore {
    pub(super) location: StoreLocation,
    pub(super) directory: File,
    pub(super) registry: Registry,
    pub(super) bounds: HostBounds,
    /// What the garbage collector was told to keep.
    pub(super) temporary_roots: RefCell<Option<TemporaryRoots>>,
}

impl LocalStore {
    /// Opens the store's directory, beside what is known of its paths.
    pub(super) fn open(
        location: StoreLocation,
        registry: Registry,
        bounds: HostBounds,
    ) -> Result<Self, LocalError> {
        let directory =
            File::open(&location.real_store_dir).map_err(|source| LocalError::Read {
                path: location.real_store_dir.clone(),
                source,
            })?;
        Ok(LocalStore {
            location,
            directory,
            registry,
            bounds,
            temporary_roots: RefCell::default(),
        })
    }

    /// The directory that this store's paths name.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.location.store_dir
    }

    /// Where the files of `path` are.
    #[must_use]
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.location.real_store_dir.join(path.base_name())
    }

    /// What is known of a path that must be valid.
    ///
    /// # Errors
    /// When it is not, or the database cannot be read.
    pub fn path_info(&self, path: &StorePath) -> Result<PathInfo, LocalError> {
        self.registry
            .path_info(path)?
            .ok_or_else(|| LocalError::NotValid(self.store_dir().print(path)))
    }

    /// What is known of a path; `None` if it is not valid.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn known(&self, path: &StorePath) -> Result<Option<PathInfo>, LocalError> {
        self.registry.path_info(path)
    }

    /// Those of `paths` that are valid.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn valid(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>, LocalError> {
        self.registry.valid(paths)
    }

    /// The bytes of a `.drv` file.
    ///
    /// # Errors
    /// When it cannot be read, or is unreasonably large.
    pub fn read_derivation(&self, path: &StorePath) -> Result<Vec<u8>, LocalError> {
        read_derivation(&self.real_path(path))
    }

    /// The directory that holds all paths' files, open and by name.
    pub(super) fn folder(&self) -> (&File, &Path) {
        (&self.directory, &self.location.real_store_dir)
    }

    /// `roots` and everything that they refer to. What is not valid has nothing that it refers to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn closure<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        self.registry.closure(roots, usize::MAX)
    }

    /// The paths that a build of `derivation` may read: those that are in the store already.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn inputs_of(
        &self,
        derivation: &Derivation<'_>,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        self.closure(&self.direct_inputs(derivation)?)
    }

    /// The same, and the derivation at `path` with all that it refers to: what a guix-daemon names as inputs. A
    /// part of it where that is more than `most` paths.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn some_inputs_and_derivations(
        &self,
        path: &StorePath,
        derivation: &Derivation<'_>,
        most: usize,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        let mut roots = self.direct_inputs(derivation)?;
        roots.insert(path.clone());
        self.registry.closure(&roots, most)
    }

    fn direct_inputs(
        &self,
        derivation: &Derivation<'_>,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        let mut inputs: BTreeSet<_> = derivation
            .input_sources
            .iter()
            .map(|path| path.as_path_ref().to_store_path())
            .collect();
        for (path, wanted) in derivation.input_derivations.iter() {
            let outputs = self.registry.outputs(&path.as_path_ref().to_store_path())?;
            let names = wanted.outputs.iter().map(|name| &**name);
            inputs.extend(names.filter_map(|name| outputs.get(name).cloned()));
        }
        Ok(inputs)
    }
}

/// The bytes of a `.drv` file.
pub(crate) fn read_derivation(path: &Path) -> Result<Vec<u8>, LocalError> {
    read_bounded(path, MAX_DERIVATION)
}

/// The bytes of a file that has no more than `maximum`.
pub(super) fn read_bounded(path: &Path, maximum: u64) -> Result<Vec<u8>, LocalError> {
    let failed = |source| LocalError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(maximum + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > maximum {
        true => Err(LocalError::TooLarge {
            path: path.to_owned(),
            maximum,
        }),
        false => Ok(bytes),
    }
}
