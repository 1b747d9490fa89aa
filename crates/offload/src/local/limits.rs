//! How much a machine may make this host write before anything of it is verified.

use std::fs::File;
use std::path::Path;

use super::ImportError;

/// Bytes between two looks at what is free.
const LOOK_EVERY: u64 = 16 << 20;

/// Bounds for an output whose size nobody has announced: an export is an archive, and the signature behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest archive of one output, in bytes.
    pub output: u64,
    /// What stays free on the store's file system, in bytes.
    pub free_disk: u64,
}

impl Default for Limits {
    /// 128 GiB, which no output of a build is known to come near, and 100 MiB, with less of which Guix gives no
    /// builds to a machine.
    fn default() -> Self {
        Limits {
            output: 128 << 30,
            free_disk: 100 << 20,
        }
    }
}

/// Counts what one output takes.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    /// Somewhere on the file system.
    directory: File,
    /// Bytes of its archive so far.
    size: u64,
    /// At which size to look again.
    look_at: u64,
}

impl Meter {
    pub(super) fn new(limits: Limits, directory: File) -> Self {
        Meter {
            limits,
            directory,
            size: 0,
            look_at: 0,
        }
    }

    /// Bytes of the archive so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// So many bytes more of the archive were written at `path`.
    pub(super) fn take(&mut self, more: usize, path: &Path) -> Result<(), ImportError> {
        self.size += more as u64;
        if self.size > self.limits.output {
            return Err(ImportError::TooLarge {
                path: path.to_owned(),
                maximum: self.limits.output,
            });
        }
        if self.size < self.look_at {
            return Ok(());
        }
        self.look_at = self.size + LOOK_EVERY;
        // A file system that does not tell is found full when it is.
        match rustix::fs::fstatvfs(&self.directory) {
            Ok(found) => self.judge(found.f_bavail.saturating_mul(found.f_frsize), path),
            Err(_) => Ok(()),
        }
    }

    fn judge(&self, free: u64, path: &Path) -> Result<(), ImportError> {
        let least = self.limits.free_disk;
        match free < least {
            true => Err(ImportError::LowDisk {
                path: path.to_owned(),
                free,
                least,
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_has_a_largest_size_and_leaves_some_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new("/gnu/store/x");
        let meter = |limits| Meter::new(limits, File::open(folder.path()).unwrap());
        let mut bounded = meter(Limits {
            output: 100,
            free_disk: 0,
        });
        assert!(bounded.take(100, path).is_ok());
        let mut texts = vec![bounded.take(1, path).unwrap_err().to_string()];
        let greedy = meter(Limits {
            output: u64::MAX,
            free_disk: 8 << 20,
        });
        assert!(greedy.judge(8 << 20, path).is_ok());
        texts.push(greedy.judge(7 << 20, path).unwrap_err().to_string());
        insta::assert_snapshot!(texts.join("\n"), @r"
        /gnu/store/x is larger than 100 bytes, the most that an output may have here (limit output)
        /gnu/store/x is not taken: this host's disk has 7 MiB left, and 8 MiB stay free (limit free-disk)
        ");
        let mut full = meter(Limits {
            output: u64::MAX,
            free_disk: u64::MAX,
        });
        assert!(matches!(
            full.take(1, path),
            Err(ImportError::LowDisk { .. })
        ));
    }
}
