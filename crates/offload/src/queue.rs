//! Waiting for a slot in the order in which it was asked for, across processes.
//!
//! Everybody who waits for the same machines holds a numbered ticket, a locked file, and waits for
//! the locks of all that were there before. A lock is released when its holder ends, however it
//! ends, so that nobody waits for the dead.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_path::HashAlgorithm;

use crate::machines::Machine;
use crate::slots::{LOCK_WAIT, SlotError, lock_in_time, open_lock};
use crate::state_file;

/// Pause between two looks at whoever is next before us.
const PAUSE: Duration = Duration::from_millis(10);

/// The directory of queues.
#[derive(Debug, Clone)]
pub struct QueueDirectory {
    path: PathBuf,
    /// How long the locks are waited for that others hold for a moment.
    pub lock_wait: Duration,
}

/// A place in a queue. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket {
    directory: PathBuf,
    number: u64,
    _file: File,
}

impl QueueDirectory {
    /// Keeps queues in `path` (Nix: `/nix/var/nix/offload/queues`), which is created when somebody
    /// has to wait.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        QueueDirectory {
            path: path.into(),
            lock_wait: LOCK_WAIT,
        }
    }

    /// Joins the queue of those who wait for any of `machines`.
    ///
    /// # Errors
    /// When the files cannot be made, or not be locked within `lock_wait`.
    pub async fn join<'a>(
        &self,
        machines: impl Iterator<Item = &'a Machine>,
    ) -> Result<Ticket, SlotError> {
        let mut names: Vec<_> = machines.map(|machine| machine.uri.as_str()).collect();
        names.sort_unstable();
        let hash = HashAlgorithm::Sha256.hash(names.join("\n").as_bytes());
        let name = data_encoding::HEXLOWER.encode(&hash.digest()[..16]);
        let directory = self.path.join(name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SlotError::Io { path, source }
        };
        state_file::create_directory(&directory).map_err(failed(&directory))?;
        let last = directory.join("last");
        // Whoever holds this lock only writes two small files.
        let mut counter = open_lock(&last)?;
        lock_in_time(&counter, &last, self.lock_wait).await?;
        let number = draw(&mut counter, &directory).map_err(failed(&last))?;
        let path = ticket_path(&directory, number);
        let file = open_lock(&path)?;
        lock_in_time(&file, &path, self.lock_wait).await?;
        Ok(Ticket {
            directory,
            number,
            _file: file,
        })
    }
}

impl Ticket {
    /// Waits until nobody who came before is left. May be dropped at any time.
    ///
    /// # Errors
    /// When the tickets cannot be looked at.
    pub async fn wait_for_turn(&self) -> Result<(), SlotError> {
        while let Some(before) = self.next_before()? {
            while is_held(&before)? {
                tokio::time::sleep(PAUSE).await;
            }
            // Of one who ended without leaving.
            let _ = std::fs::remove_file(&before);
        }
        Ok(())
    }

    /// The last ticket before this one.
    fn next_before(&self) -> Result<Option<PathBuf>, SlotError> {
        let failed = |source| SlotError::Io {
            path: self.directory.clone(),
            source,
        };
        let before = numbers(&self.directory).map_err(failed)?;
        let last = before.filter(|number| *number < self.number).max();
        Ok(last.map(|number| ticket_path(&self.directory, number)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Before the lock goes: nobody may find a file whose holder has left.
        let _ = std::fs::remove_file(ticket_path(&self.directory, self.number));
    }
}

/// Without leading zeros the numbers would not sort in a listing, for people who look.
fn ticket_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}"))
}

/// The next number. Where the last one cannot be read, that of the largest ticket counts: nobody comes before those who
/// wait.
fn draw(counter: &mut File, directory: &Path) -> std::io::Result<u64> {
    let mut text = String::new();
    let read = counter.take(32).read_to_string(&mut text);
    let last = match read.ok().and_then(|_| text.trim().parse::<u64>().ok()) {
        Some(last) => last,
        None => numbers(directory)?.max().unwrap_or(0),
    };
    let number = last.wrapping_add(1);
    // Always as long: whoever ends in between leaves a number all the same.
    counter.seek(SeekFrom::Start(0))?;
    counter.write_all(format!("{number:020}").as_bytes())?;
    counter.set_len(20)?;
    Ok(number)
}

/// The numbers of all tickets.
fn numbers(directory: &Path) -> std::io::Result<impl Iterator<Item = u64>> {
    let names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<Vec<_>>>()?;
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
    Ok(names.into_iter().filter_map(number))
}

/// Whether the holder of the ticket at `path` still waits.
fn is_held(path: &Path) -> Result<bool, SlotError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            let path = path.to_owned();
            return Err(SlotError::Io { path, source });
        }
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => {
            let path = path.to_owned();
            Err(SlotError::Io { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::machines::read_builders;

    #[tokio::test(start_paused = true)]
    async fn first_come_first_served() {
        let folder = tempfile::tempdir().unwrap();
        let queues = QueueDirectory::new(folder.path());
        let machines = read_builders("ssh-ng://a; ssh-ng://b", "x").machines;
        let join = async || queues.join(machines.iter()).await.unwrap();
        let [first, second, third, fourth] =
            [join().await, join().await, join().await, join().await];
        let served = RefCell::new(Vec::new());
        let serve = async |name: u8, ticket: Ticket| {
            ticket.wait_for_turn().await.unwrap();
            served.borrow_mut().push(name);
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        // One leaves without having been served; the others keep their places.
        drop(second);
        tokio::join!(serve(4, fourth), serve(3, third), serve(1, first));
        assert_eq!(*served.borrow(), [1, 3, 4]);
        let left: Vec<_> = folder.path().read_dir().unwrap().collect();
        let left = left[0].as_ref().unwrap().path().read_dir().unwrap().count();
        assert_eq!(left, 1, "only the counter");
    }

    /// The disk was full when the counter was written, or somebody emptied it.
    #[tokio::test(start_paused = true)]
    async fn whoever_waits_keeps_the_place_when_the_counter_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let queues = QueueDirectory::new(folder.path());
        let machines = read_builders("ssh-ng://a", "x").machines;
        let join = async || queues.join(machines.iter()).await.unwrap();
        let waits = [join().await, join().await];
        for counter in [
            "",
            "nonsense that is longer than any number",
            "00000000000000000001x",
        ] {
            std::fs::write(waits[0].directory.join("last"), counter).unwrap();
            let [comes, next] = [join().await, join().await];
            assert!(waits[1].number < comes.number, "{counter:?}");
            assert!(comes.number < next.number, "{counter:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_dead_or_for_other_machines() {
        let folder = tempfile::tempdir().unwrap();
        let queues = QueueDirectory::new(folder.path());
        let machines = read_builders("ssh-ng://a; ssh-ng://b", "x").machines;
        let before = queues.join(machines.iter()).await.unwrap();
        let path = ticket_path(&before.directory, before.number);
        drop(before);
        // As a process leaves it that was killed.
        std::fs::write(path, "").unwrap();
        let ticket = queues.join(machines.iter()).await.unwrap();
        ticket.wait_for_turn().await.unwrap();
        let other = queues.join(machines[..1].iter()).await.unwrap();
        other.wait_for_turn().await.unwrap();
    }
}
