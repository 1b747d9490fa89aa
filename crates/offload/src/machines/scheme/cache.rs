//! What `guix repl` made of a machine file, kept for as long as the file stays what it is.

use std::fs::Metadata;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use store_path::HashAlgorithm;

use super::file::read_bounded;

use crate::state_file;

/// What tells a file from what stood there before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    path: PathBuf,
    /// Whose home directory the program saw.
    home: Option<PathBuf>,
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// The same of its name, its mode and its owner: no one can set this one back.
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn new(path: &Path, home: Option<&Path>, metadata: &Metadata) -> Self {
        Identity {
            path: path.to_owned(),
            home: home.map(Path::to_owned),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    identity: Identity,
    /// Seconds since 1970.
    evaluated: u64,
    text: String,
}

/// A directory of evaluations. What is unreadable in it counts as not there.
#[derive(Debug, Clone)]
pub(super) struct Cache<'a> {
    pub(super) directory: &'a Path,
    pub(super) max_age: Duration,
}

impl Cache<'_> {
    /// What was evaluated for this very file, unless that is too long ago or in the future.
    pub(super) fn get(&self, identity: &Identity) -> Option<String> {
        let entry = read_bounded(&self.path(identity)).ok()?;
        let entry: Entry = serde_json::from_str(&entry).ok()?;
        let age = now().checked_sub(entry.evaluated)?;
        let fresh = entry.identity == *identity && age < self.max_age.as_secs();
        fresh.then_some(entry.text)
    }

    /// Keeps what was evaluated. It is a help, not a need: who cannot keep it evaluates again.
    pub(super) fn put(&self, identity: Identity, text: &str) {
        let path = self.path(&identity);
        let entry = Entry {
            identity,
            evaluated: now(),
            text: text.to_owned(),
        };
        let write = || {
            state_file::create_directory(self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(self.directory)?;
            state_file::hand_over(file.as_file(), self.directory)?;
            file.write_all(&serde_json::to_vec(&entry)?)?;
            file.persist(&path)?;
            std::io::Result::Ok(())
        };
        let _ = write();
    }

    /// One for each machine file: a new evaluation replaces the last.
    fn path(&self, identity: &Identity) -> PathBuf {
        let path = identity.path.as_os_str().as_encoded_bytes();
        let hash = HashAlgorithm::Sha256.hash(path);
        let name = data_encoding::HEXLOWER.encode(&hash.digest()[..16]);
        self.directory.join(format!("machines-{name}.json"))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
