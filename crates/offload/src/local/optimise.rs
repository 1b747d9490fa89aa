//! Sharing equal files: what `auto-optimise-store` has a store do with every path that comes in.
//!
//! ```text
//! STORE/.links/0ibvr5hmc7iqgczs51wx5s9p6sfmybcc4gnpn3ab9b6mvz9mhfpw    a hard link to a file of the store
//! ```
//!
//! Its name is the nix-base32 SHA-256 of the archive of that file alone: content and executable bit,
//! or a symlink's target. A file whose name is there becomes one more link to the same inode. The
//! rules are those of nix 2.3.7, 2.8.0, 2.26.3 and 2.34.8, which agree, so that `nix-store --optimise`
//! finds nothing left to do.

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nar::{Digest, Dump, DumpError, Observe};
use store_path::{Hash, HashFormat};
use tempfile::TempPath;

use crate::log::Level;

/// How often one file is tried, while others make and remove its entry.
const ATTEMPTS: u32 = 5;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// The time of everything in a store.
const STORE_TIME: Duration = Duration::from_secs(1);

/// Why equal files could not be shared.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}: {source}", path.display())]
pub struct OptimiseError {
    /// What was being done, as a verb.
    action: &'static str,
    /// With which file.
    path: PathBuf,
    /// What the operating system said.
    source: io::Error,
}

/// Takes what a person should know, and how much it matters.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Level, String);

/// The `.links` of one store.
#[derive(Debug)]
pub(super) struct Links<'a> {
    /// Where the store's files are.
    store: &'a Path,
    folder: PathBuf,
    /// For reading files.
    buffer: Vec<u8>,
}

/// What came of an attempt to share a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It is shared, or stays alone for good.
    Done,
    /// Somebody else has made or removed the entry meanwhile.
    Overtaken,
}

impl<'a> Links<'a> {
    /// The links of the store whose files are in `store`, made if they are not there.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(super) fn open(store: &'a Path) -> Result<Self, OptimiseError> {
        let folder = store.join(".links");
        match std::fs::create_dir(&folder) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                Err(failed("make", &folder, source))
            }
            _ => Ok(Links {
                store,
                folder,
                buffer: vec![0; BUFFER],
            }),
        }
    }

    /// Shares every file and symlink of the tree at `top`, a canonical path of the store that is not
    /// valid yet. Directories are left as canonical as they were.
    ///
    /// # Errors
    /// When something cannot be read or linked; what was shared by then stays so.
    pub(super) fn share(&mut self, top: &Path, tell: Tell<'_>) -> Result<(), OptimiseError> {
        let mut open = vec![top.to_owned()];
        while let Some(path) = open.pop() {
            let own = metadata(&path)?;
            if own.is_dir() {
                // All names before the first of them is replaced.
                open.extend(entries(&path)?);
            } else {
                self.share_file(&path, &own, tell)?;
            }
        }
        Ok(())
    }

    fn share_file(
        &mut self,
        path: &Path,
        own: &Metadata,
        tell: Tell<'_>,
    ) -> Result<(), OptimiseError> {
        if !own.is_file() && !own.is_symlink() {
            return Ok(());
        }
        if own.is_file() && own.mode() & 0o200 != 0 {
            let message = format!("skipping suspicious writable file '{}'", path.display());
            tell(Level::Warning, message);
            return Ok(());
        }
        let name = self.name(path)?;
        let entry = self.folder.join(name);
        for _ in 0..ATTEMPTS {
            if self.try_to_share(path, own, &entry, tell)? == Attempt::Done {
                break;
            }
        }
        Ok(())
    }

    /// The name of a file's entry.
    fn name(&mut self, path: &Path) -> Result<String, OptimiseError> {
        let unread = |error: DumpError| failed("read", path, error.into());
        let mut dump = Dump::new(path).map_err(unread)?;
        let mut digest = Digest::new();
        loop {
            match dump.fill(&mut self.buffer).map_err(unread)? {
                0 => break,
                length => digest.observe(&self.buffer[..length]),
            }
        }
        Ok(Hash::sha256(digest.finish().sha256).digits(HashFormat::Base32))
    }

    fn try_to_share(
        &self,
        path: &Path,
        own: &Metadata,
        entry: &Path,
        tell: Tell<'_>,
    ) -> Result<Attempt, OptimiseError> {
        match entry.symlink_metadata() {
            Ok(found) if found.ino() == own.ino() => return Ok(Attempt::Done),
            Ok(found) if found.size() == own.size() => return self.replace(path, own, entry, tell),
            Ok(_) => {
                let message = format!(
                    "removing corrupted link '{}'; there may be more corrupted paths: \
                     `nix-store --verify --check-contents --repair` fixes them",
                    entry.display()
                );
                tell(Level::Warning, message);
                gone(std::fs::remove_file(entry))
                    .map_err(|error| failed("remove", entry, error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", entry, error)),
        }
        match std::fs::hard_link(path, entry) {
            Ok(()) => Ok(Attempt::Done),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Attempt::Overtaken),
            // Of ext4's directories: they take no more names, and nothing else is wrong.
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let (entry, path) = (entry.display(), path.display());
                tell(
                    Level::Info,
                    format!("cannot link '{entry}' to '{path}': {error}"),
                );
                Ok(Attempt::Done)
            }
            Err(error) => Err(failed("link", entry, error)),
        }
    }

    /// Puts another link to `entry` in the place of `path`, from one moment to the next.
    fn replace(
        &self,
        path: &Path,
        own: &Metadata,
        entry: &Path,
        tell: Tell<'_>,
    ) -> Result<Attempt, OptimiseError> {
        let link = tempfile::Builder::new()
            .prefix(".tmp-link-")
            .make_in(self.store, |link| std::fs::hard_link(entry, link));
        let link = match link {
            Ok(link) => link.into_temp_path(),
            // As empty files have on many file systems.
            Err(error) if error.kind() == ErrorKind::TooManyLinks => {
                if own.size() > 0 {
                    let message = format!("'{}' has maximum number of links", entry.display());
                    tell(Level::Info, message);
                }
                return Ok(Attempt::Done);
            }
            // A garbage collection removes what has no other link.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Overtaken),
            Err(error) => return Err(failed("link to", entry, error)),
        };
        match self.put(link, path)? {
            Err(error) if error.kind() != ErrorKind::TooManyLinks => {
                Err(failed("replace", path, error))
            }
            // Some file systems count one link too many while they rename.
            _ => Ok(Attempt::Done),
        }
    }

    /// Renames `link` to `path`. The store's own directory is writable already, and is left alone.
    fn put(&self, link: TempPath, path: &Path) -> Result<io::Result<()>, OptimiseError> {
        let directory = path.parent().filter(|parent| *parent != self.store);
        if let Some(directory) = directory {
            // A daemon that is not root must not write into what nobody may write.
            std::fs::set_permissions(directory, Permissions::from_mode(0o755))
                .map_err(|source| failed("make writable", directory, source))?;
        }
        let renamed = link.persist(path).map_err(|refused| refused.error);
        if let Some(directory) = directory {
            make_canonical(directory)
                .map_err(|source| failed("make canonical", directory, source))?;
        }
        Ok(renamed)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, OptimiseError> {
    let entries = std::fs::read_dir(directory);
    let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(|source| failed("read", directory, source))
}

fn make_canonical(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o555))?;
    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + STORE_TIME);
    File::open(directory)?.set_times(times)
}

fn metadata(path: &Path) -> Result<Metadata, OptimiseError> {
    path.symlink_metadata()
        .map_err(|source| failed("look at", path, source))
}

/// Removing what is not there any more is no failure.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> OptimiseError {
    OptimiseError {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
