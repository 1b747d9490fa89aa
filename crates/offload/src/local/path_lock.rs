//! Locks on store paths that are brought in, as Nix's own programs take them.
//!
//! The daemon holds the locks on the outputs of the build that it has a hook for, as far as it knows
//! their paths. A floating output's path is known when it is built, and two builds may make the same:
//! whoever brings it in first takes its lock, and the other finds it valid.
//!
//! The lock on `P` is a flock on `P.lock`. Whoever is done with it unlinks that file and writes a byte
//! into it, and only then unlocks: whoever gets the lock on a file that is not empty has waited for one
//! that is gone, and begins anew. So do nix 2.3.7 to 2.34.8.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_path::StorePath;
use tokio::time::Instant;

use super::temporary_roots::TemporaryRoots;
use super::{LocalError, LocalStore};
use crate::state_file;

/// Pause between two tries. What is waited for is that an output is brought in.
const PAUSE: Duration = Duration::from_millis(20);

/// The locks on some paths. Dropping them releases them, and removes their files.
#[derive(Debug, Default)]
pub(crate) struct PathLocks(#[expect(dead_code, reason = "held until dropped")] Vec<PathLock>);

impl LocalStore {
    /// Makes sure that nobody brings in those of `paths` that are not valid while the locks are held,
    /// and that the garbage collector keeps all of them while this store is open. Whether they are
    /// valid has to be asked again. Each path whose lock has to be waited for is told to `waiting`.
    ///
    /// # Errors
    /// When a lock is not free within [`HostBounds::output_lock`](super::HostBounds::output_lock), or the file system refuses.
    pub(crate) async fn lock_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        mut waiting: impl FnMut(&Path),
    ) -> Result<PathLocks, LocalError> {
        if paths.is_empty() {
            return Ok(PathLocks::default());
        }
        let deadline = Instant::now() + self.bounds.output_lock;
        let mut roots = match self.temporary_roots.take() {
            Some(roots) => roots,
            None => TemporaryRoots::create(&self.location.state_dir, deadline).await?,
        };
        let added = roots.add(self.store_dir(), paths, deadline).await;
        self.temporary_roots.replace(Some(roots));
        added?;
        let valid = self.valid(paths)?;
        let mut locks = Vec::new();
        // In one order for everybody: nobody waits for another who waits for this one.
        for path in paths.difference(&valid) {
            let path = self.real_path(path);
            let lock = PathLock::take(&path, self.bounds.output_lock, || waiting(&path));
            locks.push(lock.await?);
        }
        Ok(PathLocks(locks))
    }
}

/// The lock on one path.
#[derive(Debug)]
struct PathLock {
    file: File,
    lock_path: PathBuf,
}

impl PathLock {
    /// Takes the lock on `path`, for which it waits `patience` at most. Calls `waiting` if it is not
    /// free at once.
    async fn take(
        path: &Path,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, LocalError> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let failed = |source| LocalError::Lock {
            path: lock_path.clone(),
            source,
        };
        let deadline = Instant::now() + patience;
        let mut waiting = Some(waiting);
        loop {
            let file = state_file::open_lock(&lock_path).map_err(failed)?;
            while let Err(error) = file.try_lock() {
                if let TryLockError::Error(source) = error {
                    return Err(failed(source));
                }
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                if Instant::now() >= deadline {
                    return Err(LocalError::Locked {
                        path: path.to_owned(),
                        patience,
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
            if file.metadata().map_err(failed)?.len() == 0 {
                return Ok(PathLock { file, lock_path });
            }
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // A file that stays is no obstacle: the next one locks it.
        if std::fs::remove_file(&self.lock_path).is_ok() {
            let _ = self.file.write_all(b"d");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn take(path: &Path) -> Result<PathLock, LocalError> {
        PathLock::take(path, PATIENCE, || {}).await
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_else_gets_it_until_it_is_dropped_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let first = take(&path).await.unwrap();
        // Stock's processes see it.
        let seen = state_file::open_lock(&folder.path().join("x.lock")).unwrap();
        assert!(matches!(seen.try_lock(), Err(TryLockError::WouldBlock)));
        let told = Cell::new(0);
        let second = PathLock::take(&path, PATIENCE, || told.set(told.get() + 1));
        let release = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, release);
        assert_eq!(told.get(), 1);
        drop(second.unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        // Who waited for the first one's file has the lock on nothing.
        assert_eq!(seen.metadata().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_was_removed_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = folder.path().join("x.lock");
        // As stock leaves it for whoever has opened it before.
        let mut stale = state_file::open_lock(&file).unwrap();
        stale.lock().unwrap();
        let remove = async {
            tokio::time::sleep(PAUSE * 3).await;
            std::fs::remove_file(&file).unwrap();
            stale.write_all(b"d").unwrap();
            drop(stale);
        };
        let (lock, ()) = tokio::join!(take(&path), remove);
        let lock = lock.unwrap();
        let seen = state_file::open_lock(&file).unwrap();
        assert!(matches!(seen.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let _held = take(&path).await.unwrap();
        let begun = Instant::now();
        let error = take(&path).await.unwrap_err().to_string();
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        insta::assert_snapshot!(
            error.replace(&folder.path().display().to_string(), "STORE"),
            @"failed to lock STORE/x within 5 s (bound output-lock): another process brings it in"
        );
    }
}
