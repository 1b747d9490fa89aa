use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::Observe;

/// Takes the SHA-256 and the size of the bytes that pass, which is what stores name an archive by.
///
/// ```
/// use nar::{Digest, Observe};
///
/// let mut digest = Digest::new();
/// digest.observe(b"abc");
/// let fingerprint = digest.finish();
/// assert_eq!(fingerprint.size, 3);
/// assert_eq!(fingerprint.sha256[..4], [0xba, 0x78, 0x16, 0xbf]);
/// ```
#[derive(Clone, Default)]
pub struct Digest {
    sha256: Sha256,
    size: u64,
}

/// SHA-256 and size of a row of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fingerprint {
    /// The hash.
    pub sha256: [u8; 32],
    /// How many bytes they were.
    pub size: u64,
}

impl Digest {
    /// A digest of no bytes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes were seen so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The fingerprint of all bytes seen.
    pub fn finish(self) -> Fingerprint {
        Fingerprint {
            sha256: self.sha256.finalize().into(),
            size: self.size,
        }
    }
}

impl Observe for Digest {
    fn observe(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.observe(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
