//! One output on its way into the store: restored straight into its final path while it is
//! hashed, and removed again unless everything about it is as promised.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nar::{Durability, Restore, RestoreError, RestoreErrorKind, RestoreOptions, Written};
use store_path::{ContentAddress, StorePath};
use worker_protocol::ValidPathInfo;

use super::check::Check;
use super::{AuthenticateError, remove_tree};

/// Buffer for reading a file back, in bytes.
const BUFFER: usize = 256 << 10;

/// Why an output is not taken. Nothing of it is left in the store, or the text says what.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive is broken, or the file system refuses.
    #[error("failed to restore {}: {source}", path.display())]
    Restore {
        /// Where the output should have gone.
        path: PathBuf,
        /// What is wrong.
        source: RestoreError,
    },
    /// What an earlier attempt left there cannot be removed.
    #[error("failed to remove what an earlier attempt left at {}: {source}", path.display())]
    Leftover {
        /// Where the output should go.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no folder for it.
    #[error("failed to make a folder in {}: {source}", path.display())]
    Folder {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The archive is not the one that the machine described.
    #[error("{} has nar hash {actual}, but the machine promised {promised}", path.display())]
    NarHash {
        /// Where the output should have gone.
        path: PathBuf,
        /// Hash of what came.
        actual: String,
        /// Hash that was announced.
        promised: String,
    },
    /// The archive's size is not the one that the machine described.
    #[error("{} has nar size {actual}, but the machine promised {promised}", path.display())]
    NarSize {
        /// Where the output should have gone.
        path: PathBuf,
        /// Bytes that came.
        actual: u64,
        /// Bytes that were announced.
        promised: u64,
    },
    /// The archive does not end where the machine promised.
    #[error("{} is more than the {promised} bytes of an archive that the machine promised", path.display())]
    TooLong {
        /// Where the output should have gone.
        path: PathBuf,
        /// Bytes that were announced.
        promised: u64,
    },
    /// The content is not what the derivation says, or what the path follows from. The daemon does
    /// not check this after a hook (a wrong one was accepted by nix 2.3.7, 2.8.0, 2.26.3 and
    /// 2.34.8).
    #[error("hash mismatch in fixed-output derivation for {}: specified {specified}, got {actual}", path.display())]
    FixedOutput {
        /// Where the output should have gone.
        path: PathBuf,
        /// What the derivation or the path's content address says.
        specified: String,
        /// What came.
        actual: String,
    },
    /// A flat fixed output that is not a plain file.
    #[error("fixed output is no regular file without the executable bit: {}", .0.display())]
    NotFlat(PathBuf),
    /// What follows the archive in a Guix export makes no sense.
    #[error("{} does not end as an exported path does: {reason}", path.display())]
    Export {
        /// Where the output should have gone.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another path was exported than the one that was asked for.
    #[error("{} was asked for, but the machine exported {exported}", path.display())]
    OtherPath {
        /// Where the output should have gone.
        path: PathBuf,
        /// The path that came.
        exported: String,
    },
    /// An exported path is not signed.
    #[error("{} has no signature: the machine has no key to sign with, or does not let this user use it", .0.display())]
    Unsigned(PathBuf),
    /// An exported path is not signed as it must be.
    #[error("{} is not taken: {reason}", path.display())]
    Signature {
        /// Where the output should have gone.
        path: PathBuf,
        /// What is wrong, and with whose key.
        reason: String,
    },
    /// Whether an exported path may be taken cannot be found out here.
    #[error("failed to verify the signature of {}: {error}", path.display())]
    Verify {
        /// Where the output should have gone.
        path: PathBuf,
        /// What is wrong.
        error: AuthenticateError,
    },
    /// An exported path is larger than any may be.
    #[error("{} is larger than {maximum} bytes, the most that an output may have here (limit output)", path.display())]
    TooLarge {
        /// Where the output should have gone.
        path: PathBuf,
        /// How large it may be.
        maximum: u64,
    },
    /// This host's disk is nearly full.
    #[error("{} is not taken: this host's disk has {} MiB left, and {} MiB stay free (limit free-disk)", path.display(), free >> 20, least >> 20)]
    LowDisk {
        /// Where the output should have gone.
        path: PathBuf,
        /// What is free, in bytes.
        free: u64,
        /// What has to stay free, in bytes.
        least: u64,
    },
    /// What came is no archive.
    #[error("failed to read the archive of {}: {error}", path.display())]
    Archive {
        /// The store path.
        path: PathBuf,
        /// What is wrong, and where.
        error: nar::Error,
    },
    /// The restored file could not be read back.
    #[error("failed to read {} back: {source}", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl ImportError {
    /// Whether this host's file system is to blame, so that no other machine would do better.
    #[must_use]
    pub fn is_of_this_host(&self) -> bool {
        match self {
            ImportError::Restore { source, .. } => {
                matches!(source.kind, RestoreErrorKind::System { .. })
            }
            ImportError::Leftover { .. }
            | ImportError::Folder { .. }
            | ImportError::ReadBack { .. }
            | ImportError::Verify { .. }
            | ImportError::LowDisk { .. } => true,
            ImportError::NarHash { .. }
            | ImportError::NarSize { .. }
            | ImportError::TooLong { .. }
            | ImportError::TooLarge { .. }
            | ImportError::FixedOutput { .. }
            | ImportError::Archive { .. }
            | ImportError::Export { .. }
            | ImportError::OtherPath { .. }
            | ImportError::Unsigned(_)
            | ImportError::Signature { .. }
            | ImportError::NotFlat(_) => false,
        }
    }
}

/// See the module's text. Dropping it unfinished removes what was restored.
#[derive(Debug)]
pub struct Import {
    path: PathBuf,
    check: Check,
    restore: Restore,
}

impl Import {
    /// Begins to import into `directory`, whose path is `real_store_dir`, what `promised`
    /// describes. What an earlier attempt left there is removed.
    pub(super) fn begin(
        directory: &File,
        real_store_dir: &Path,
        promised: ValidPathInfo,
        fixed: Option<ContentAddress>,
    ) -> Result<Self, ImportError> {
        let (path, restore) = begin_restore(directory, real_store_dir, &promised.path)?;
        Ok(Import {
            check: Check::new(path.clone(), promised, fixed),
            path,
            restore,
        })
    }

    /// Takes the next bytes of the archive; says how many of them belong to it. Nothing is written
    /// of what lies behind the promised size.
    ///
    /// # Errors
    /// When they are no archive or more than was promised, or the file system refuses.
    pub fn write(&mut self, input: &[u8]) -> Result<Written, ImportError> {
        let input = &input[..input.len().min(self.check.room())];
        let written = self
            .restore
            .write(input)
            .map_err(|source| ImportError::Restore {
                path: self.path.clone(),
                source,
            })?;
        self.check.archive(&input[..written.consumed]);
        if self.check.room() == 0 && !written.finished {
            return Err(self.check.too_long());
        }
        Ok(written)
    }

    /// Checks size, hash and a content-addressed path's own hash, and keeps the output: it can be
    /// registered now.
    ///
    /// # Errors
    /// When anything is not as promised; the output is removed.
    pub fn finish(self) -> Result<ValidPathInfo, ImportError> {
        let Import {
            path,
            mut check,
            restore,
        } = self;
        if check.is_flat() {
            check.check_archive()?;
            read_flat(&path, |bytes| check.content(bytes))?;
        }
        let promised = check.finish()?;
        match restore.finish() {
            Ok(()) => Ok(promised),
            Err(source) => Err(ImportError::Restore { path, source }),
        }
    }
}

/// Begins to restore `store_path` into `directory`, whose own path is `real_store_dir`, and says
/// where. What an earlier attempt left there is removed.
pub(super) fn begin_restore(
    directory: &File,
    real_store_dir: &Path,
    store_path: &StorePath,
) -> Result<(PathBuf, Restore), ImportError> {
    let path = real_store_dir.join(store_path.base_name());
    remove_tree(&path).map_err(|source| ImportError::Leftover {
        path: path.clone(),
        source,
    })?;
    let options = RestoreOptions::default()
        .canonical(true)
        .durability(Durability::Process);
    match Restore::new(directory, OsStr::new(store_path.base_name()), options) {
        Ok(restore) => Ok((path, restore)),
        Err(source) => Err(ImportError::Restore { path, source }),
    }
}

/// Shows the content of the file at `path` to `take`.
pub(super) fn read_flat(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), ImportError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| ImportError::ReadBack {
        path: path.to_owned(),
        source,
    };
    let metadata = path.symlink_metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 != 0 {
        return Err(ImportError::NotFlat(path.to_owned()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            length => take(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {

    use nar::{Encoder, Event};
    use store_path::{ContentAddressMethod, HashAlgorithm};
    use worker_protocol::{NarHash, PathInfo};

    use super::*;

    fn archive(executable: bool) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut encoder = Encoder::new();
        for event in [
            Event::File {
                executable,
                size: 3,
            },
            Event::Data(b"fod"),
            Event::FileEnd,
        ] {
            encoder.encode(event, &mut archive).unwrap();
        }
        archive
    }

    fn promise(archive: &[u8]) -> ValidPathInfo {
        ValidPathInfo {
            path: StorePath::from_parts([1; 20], "fod").unwrap(),
            info: PathInfo::new(NarHash::of(archive), archive.len() as u64)
                .with_registration_time(1),
        }
    }

    /// Imports `archive` as `promised`; what is said without the folder's name.
    fn import(
        folder: &Path,
        archive: &[u8],
        promised: ValidPathInfo,
        fixed: Option<ContentAddress>,
    ) -> Result<(), String> {
        let path = folder.join(promised.path.base_name());
        let directory = File::open(folder).unwrap();
        let imported = Import::begin(&directory, folder, promised, fixed).and_then(|mut import| {
            let written = import.write(archive)?;
            assert_eq!(written.consumed, archive.len());
            import.finish().map(drop)
        });
        assert_eq!(
            path.symlink_metadata().is_ok(),
            imported.is_ok(),
            "kept if and only if good"
        );
        imported.map_err(|error| {
            error
                .to_string()
                .replace(&folder.display().to_string(), "STORE")
        })
    }

    fn fixed(
        method: ContentAddressMethod,
        algorithm: HashAlgorithm,
        bytes: &[u8],
    ) -> ContentAddress {
        let hash = algorithm.hash(bytes);
        ContentAddress { method, hash }
    }

    #[test]
    fn fixed_outputs_of_every_kind_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let plain = archive(false);
        let take =
            |archive: &[u8], fixed| import(folder.path(), archive, promise(archive), Some(fixed));
        for algorithm in [
            HashAlgorithm::Md5,
            HashAlgorithm::Sha1,
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha512,
        ] {
            let flat = fixed(ContentAddressMethod::Flat, algorithm, b"fod");
            assert_eq!(take(&plain, flat), Ok(()));
            let recursive = fixed(ContentAddressMethod::Recursive, algorithm, &plain);
            assert_eq!(take(&plain, recursive), Ok(()));
        }
        let flat = fixed(ContentAddressMethod::Flat, HashAlgorithm::Sha256, b"other");
        let recursive = fixed(
            ContentAddressMethod::Recursive,
            HashAlgorithm::Sha1,
            b"other",
        );
        let executable = fixed(ContentAddressMethod::Flat, HashAlgorithm::Sha256, b"fod");
        insta::assert_snapshot!(
            [
                take(&plain, flat),
                take(&plain, recursive),
                take(&archive(true), executable)
            ]
            .map(Result::unwrap_err)
            .join("\n")
        );
    }

    #[test]
    fn what_was_promised_must_come() {
        let folder = tempfile::tempdir().unwrap();
        let plain = archive(false);
        let take = |archive: &[u8], promised| import(folder.path(), archive, promised, None);
        let mut longer = promise(&plain);
        longer.info.nar_size += 8;
        let cut = {
            let directory = File::open(folder.path()).unwrap();
            let mut import =
                Import::begin(&directory, folder.path(), promise(&plain), None).unwrap();
            let written = import.write(&plain[..100]).unwrap();
            assert!(!written.finished);
            drop(import);
            folder.path().read_dir().unwrap().count()
        };
        assert_eq!(cut, 0, "an import that is given up leaves nothing");
        insta::assert_snapshot!(
            [
                take(&archive(true), promise(&plain)),
                take(&plain, longer),
                take(b"not an archive, not at all", promise(&plain))
            ]
            .map(Result::unwrap_err)
            .join("\n")
        );
    }

    #[test]
    fn what_an_earlier_attempt_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let plain = archive(false);
        let promised = promise(&plain);
        let path = folder.path().join(promised.path.base_name());
        std::fs::create_dir_all(path.join("half")).unwrap();
        import(folder.path(), &plain, promised, None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"fod");
    }
}
