//! Build slots: the right to run one of a machine's builds, held as a lock on a file.
//!
//! The files and their names are stock Nix's (`STATE/current-load/URI-N`, with `/` as `_`, and
//! `main-lock`), so that stock's hook and ours side by side never exceed a machine's jobs. A lock
//! is released when its holder ends, however it ends; the files are never unlinked.
//!
//! Guix's are `STATE/offload/NAME:PORT/N`, and locked in the manner of POSIX: such locks belong to
//! the process, and closing any descriptor of a file gives up the process's lock on it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::machines::Machine;
use crate::state_file;

/// How long a lock is waited for that is held for the length of a choice only, by stock too, so that
/// a longer wait means that its holder hangs.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(30);
/// The port of SSH.
pub(crate) const SSH_PORT: u16 = 22;
/// Pause between two tries for such a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The directory of slot locks.
#[derive(Debug, Clone)]
pub struct SlotDirectory {
    path: PathBuf,
    manner: Manner,
    /// How long the choice lock is waited for.
    pub lock_wait: Duration,
}

/// Whose files and locks they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// `URI-N`, locked by flock.
    Nix,
    /// `NAME:PORT/N`, locked by fcntl.
    Guix,
}

/// While it lives, no other hook chooses a machine. Released by drop.
#[derive(Debug)]
pub struct ChoiceLock {
    _file: File,
}

/// One of a machine's slots. Released by drop, or when the process ends.
#[derive(Debug)]
pub struct Slot {
    file: File,
    path: PathBuf,
    manner: Manner,
    index: u32,
}

impl Slot {
    /// Which of the machine's slots it is, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that it is still held after other slots were dropped, which may have been the
    /// same file: a machine list can name a machine twice. Whether it is.
    ///
    /// # Errors
    /// When the lock cannot be tried.
    pub fn is_held(&self) -> Result<bool, SlotError> {
        match self.manner {
            Manner::Nix => Ok(true),
            Manner::Guix => try_lock(&self.file, &self.path, self.manner),
        }
    }
}

/// How a machine's slots stand.
#[derive(Debug)]
pub struct Occupancy {
    /// How many are taken.
    pub used: u32,
    /// The first free one, now held by us.
    pub free: Option<Slot>,
}

/// Why slots could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// A lock file could not be created or locked.
    #[error("failed to lock {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another hook has held a lock for too long that is held for a moment only.
    #[error("failed to lock {} within {} s (bound lock): another build hook holds it", path.display(), patience.as_secs_f32())]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
}

impl SlotDirectory {
    /// Uses `path` (Nix: `/nix/var/nix/current-load`), creating it where it is missing.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SlotError> {
        Self::create(path.into(), Manner::Nix)
    }

    /// Uses `path` as Guix does (`/var/guix/offload`), creating it where it is missing.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open_guix(path: impl Into<PathBuf>) -> Result<Self, SlotError> {
        Self::create(path.into(), Manner::Guix)
    }

    fn create(path: PathBuf, manner: Manner) -> Result<Self, SlotError> {
        create_directory(&path)?;
        Ok(SlotDirectory {
            path,
            manner,
            lock_wait: LOCK_WAIT,
        })
    }

    /// Uses `path` as Nix does, as it is: what is not there is not made until something is locked.
    #[must_use]
    pub fn existing(path: impl Into<PathBuf>) -> Self {
        SlotDirectory {
            path: path.into(),
            manner: Manner::Nix,
            lock_wait: LOCK_WAIT,
        }
    }

    /// Uses `path` as Guix does, as it is.
    #[must_use]
    pub fn existing_guix(path: impl Into<PathBuf>) -> Self {
        SlotDirectory {
            path: path.into(),
            manner: Manner::Guix,
            lock_wait: LOCK_WAIT,
        }
    }

    /// Counts the machine's taken slots, and takes none. Without the [`ChoiceLock`] a slot that
    /// somebody else is looking at counts, too.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub fn used(&self, machine: &Machine) -> Result<u32, SlotError> {
        let mut used = 0;
        for index in 0..machine.max_jobs {
            let path = self.place(machine, index);
            let file = match File::open(&path) {
                Ok(file) => file,
                // Slots are taken in their order: what was never locked ends them.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(source) => return Err(SlotError::Io { path, source }),
            };
            // Shared, so that two who look do not see each other.
            let is_free = match self.manner {
                Manner::Nix => try_flock(file.try_lock_shared(), &path)?,
                Manner::Guix => try_fcntl(&file, FlockOperation::NonBlockingLockShared, &path)?,
            };
            used += u32::from(!is_free);
        }
        Ok(used)
    }

    /// Waits for the choice lock, no longer than `lock_wait`.
    ///
    /// # Errors
    /// When it cannot be locked in that time or at all.
    pub async fn lock_choice(&self) -> Result<ChoiceLock, SlotError> {
        let path = self.path.join("main-lock");
        let file = open_lock(&path)?;
        lock_in_time(&file, &path, self.lock_wait).await?;
        Ok(ChoiceLock { _file: file })
    }

    /// Counts the machine's taken slots, and takes the first free one.
    ///
    /// Holding the [`ChoiceLock`] is what makes the count meaningful: a slot that is only being
    /// looked at counts as taken for everybody else.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub fn occupancy(&self, machine: &Machine, _lock: &ChoiceLock) -> Result<Occupancy, SlotError> {
        let mut used = 0;
        let mut free = None;
        let manner = self.manner;
        for index in 0..machine.max_jobs {
            let path = self.slot_path(machine, index)?;
            let file = open_lock(&path)?;
            if !try_lock(&file, &path, manner)? {
                used += 1;
            } else if free.is_none() {
                free = Some(Slot {
                    file,
                    path,
                    manner,
                    index,
                });
            }
        }
        Ok(Occupancy { used, free })
    }

    fn slot_path(&self, machine: &Machine, index: u32) -> Result<PathBuf, SlotError> {
        let path = self.place(machine, index);
        if self.manner == Manner::Guix {
            create_directory(path.parent().unwrap_or(&self.path))?;
        }
        Ok(path)
    }

    fn place(&self, machine: &Machine, index: u32) -> PathBuf {
        match self.manner {
            Manner::Nix => self.path.join(slot_name(machine.uri.as_str(), index)),
            Manner::Guix => {
                let port = machine.uri.port().unwrap_or(SSH_PORT);
                let name = machine.name.replace('/', "_");
                let directory = self.path.join(format!("{name}:{port}"));
                directory.join(index.to_string())
            }
        }
    }
}

fn create_directory(path: &Path) -> Result<(), SlotError> {
    state_file::create_directory(path).map_err(|source| SlotError::Io {
        path: path.to_owned(),
        source,
    })
}

/// `ssh-ng://root@farm1`, 3 -> `ssh-ng:__root@farm1-3`.
fn slot_name(uri: &str, index: u32) -> String {
    format!("{}-{index}", uri.replace('/', "_"))
}

/// Opens the lock file at `path`.
pub(crate) fn open_lock(path: &Path) -> Result<File, SlotError> {
    state_file::open_lock(path).map_err(|source| SlotError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Waits for a lock that is held for a moment only.
pub(crate) async fn lock_in_time(
    file: &File,
    path: &Path,
    patience: Duration,
) -> Result<(), SlotError> {
    let deadline = Instant::now() + patience;
    while !try_lock(file, path, Manner::Nix)? {
        if Instant::now() >= deadline {
            let path = path.to_owned();
            return Err(SlotError::Held { path, patience });
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(())
}

fn try_lock(file: &File, path: &Path, manner: Manner) -> Result<bool, SlotError> {
    match manner {
        Manner::Nix => try_flock(file.try_lock(), path),
        Manner::Guix => try_fcntl(file, FlockOperation::NonBlockingLockExclusive, path),
    }
}

fn try_flock(tried: Result<(), TryLockError>, path: &Path) -> Result<bool, SlotError> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(SlotError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn try_fcntl(file: &File, operation: FlockOperation, path: &Path) -> Result<bool, SlotError> {
    match fcntl_lock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(SlotError::Io {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    #[tokio::test]
    async fn slots_are_taken_counted_and_released() {
        let folder = tempfile::tempdir().unwrap();
        let slots = SlotDirectory::open(folder.path().join("current-load")).unwrap();
        let machine = read_builders("ssh-ng://root@farm1 - - 2", "x")
            .machines
            .remove(0);
        let choice = slots.lock_choice().await.unwrap();

        let first = slots.occupancy(&machine, &choice).unwrap();
        assert_eq!(
            (first.used, first.free.as_ref().map(Slot::index)),
            (0, Some(0))
        );
        let second = slots.occupancy(&machine, &choice).unwrap();
        assert_eq!(
            (second.used, second.free.as_ref().map(Slot::index)),
            (1, Some(1))
        );
        assert_eq!(slots.used(&machine).unwrap(), 2);
        let third = slots.occupancy(&machine, &choice).unwrap();
        assert_eq!((third.used, third.free.is_none()), (2, true));

        drop(first);
        let looking = SlotDirectory::existing(folder.path().join("current-load"));
        assert_eq!(looking.used(&machine).unwrap(), 1);
        let nowhere = SlotDirectory::existing(folder.path().join("none"));
        assert_eq!(nowhere.used(&machine).unwrap(), 0);
        let fourth = slots.occupancy(&machine, &choice).unwrap();
        assert_eq!(
            (fourth.used, fourth.free.as_ref().map(Slot::index)),
            (1, Some(0))
        );
        let mut names: Vec<_> = std::fs::read_dir(folder.path().join("current-load"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "main-lock",
                "ssh-ng:__root@farm1-0",
                "ssh-ng:__root@farm1-1"
            ]
        );
    }

    #[tokio::test]
    async fn guix_has_a_directory_per_machine_which_a_list_may_name_twice() {
        let folder = tempfile::tempdir().unwrap();
        let slots = SlotDirectory::open_guix(folder.path()).unwrap();
        let mut machines = read_builders("ssh://a:2200 - - 2; ssh://a:2200 - - 2", "x").machines;
        for machine in &mut machines {
            machine.name = "a".to_owned();
        }
        let choice = slots.lock_choice().await.unwrap();
        // This process's own locks are no obstacle to it: both get the first slot.
        let mut taken = machines
            .iter()
            .map(|machine| slots.occupancy(machine, &choice).unwrap().free.unwrap());
        let (first, second) = (taken.next().unwrap(), taken.next().unwrap());
        assert_eq!(first.path(), folder.path().join("a:2200/0"));
        assert_eq!(second.path(), first.path());
        drop(second);
        assert!(!locked_for_others(first.path()), "closing has given it up");
        assert!(first.is_held().unwrap());
        let looking = SlotDirectory::existing_guix(folder.path());
        assert_eq!(
            looking.used(&machines[0]).unwrap(),
            0,
            "its own are not seen"
        );
        assert!(first.is_held().unwrap());
        assert!(locked_for_others(first.path()));
    }

    /// What other processes see: the kernel's table of locks.
    fn locked_for_others(path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = path.metadata().unwrap().ino();
        let table = std::fs::read_to_string("/proc/locks").unwrap();
        let ours = format!(":{inode} ");
        table
            .lines()
            .any(|line| line.contains("POSIX") && line.contains(&ours))
    }

    #[tokio::test]
    async fn nobody_else_can_lock_what_is_locked() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let slots = SlotDirectory::open(folder.path()).unwrap();
        let _held = slots.lock_choice().await.unwrap();
        let mode = folder.path().join("main-lock").metadata().unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_choice_lock_that_is_never_released_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let slots = SlotDirectory::open(folder.path()).unwrap();
        let _held = slots.lock_choice().await.unwrap();
        let error = slots.lock_choice().await.unwrap_err();
        assert!(matches!(error, SlotError::Held { .. }), "{error}");
    }
}
