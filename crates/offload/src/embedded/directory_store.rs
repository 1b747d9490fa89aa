//! A store that is a directory: what is valid is remembered by the process alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::local::remove_tree;
use nar::{Digest, Dump, Observe, References, Restore, RestoreOptions};
use store_path::{StoreDir, StorePath};
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

/// See the module's text.
#[derive(Debug)]
pub struct DirectoryStore {
    store_dir: StoreDir,
    valid: Mutex<BTreeMap<StorePath, PathInfo>>,
}

impl DirectoryStore {
    /// Creates the directory `path`, which is also what the store's paths name.
    ///
    /// # Errors
    /// When it cannot be created, or is not an absolute path.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let store_dir = StoreDir::new(path.to_string_lossy()).map_err(io::Error::other)?;
        Ok(DirectoryStore {
            store_dir,
            valid: Mutex::default(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// Where a path's files are.
    #[must_use]
    pub fn file(&self, path: &StorePath) -> PathBuf {
        PathBuf::from(self.store_dir.print(path))
    }

    /// What is known of a path; nothing if it is not valid.
    #[must_use]
    pub fn info(&self, path: &StorePath) -> Option<PathInfo> {
        self.lock().get(path).cloned()
    }

    /// Those of `paths` that are valid.
    #[must_use]
    pub fn valid(&self, paths: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let valid = self.lock();
        let is_valid = |path: &&StorePath| valid.contains_key(*path);
        paths.iter().filter(is_valid).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StorePath, PathInfo>> {
        self.valid.lock().expect("nobody panics with the lock")
    }

    /// Begins to restore a path that comes in pieces, where nothing valid is. Register it once it
    /// is complete.
    ///
    /// # Errors
    /// When what is left there cannot be removed, or the directory cannot be opened.
    pub fn restore(&self, path: &StorePath) -> io::Result<Restore> {
        if self.info(path).is_none() {
            remove_tree(&self.file(path))?;
        }
        restore_at(Path::new(self.store_dir.as_str()), path.base_name())
    }

    /// Makes a path valid whose files are there.
    pub fn register(&self, path: ValidPathInfo) {
        self.lock().insert(path.path, path.info);
    }

    /// Takes in what a builder has left at an output's path: gives it the modes and times of a
    /// store, hashes it, finds which of `candidates` it refers to, and registers it.
    ///
    /// # Errors
    /// When it is not there, or holds something that no archive can.
    pub fn register_output(
        &self,
        path: &StorePath,
        deriver: &StorePath,
        candidates: &BTreeSet<StorePath>,
    ) -> io::Result<()> {
        let digits = |path: &StorePath| {
            let hash_part = path.hash_part().as_bytes().try_into();
            hash_part.expect("hash parts have 32 digits")
        };
        let raw = self.file(path).with_extension("raw");
        std::fs::rename(self.file(path), &raw)?;
        let mut dump = Dump::new(&raw).map_err(io::Error::other)?;
        let mut restore = self.restore(path)?;
        let mut observers = (
            Digest::new(),
            References::new(candidates.iter().map(digits)),
        );
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = dump.fill(&mut buffer).map_err(io::Error::other)?;
            if length == 0 {
                break;
            }
            observers.observe(&buffer[..length]);
            restore
                .write_all(&buffer[..length])
                .map_err(io::Error::other)?;
        }
        restore.finish().map_err(io::Error::other)?;
        let (digest, references) = observers;
        let found: BTreeSet<_> = references.found().copied().collect();
        let refers = |candidate: &&StorePath| found.contains(&digits(candidate));
        let fingerprint = digest.finish();
        self.register(ValidPathInfo {
            path: path.clone(),
            info: PathInfo::new(NarHash(fingerprint.sha256), fingerprint.size)
                .with_deriver(deriver.clone())
                .with_references(candidates.iter().filter(refers).cloned())
                .with_registration_time(1)
                .with_ultimate(true),
        });
        remove_tree(&raw)
    }
}

/// A restore of store path `base_name` into `directory`, with the modes and times of a store.
pub(super) fn restore_at(directory: &Path, base_name: &str) -> io::Result<Restore> {
    let options = RestoreOptions::default().canonical(true);
    let parent = File::open(directory)?;
    Restore::new(parent, OsStr::new(base_name), options).map_err(io::Error::other)
}
