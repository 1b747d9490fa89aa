//! Outputs that are on a machine, written down for whoever asks for them on another connection.
//!
//! Nix 2.26.3 fetches each output of a build over a connection of its own, and so from a process of
//! its own where this one is started by a `builders` line.
//!
//! A file per output, in the worker protocol's own encoding: a number for the layout, the machine's
//! URI, what is known of the path, its content address or none. It is removed
//! when it is old. Nothing here is needed by who built: where it cannot be written, only that connection
//! has the output.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use store_path::{ContentAddress, StoreDir, StorePath};
use worker_protocol::wire::{Decoder, Encoder, Stop, limit};
use worker_protocol::{Context, ValidPathInfo, Value, Version};

/// The layout of a file.
const LAYOUT: u64 = 1;
/// How long an output is looked for where it was made. Clients ask at once; nobody keeps it there from
/// being collected as garbage.
const LASTS: Duration = Duration::from_secs(3600);
/// Largest file that is read, in bytes: as many references as any path has, and more.
const MAX_FILE: u64 = 16 << 20;

/// The directory of records.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    context: Context,
}

/// One output on a machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// The machine's URI.
    pub(super) machine: String,
    pub(super) valid: ValidPathInfo,
    /// What its content must be.
    pub(super) address: Option<ContentAddress>,
}

impl Records {
    pub(super) fn new(directory: PathBuf, store_dir: StoreDir) -> Self {
        let version = Version::NIX_NEWEST;
        let context = Context::new(store_dir, version);
        Records { directory, context }
    }

    /// Writes a record, and removes those that last no more.
    pub(super) fn write(&self, record: &Record) {
        let path = &record.valid.path;
        if let Err(_not_needed) = self.replace(path, &self.encode(record)) {
            let _ = fs::remove_file(self.file(path));
        }
        self.remove_old();
    }

    /// What is written down of `path`, if it still lasts.
    pub(super) fn read(&self, path: &StorePath) -> Option<Record> {
        let file = self.file(path);
        let found = file.metadata().ok()?;
        if is_old(&found) || found.len() > MAX_FILE {
            return None;
        }
        let record = self.decode(&fs::read(file).ok()?).ok()?;
        (record.valid.path == *path).then_some(record)
    }

    fn file(&self, path: &StorePath) -> PathBuf {
        self.directory.join(path.base_name())
    }

    fn replace(&self, path: &StorePath, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(bytes)?;
        file.persist(self.file(path))?;
        Ok(())
    }

    fn remove_old(&self) {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            if entry.metadata().is_ok_and(|found| is_old(&found)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn encode(&self, record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.word(LAYOUT).bytes(record.machine.as_bytes());
        record.valid.encode(&mut encoder, &self.context);
        record.address.encode(&mut encoder, &self.context);
        bytes
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record, Stop> {
        let mut decoder = Decoder::new(bytes);
        decoder.length(LAYOUT as usize)?;
        let record = Record {
            machine: decoder.text(limit::PATH)?.to_string_lossy().into_owned(),
            valid: Value::decode(&mut decoder, &self.context)?,
            address: Value::decode(&mut decoder, &self.context)?,
        };
        decoder.finish()?;
        Ok(record)
    }
}

/// A clock that was set back makes nothing last longer.
fn is_old(found: &fs::Metadata) -> bool {
    let age = found
        .modified()
        .map(|time| SystemTime::now().duration_since(time));
    !matches!(age, Ok(Ok(age)) if age < LASTS)
}

/// Where records are kept, below the directory of what is learnt about machines.
pub(super) fn directory(knowledge: &Path) -> PathBuf {
    knowledge.join("outputs")
}

#[cfg(test)]
mod tests {
    use worker_protocol::{NarHash, PathInfo};

    use super::*;

    fn record() -> Record {
        let path: StorePath = "1b9p07z77phvv2hf6gm9f28syp39f1ag-b".parse().unwrap();
        let address = "fixed:r:sha256:0c5b8vw40d1178xlpddw65q9gf1h2186jcc3p4swinwggbllv8mk";
        Record {
            machine: "ssh-ng://farm1".to_owned(),
            valid: ValidPathInfo {
                path: path.clone(),
                info: PathInfo::new(NarHash([7; 32]), 9)
                    .with_references([path])
                    .with_registration_time(1)
                    .with_ultimate(true)
                    .with_signatures(["key:AA=="]),
            },
            address: Some(address.parse().unwrap()),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("outputs"), StoreDir::NIX);
        let record = record();
        let path = &record.valid.path;
        assert_eq!(records.read(path), None);
        records.write(&record);
        assert_eq!(records.read(path), Some(record.clone()));
        assert_eq!(records.directory.read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_is_old_or_makes_no_sense_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().to_owned(), StoreDir::NIX);
        let record = record();
        let path = &record.valid.path;
        let bytes = records.encode(&record);
        for cut in 0..bytes.len() {
            records.replace(path, &bytes[..cut]).unwrap();
            assert_eq!(records.read(path), None, "{cut} bytes");
        }
        records.replace(path, &bytes).unwrap();
        let file = fs::File::open(records.file(path)).unwrap();
        file.set_modified(SystemTime::now() - LASTS).unwrap();
        assert_eq!(records.read(path), None);
        records.remove_old();
        assert!(!records.file(path).exists());
    }
}
