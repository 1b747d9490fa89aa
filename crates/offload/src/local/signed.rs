//! One output that a machine exports, on its way into a Guix store: restored straight into its
//! final path while it is hashed, and removed again unless it is what was asked for and signed.

use std::fs::File;
use std::path::{Path, PathBuf};

use guix_signature::ItemHasher;
use nar::Restore;
use store_path::{ContentAddress, ContentAddressMethod, HashFormat, Hasher, StoreDir, StorePath};
use worker_protocol::export::Trailer;
use worker_protocol::wire::Decoder;
use worker_protocol::{Context, NarHash, PathInfo, ValidPathInfo, Value, Version};

use super::import::{begin_restore, read_flat};
use super::keys::Untrusted;
use super::limits::Meter;
use super::{Authority, ImportError, Limits, remove_tree};

/// Longest trailer behind an archive, in bytes: a path of 300 bytes for each reference.
const MAX_TRAILER: usize = 32 << 20;

/// See the module's text. Dropping it unfinished removes what was restored.
#[derive(Debug)]
pub struct SignedImport {
    restore: Restore,
    place: PathBuf,
    path: StorePath,
    fixed: Option<(ContentAddress, Hasher)>,
    context: Context,
    hasher: ItemHasher,
    meter: Meter,
    /// What came behind the archive, once that is complete.
    trailer: Option<Vec<u8>>,
}

/// Where an output goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The directory that gets it, open.
    pub(crate) directory: &'a File,
    /// Its name.
    pub(crate) folder: &'a Path,
    /// The directory that store paths name.
    pub(crate) store_dir: &'a StoreDir,
    /// How large it may be.
    pub(crate) limits: Limits,
}

/// An output that was restored, and is not registered. Dropping it removes it, unless it is
/// [kept](Restored::keep).
#[derive(Debug)]
pub struct Restored {
    /// What is known of it.
    pub info: ValidPathInfo,
    place: Option<PathBuf>,
}

impl Restored {
    /// Leaves it in its place, for the daemon to register.
    #[must_use]
    pub fn keep(mut self) -> ValidPathInfo {
        self.place = None;
        self.info.clone()
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // What is left is not valid: the daemon removes it before it builds again.
            let _ = remove_tree(place);
        }
    }
}

impl SignedImport {
    /// Begins to bring in `path`. `fixed` is what its derivation says of the content, if it says anything.
    pub(crate) fn begin(
        destination: Destination<'_>,
        path: StorePath,
        fixed: Option<ContentAddress>,
    ) -> Result<Self, ImportError> {
        let Destination {
            directory,
            folder,
            store_dir,
            limits,
        } = destination;
        let (place, restore) = begin_restore(directory, folder, &path)?;
        let looked_at = directory
            .try_clone()
            .map_err(|source| ImportError::Leftover {
                path: place.clone(),
                source,
            })?;
        Ok(SignedImport {
            restore,
            place,
            path,
            fixed: fixed.map(|fixed| (fixed, Hasher::new(fixed.hash.algorithm()))),
            context: Context::new(store_dir.clone(), Version::GUIX_NEWEST),
            hasher: ItemHasher::new(),
            meter: Meter::new(limits, looked_at),
            trailer: None,
        })
    }

    /// Takes the next bytes of the export: an archive, and the trailer behind it.
    ///
    /// # Errors
    /// When they are no archive, it or the trailer is too long, or the file system refuses or is nearly full.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ImportError> {
        if self.trailer.is_none() {
            let written = self.restore.write(bytes);
            let written = written.map_err(|source| ImportError::Restore {
                path: self.place.clone(),
                source,
            })?;
            let (archive, rest) = bytes.split_at(written.consumed);
            self.hasher.update(archive);
            if let Some((fixed, hasher)) = &mut self.fixed
                && fixed.method == ContentAddressMethod::Recursive
            {
                hasher.update(archive);
            }
            self.meter.take(archive.len(), &self.place)?;
            bytes = rest;
            if written.finished {
                self.trailer = Some(Vec::new());
            }
        }
        if let Some(trailer) = &mut self.trailer {
            if trailer.len() + bytes.len() > MAX_TRAILER {
                return Err(self.malformed(format!("more than {MAX_TRAILER} bytes follow")));
            }
            trailer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Checks that this is the path that was asked for, signed by a key that `authority` knows, and
    /// that a fixed output has its hash.
    ///
    /// # Errors
    /// When anything is not so; the output is removed.
    pub(crate) async fn finish(self, authority: &Authority) -> Result<Restored, ImportError> {
        let Some(bytes) = &self.trailer else {
            return Err(self.malformed("the archive is cut off".to_owned()));
        };
        let mut decoder = Decoder::new(bytes);
        let decoded = Trailer::decode(&mut decoder, &self.context)
            .and_then(|trailer| decoder.finish().map(|()| trailer));
        let trailer = match decoded {
            Ok(trailer) => trailer,
            Err(stop) => return Err(self.malformed(stop.to_string())),
        };
        let place = self.place.clone();
        if trailer.path != self.path {
            return Err(ImportError::OtherPath {
                path: place,
                exported: self.context.store_dir.print(&trailer.path),
            });
        }
        let Some(signature) = &trailer.signature else {
            return Err(ImportError::Unsigned(place));
        };
        let nar_hash = NarHash(self.hasher.nar_hash());
        let hash = self.hasher.finish(&trailer.signed_bytes(&self.context));
        match authority.verify(signature.as_bytes(), &hash).await {
            Ok(()) => {}
            Err(Untrusted::Signature(reason)) => {
                return Err(ImportError::Signature {
                    path: place,
                    reason,
                });
            }
            Err(Untrusted::Unknown(error)) => {
                return Err(ImportError::Verify { path: place, error });
            }
        }
        if let Some((fixed, hasher)) = self.fixed {
            check_fixed(&place, &fixed, hasher)?;
        }
        if let Err(source) = self.restore.finish() {
            return Err(ImportError::Restore {
                path: place,
                source,
            });
        }
        let info = PathInfo::new(nar_hash, self.meter.size())
            .with_deriver(trailer.deriver)
            .with_references(trailer.references);
        Ok(Restored {
            info: ValidPathInfo {
                path: self.path,
                info,
            },
            place: Some(place),
        })
    }

    fn malformed(&self, reason: String) -> ImportError {
        ImportError::Export {
            path: self.place.clone(),
            reason,
        }
    }
}

/// Whether the content at `place` is what the derivation says.
fn check_fixed(
    place: &Path,
    fixed: &ContentAddress,
    mut hasher: Hasher,
) -> Result<(), ImportError> {
    if fixed.method != ContentAddressMethod::Recursive {
        read_flat(place, |bytes| hasher.update(bytes))?;
    }
    let actual = hasher.finish();
    match actual == fixed.hash {
        true => Ok(()),
        false => Err(ImportError::FixedOutput {
            path: place.to_owned(),
            specified: fixed.hash.print(HashFormat::Sri),
            actual: actual.print(HashFormat::Sri),
        }),
    }
}
