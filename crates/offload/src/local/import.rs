//! One output on its way into the store: restored straight into its final path while it is
//! hashed, and removed again unless everything about it is as promised.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nar::{Digest, Durability, Observe, Restore, RestoreError, RestoreOptions, Written};
use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, HashFormat, Hasher, StorePath,
};
use worker_protocol::ValidPathInfo;

use super::hash_modulo::HashModulo;
use super::remove_tree;

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
    /// A flat fixed output that is not a plain file.
    #[error("fixed output is no regular file without the executable bit: {}", .0.display())]
    NotFlat(PathBuf),
    /// The restored file could not be read back.
    #[error("failed to read {} back: {source}", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Hashes content for its address.
#[derive(Debug)]
enum ContentHasher {
    Plain(Hasher),
    /// Of content that refers to its own path.
    Modulo(HashModulo),
}

impl ContentHasher {
    fn new(algorithm: HashAlgorithm, promised: &ValidPathInfo) -> Self {
        let path = &promised.path;
        match promised.info.references.contains(path) {
            true => {
                let digest = path.hash_part().as_bytes().try_into();
                let digest = digest.expect("a store path's digest is written in 32 letters");
                ContentHasher::Modulo(HashModulo::new(algorithm, digest))
            }
            false => ContentHasher::Plain(Hasher::new(algorithm)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            ContentHasher::Plain(hasher) => hasher.update(bytes),
            ContentHasher::Modulo(hasher) => hasher.update(bytes),
        }
    }

    /// Compares with the hash of an address.
    fn check(self, expected: &Hash) -> Result<(), Hash> {
        let (actual, another) = match self {
            ContentHasher::Plain(hasher) => (hasher.finish(), None),
            ContentHasher::Modulo(hasher) => {
                let [without, with] = hasher.finish();
                (without, Some(with))
            }
        };
        match actual == *expected || another.as_ref() == Some(expected) {
            true => Ok(()),
            false => Err(actual),
        }
    }
}

/// A path whose archive is coming, straight into its final place. Dropping it unfinished removes
/// what was restored.
#[derive(Debug)]
pub(super) struct Arrival {
    path: PathBuf,
    fixed: Option<(ContentAddress, ContentHasher)>,
    restore: Restore,
}

impl Arrival {
    /// Begins to restore `path` into `directory`, whose own path is `real_store_dir`. What an
    /// earlier attempt left there is removed.
    pub(super) fn begin(
        directory: &File,
        real_store_dir: &Path,
        path: &StorePath,
        fixed: Option<ContentAddress>,
    ) -> Result<Self, ImportError> {
        let hasher = |fixed: ContentAddress| {
            let hasher = Hasher::new(fixed.hash.algorithm());
            (fixed, ContentHasher::Plain(hasher))
        };
        Self::begin_hashing(directory, real_store_dir, path, fixed.map(hasher))
    }

    fn begin_hashing(
        directory: &File,
        real_store_dir: &Path,
        store_path: &StorePath,
        fixed: Option<(ContentAddress, ContentHasher)>,
    ) -> Result<Self, ImportError> {
        let path = real_store_dir.join(store_path.base_name());
        remove_tree(&path).map_err(|source| ImportError::Leftover {
            path: path.clone(),
            source,
        })?;
        let options = RestoreOptions {
            canonical: true,
            durability: Durability::Process,
            ..RestoreOptions::default()
        };
        let restore = Restore::new(directory, OsStr::new(store_path.base_name()), options)
            .map_err(|source| ImportError::Restore {
                path: path.clone(),
                source,
            })?;
        Ok(Arrival {
            path,
            fixed,
            restore,
        })
    }

    /// Where the path is restored.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the next bytes of the archive; says how many of them belong to it.
    pub(super) fn write(&mut self, input: &[u8]) -> Result<Written, ImportError> {
        let written = self
            .restore
            .write(input)
            .map_err(|source| ImportError::Restore {
                path: self.path.clone(),
                source,
            })?;
        if let Some((fixed, hasher)) = &mut self.fixed
            && fixed.method == ContentAddressMethod::Recursive
        {
            hasher.update(&input[..written.consumed]);
        }
        Ok(written)
    }

    /// Checks a fixed output's own hash, and keeps what was restored.
    pub(super) fn finish(self) -> Result<(), ImportError> {
        let Arrival {
            path,
            fixed,
            restore,
        } = self;
        if let Some((fixed, hasher)) = fixed {
            check_fixed(&path, &fixed, hasher)?;
        }
        restore
            .finish()
            .map_err(|source| ImportError::Restore { path, source })
    }
}

/// See the module's text. Dropping it unfinished removes what was restored.
#[derive(Debug)]
pub struct Import {
    promised: ValidPathInfo,
    arrival: Arrival,
    digest: Digest,
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
        let fixed = fixed.map(|fixed| {
            let hasher = ContentHasher::new(fixed.hash.algorithm(), &promised);
            (fixed, hasher)
        });
        let arrival = Arrival::begin_hashing(directory, real_store_dir, &promised.path, fixed)?;
        Ok(Import {
            promised,
            arrival,
            digest: Digest::new(),
        })
    }

    /// Takes the next bytes of the archive; says how many of them belong to it.
    ///
    /// # Errors
    /// When they are no archive, or the file system refuses.
    pub fn write(&mut self, input: &[u8]) -> Result<Written, ImportError> {
        let written = self.arrival.write(input)?;
        self.digest.observe(&input[..written.consumed]);
        Ok(written)
    }

    /// Checks size, hash and a fixed output's own hash, and keeps the output: it can be
    /// registered now.
    ///
    /// # Errors
    /// When anything is not as promised; the output is removed.
    pub fn finish(self) -> Result<ValidPathInfo, ImportError> {
        let Import {
            promised,
            arrival,
            digest,
        } = self;
        let path = arrival.path().to_owned();
        let fingerprint = digest.finish();
        let actual = Hash::sha256(fingerprint.sha256);
        if actual != promised.info.nar_hash.0 {
            return Err(ImportError::NarHash {
                path,
                actual: actual.print(HashFormat::Base32),
                promised: promised.info.nar_hash.0.print(HashFormat::Base32),
            });
        }
        if fingerprint.size != promised.info.nar_size {
            return Err(ImportError::NarSize {
                path,
                actual: fingerprint.size,
                promised: promised.info.nar_size,
            });
        }
        arrival.finish()?;
        Ok(promised)
    }
}

fn check_fixed(
    path: &PathBuf,
    fixed: &ContentAddress,
    hasher: ContentHasher,
) -> Result<(), ImportError> {
    let hasher = match fixed.method {
        ContentAddressMethod::Recursive => hasher,
        _ => hash_flat(path, hasher)?,
    };
    hasher
        .check(&fixed.hash)
        .map_err(|actual| ImportError::FixedOutput {
            path: path.clone(),
            specified: fixed.hash.print(HashFormat::Sri),
            actual: actual.print(HashFormat::Sri),
        })
}

/// Feeds the content of the file at `path` to `hasher`.
fn hash_flat(path: &PathBuf, mut hasher: ContentHasher) -> Result<ContentHasher, ImportError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| ImportError::ReadBack {
        path: path.clone(),
        source,
    };
    let metadata = path.symlink_metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 != 0 {
        return Err(ImportError::NotFlat(path.clone()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hasher),
            length => hasher.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nar::{Encoder, Event};
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
            info: PathInfo {
                deriver: None,
                nar_hash: NarHash(HashAlgorithm::Sha256.hash(archive)),
                references: BTreeSet::new(),
                registration_time: 1,
                nar_size: archive.len() as u64,
                ultimate: false,
                signatures: BTreeSet::new(),
                content_address: None,
            },
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
