//! Where a host's programs come from.

use std::path::{Path, PathBuf};

/// A root folder whose programs a host runs: `/usr`, `/bin`, `/lib*`, `/sbin`, and of `/etc` only what the dynamic
/// linker and Debian's alternatives need.
///
/// It must hold nix-bin and openssh-server below `/usr`; `make-roots` beside this crate's manifest makes such folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    root: PathBuf,
}

impl Distribution {
    /// The machine that the test runs on.
    pub fn machine() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    /// The distribution whose root folder is `root`.
    ///
    /// ```
    /// # use testbed::Distribution;
    /// let trixie = Distribution::at("/srv/roots/trixie");
    /// assert!(!trixie.has_program("no-such-program"));
    /// ```
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a program of that name stands where a host of this distribution would find it.
    pub fn has_program(&self, name: &str) -> bool {
        ["usr/bin", "usr/sbin"]
            .iter()
            .any(|folder| self.root.join(folder).join(name).exists())
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self::machine()
    }
}
