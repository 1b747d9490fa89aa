//! Paths that the garbage collector must keep while this process lives, as Nix's own programs say so.
//!
//! They stand in `STATE/temproots/PID`, each ended by a NUL, in a file that is locked while its process
//! lives. A collector that is at work holds `STATE/gc.lock` and has read these files already: since nix
//! 2.5 it is told at `STATE/gc-socket/socket`, a line for each path, which it answers with `1`; before,
//! its end is waited for.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::LocalError;

/// Pause between two tries to get past a collector.
const PAUSE: Duration = Duration::from_millis(50);
/// What a collector says when it has heard of a path.
const HEARD: u8 = b'1';

/// The roots of this process. They are gone when it is dropped.
#[derive(Debug)]
pub(super) struct TemporaryRoots {
    state_dir: PathBuf,
    path: PathBuf,
    file: File,
}

impl TemporaryRoots {
    /// Makes this process's file in `state_dir`, without any root.
    ///
    /// # Errors
    /// When the file system refuses, or not until `deadline`.
    pub(super) async fn create(state_dir: &Path, deadline: Instant) -> Result<Self, LocalError> {
        let folder = state_dir.join("temproots");
        let path = folder.join(std::process::id().to_string());
        let failed = |source| LocalError::TemporaryRoot {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        loop {
            // One that is there is of a process that has ended.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
            let file = open(&path).map_err(failed)?;
            // Shared: it keeps a collector from taking it for a dead process's, but not from reading.
            let is_locked = is_locked(file.try_lock_shared()).map_err(failed)?;
            // A collector that was faster has removed it, and marked it so.
            if is_locked && file.metadata().map_err(failed)?.len() == 0 {
                let state_dir = state_dir.to_owned();
                return Ok(TemporaryRoots {
                    state_dir,
                    path,
                    file,
                });
            }
            pause(deadline).await.map_err(failed)?;
        }
    }

    /// Adds `paths` of the store at `store_dir`. Whether they are valid has to be asked afterwards.
    ///
    /// # Errors
    /// When the file system refuses, or a collector is in the way until `deadline`.
    pub(super) async fn add(
        &mut self,
        store_dir: &StoreDir,
        paths: &BTreeSet<StorePath>,
        deadline: Instant,
    ) -> Result<(), LocalError> {
        let lock_path = self.state_dir.join("gc.lock");
        let failed = |source| LocalError::TemporaryRoot {
            path: lock_path.clone(),
            source,
        };
        let lock = open(&lock_path).map_err(failed)?;
        let socket = self.state_dir.join("gc-socket/socket");
        let paths: Vec<_> = paths.iter().map(|path| store_dir.print(path)).collect();
        // While it is held no collector begins.
        while !is_locked(lock.try_lock_shared()).map_err(failed)? {
            if let Ok(Ok(())) = timeout_at(deadline, tell(&socket, &paths)).await {
                break;
            }
            pause(deadline).await.map_err(failed)?;
        }
        let mut text = paths.join("\0");
        text.push('\0');
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| LocalError::TemporaryRoot {
                path: self.path.clone(),
                source,
            })
    }
}

impl Drop for TemporaryRoots {
    fn drop(&mut self) {
        // A collector removes what stays once the lock is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Tells the collector that is at work.
async fn tell(socket: &Path, paths: &[String]) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    for path in paths {
        stream.write_all(format!("{path}\n").as_bytes()).await?;
        if stream.read_u8().await? != HEARD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

async fn pause(deadline: Instant) -> io::Result<()> {
    if Instant::now() >= deadline {
        let message = "the garbage collector is in the way (bound output-lock)";
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

fn is_locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// For this user alone: whoever can read it can lock it.
fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn paths(names: &[&str]) -> BTreeSet<StorePath> {
        let paths = names.iter();
        let paths = paths.map(|name| StorePath::from_parts([1; 20], name).unwrap());
        paths.collect()
    }

    fn own_file(state_dir: &Path) -> PathBuf {
        state_dir
            .join("temproots")
            .join(std::process::id().to_string())
    }

    async fn add(state_dir: &Path, names: &[&str]) -> Result<TemporaryRoots, LocalError> {
        let deadline = Instant::now() + PATIENCE;
        let mut roots = TemporaryRoots::create(state_dir, deadline).await?;
        roots.add(&StoreDir::NIX, &paths(names), deadline).await?;
        Ok(roots)
    }

    #[tokio::test]
    async fn they_stand_in_a_locked_file_while_they_live() {
        let folder = tempfile::tempdir().unwrap();
        let file = own_file(folder.path());
        std::fs::create_dir(folder.path().join("temproots")).unwrap();
        std::fs::write(&file, "left by a process that is dead\0").unwrap();
        let roots = add(folder.path(), &["a", "b"]).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.split_terminator('\0').collect();
        let store = "/nix/store/00000000000000000000000000000000";
        assert_eq!(lines.len(), 2, "{text:?}");
        assert_eq!(lines[0].len(), format!("{store}-a").len(), "{text:?}");
        assert!(
            lines[0].ends_with("-a") && lines[1].ends_with("-b"),
            "{text:?}"
        );
        // So a collector asks whether the process lives.
        let seen = open(&file).unwrap();
        assert!(matches!(seen.try_lock(), Err(TryLockError::WouldBlock)));
        drop(roots);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_collector_at_work_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let gc_lock = open(&folder.path().join("gc.lock")).unwrap();
        gc_lock.lock().unwrap();
        std::fs::create_dir(folder.path().join("gc-socket")).unwrap();
        let socket = folder.path().join("gc-socket/socket");
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let collect = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while heard.iter().filter(|byte| **byte == b'\n').count() < 2 {
                stream.read_buf(&mut heard).await.unwrap();
                stream.write_all(&[HEARD]).await.unwrap();
            }
            String::from_utf8(heard).unwrap()
        };
        let (roots, heard) = tokio::join!(add(folder.path(), &["a", "b"]), collect);
        let text = std::fs::read_to_string(own_file(folder.path())).unwrap();
        assert_eq!(text.replace('\0', "\n"), heard);
        drop(roots.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_listen_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let gc_lock = open(&folder.path().join("gc.lock")).unwrap();
        gc_lock.lock().unwrap();
        let error = add(folder.path(), &["a"]).await.unwrap_err().to_string();
        insta::assert_snapshot!(
            error.replace(&folder.path().display().to_string(), "STATE"),
            @"failed to write STATE/gc.lock, which keeps an output from the garbage collector: the garbage collector is in the way (bound output-lock)"
        );
        drop(gc_lock);
        drop(add(folder.path(), &["a"]).await.unwrap());
    }
}
