//! Everything that was promised of an archive, checked while it passes.

use std::path::PathBuf;

use nar::{Decoder, Digest, Event, Fingerprint, Observe, Step};
use store_path::{ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, HashFormat, Hasher};
use worker_protocol::{NarHash, ValidPathInfo};

use super::ImportError;
use super::hash_modulo::HashModulo;

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
            ContentHasher::Modulo(hasher) => hasher.finish(),
        };
        match actual == *expected || another.as_ref() == Some(expected) {
            true => Ok(()),
            false => Err(actual),
        }
    }
}

/// What was promised of an archive: its size, its hash, and for a content-addressed path the hash of
/// its content.
#[derive(Debug)]
pub(super) struct Check {
    /// For messages.
    path: PathBuf,
    promised: ValidPathInfo,
    address: Option<(ContentAddress, ContentHasher)>,
    digest: Digest,
}

impl Check {
    pub(super) fn new(
        path: PathBuf,
        promised: ValidPathInfo,
        address: Option<ContentAddress>,
    ) -> Self {
        let address = address.map(|address| {
            let hasher = ContentHasher::new(address.hash.algorithm(), &promised);
            (address, hasher)
        });
        Check {
            path,
            promised,
            address,
            digest: Digest::new(),
        }
    }

    /// Whether it is a file's content, not the archive, whose hash was promised.
    pub(super) fn is_flat(&self) -> bool {
        let method = self.address.as_ref().map(|(address, _)| address.method);
        method.is_some_and(|method| method != ContentAddressMethod::Recursive)
    }

    /// The next bytes of the archive.
    pub(super) fn archive(&mut self, bytes: &[u8]) {
        self.digest.observe(bytes);
        if !self.is_flat() {
            self.content(bytes);
        }
    }

    /// The next bytes of the file, where [`Check::is_flat`].
    pub(super) fn content(&mut self, bytes: &[u8]) {
        if let Some((_, hasher)) = &mut self.address {
            hasher.update(bytes);
        }
    }

    /// How many more bytes of the archive were promised.
    pub(super) fn room(&self) -> usize {
        let room = self
            .promised
            .info
            .nar_size
            .saturating_sub(self.digest.size());
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// The error of an archive that does not end in time.
    pub(super) fn too_long(&self) -> ImportError {
        ImportError::TooLong {
            path: self.path.clone(),
            promised: self.promised.info.nar_size,
        }
    }

    /// Compares. Of a flat file only the archive's hash and size: its content may not have come yet.
    pub(super) fn check_archive(&self) -> Result<(), ImportError> {
        let path = self.path.clone();
        let promised = &self.promised.info;
        let fingerprint = self.digest.clone().finish();
        let actual = NarHash(fingerprint.sha256);
        if actual != promised.nar_hash {
            return Err(ImportError::NarHash {
                path,
                actual: actual.hash().print(HashFormat::Base32),
                promised: promised.nar_hash.hash().print(HashFormat::Base32),
            });
        }
        if fingerprint.size != promised.nar_size {
            return Err(ImportError::NarSize {
                path,
                actual: fingerprint.size,
                promised: promised.nar_size,
            });
        }
        Ok(())
    }

    /// Compares all.
    pub(super) fn finish(self) -> Result<ValidPathInfo, ImportError> {
        self.check_archive()?;
        if let Some((address, hasher)) = self.address {
            let checked = hasher.check(&address.hash);
            checked.map_err(|actual| ImportError::FixedOutput {
                path: self.path,
                specified: address.hash.print(HashFormat::Sri),
                actual: actual.print(HashFormat::Sri),
            })?;
        }
        Ok(self.promised)
    }
}

/// An archive that only passes through, on its way to somebody else. Memory: none but for the state.
#[derive(Debug)]
pub(crate) struct Passing {
    decoder: Decoder,
    check: Check,
    /// Whether the whole of it is a file that is not executable.
    is_plain: bool,
}

impl Passing {
    /// Begins to check an archive that was described as `promised`.
    pub(crate) fn new(
        name: String,
        promised: ValidPathInfo,
        address: Option<ContentAddress>,
    ) -> Self {
        Passing {
            decoder: Decoder::new(),
            check: Check::new(PathBuf::from(name), promised, address),
            is_plain: false,
        }
    }

    /// Looks at the next bytes; says how many of them belong to the archive, and whether it is
    /// complete.
    pub(crate) fn pass(&mut self, input: &[u8]) -> Result<(usize, bool), ImportError> {
        let input = &input[..input.len().min(self.check.room())];
        let begun = self.decoder.offset();
        let mut position = 0;
        let flat = self.check.is_flat();
        let finished = loop {
            let step = self.decoder.decode(&input[position..]);
            match step.map_err(|error| ImportError::Archive {
                path: self.check.path.clone(),
                error,
            })? {
                Step::Event { consumed, event } => {
                    position += consumed;
                    match event {
                        Event::File { executable, .. } if begun == 0 && position == consumed => {
                            self.is_plain = !executable;
                        }
                        Event::Data(data) if flat => self.check.content(data),
                        _ => {}
                    }
                }
                Step::NeedMore { .. } => break false,
                Step::Finished => break true,
            }
        };
        let consumed = if finished { position } else { input.len() };
        self.check.archive(&input[..consumed]);
        if self.check.room() == 0 && !finished {
            return Err(self.check.too_long());
        }
        Ok((consumed, finished))
    }

    /// How many bytes have passed.
    pub(crate) fn size(&self) -> u64 {
        self.check.digest.size()
    }

    /// Size and hash of what has passed so far.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.check.digest.clone().finish()
    }

    /// Compares with what was promised.
    pub(crate) fn finish(self) -> Result<(), ImportError> {
        if self.check.is_flat() && !self.is_plain {
            return Err(ImportError::NotFlat(self.check.path));
        }
        self.check.finish().map(drop)
    }
}
