//! The directory that store objects lie in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::path_error::{Fault, PathError, PathErrorKind, describe};
use crate::{StorePath, StorePathRef};

/// A store directory: an absolute path in normal form, such as `/nix/store`.
///
/// It is part of what store paths are computed from, and of every path that is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(Cow<'static, str>);

/// Why a text is not a store directory, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {offset}: {text:?}")]
pub struct StoreDirError {
    /// Bytes of [`text`](Self::text) before what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub kind: StoreDirErrorKind,
    /// The text that was read, cut after [`PathError::MAX_TEXT_LEN`] bytes.
    pub text: Box<str>,
}

/// What can be wrong with a store directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreDirErrorKind {
    /// It does not begin with a slash.
    #[error("store directory is not absolute")]
    NotAbsolute,
    /// It has an empty component, `.` or `..`, or ends in a slash.
    #[error("store directory is not in normal form")]
    NotNormal,
    /// It has a control character, which would break line-based formats.
    #[error("store directory has a control character")]
    ControlCharacter,
    /// It has more than [`StoreDir::MAX_LEN`] bytes.
    #[error("store directory is longer than 4095 bytes")]
    TooLong,
}

impl StoreDir {
    /// `/nix/store`.
    pub const NIX: Self = Self(Cow::Borrowed("/nix/store"));

    /// `/gnu/store`.
    pub const GUIX: Self = Self(Cow::Borrowed("/gnu/store"));

    /// The longest directory, in bytes: what the kernel takes as a path (`PATH_MAX` less its NUL).
    pub const MAX_LEN: usize = 4095;

    /// Checks a directory.
    ///
    /// # Errors
    /// [`StoreDirError`] unless it is absolute, in normal form (no empty, `.` or `..` component, no slash at the end),
    /// without control characters and no longer than [`StoreDir::MAX_LEN`].
    ///
    /// ```
    /// use store_path::StoreDir;
    ///
    /// assert_eq!(StoreDir::new("/nix/store")?, StoreDir::NIX);
    /// assert!(StoreDir::new("/nix/store/").is_err());
    /// # Ok::<(), store_path::StoreDirError>(())
    /// ```
    pub fn new(dir: impl Into<String>) -> Result<Self, StoreDirError> {
        let dir = dir.into();
        match check(&dir) {
            Ok(()) => Ok(Self(Cow::Owned(dir))),
            Err((offset, kind)) => {
                let end = dir.floor_char_boundary(PathError::MAX_TEXT_LEN);
                Err(StoreDirError {
                    offset,
                    kind,
                    text: dir[..end].into(),
                })
            }
        }
    }

    /// The directory, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `DIR/BASE`, with nothing below it.
    ///
    /// # Errors
    /// [`PathError`], whose offsets count from the start of `full_path`.
    pub fn parse(&self, full_path: &str) -> Result<StorePath, PathError> {
        self.parse_ref(full_path).map(StorePathRef::to_store_path)
    }

    /// The same without copying.
    ///
    /// # Errors
    /// [`PathError`], whose offsets count from the start of `full_path`.
    pub fn parse_ref<'a>(&self, full_path: &'a str) -> Result<StorePathRef<'a>, PathError> {
        self.parse_fault(full_path)
            .map_err(|fault| describe(fault, full_path))
    }

    /// Takes `DIR/BASE/sub/path` apart: the store path and what follows it, which is empty or begins with a slash.
    ///
    /// # Errors
    /// [`PathError`] if `path` is not in this store or its third part is not a base name.
    ///
    /// ```
    /// use store_path::StoreDir;
    ///
    /// let (path, rest) = StoreDir::GUIX.split("/gnu/store/wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8/bin/bash")?;
    /// assert_eq!((path.name(), rest), ("bash-5.1-p8", "/bin/bash"));
    /// # Ok::<(), store_path::PathError>(())
    /// ```
    pub fn split<'a>(&self, path: &'a str) -> Result<(StorePathRef<'a>, &'a str), PathError> {
        let below = self.below(path).map_err(|fault| describe(fault, path))?;
        let end = below.find('/').unwrap_or(below.len());
        let (base_name, rest) = below.split_at(end);
        match StorePathRef::checked(base_name) {
            Ok(store_path) => Ok((store_path, rest)),
            Err(fault) => Err(describe(fault.shift(path.len() - below.len()), path)),
        }
    }

    /// Reads `DIR/BASE` at the start of bytes that go on; gives the path and the bytes from the first that cannot be part of it.
    /// One pass, for parsers of larger formats.
    ///
    /// # Errors
    /// [`PathError`], whose offsets count from the start of `bytes`.
    ///
    /// ```
    /// use store_path::StoreDir;
    ///
    /// let (path, rest) = StoreDir::NIX.take(b"/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-bash\",")?;
    /// assert_eq!((path.name(), rest), ("bash", &b"\","[..]));
    /// # Ok::<(), store_path::PathError>(())
    /// ```
    pub fn take<'a>(&self, bytes: &'a [u8]) -> Result<(StorePathRef<'a>, &'a [u8]), PathError> {
        let below = bytes
            .strip_prefix(self.as_str().as_bytes())
            .and_then(|rest| rest.strip_prefix(b"/"));
        let taken = match below {
            Some(below) => {
                StorePathRef::take(below).map_err(|fault| fault.shift(bytes.len() - below.len()))
            }
            None => Err(Fault {
                offset: 0,
                kind: PathErrorKind::NotInStore,
            }),
        };
        taken.map_err(|fault| {
            let start = &bytes[..bytes.len().min(PathError::MAX_TEXT_LEN)];
            describe(fault, &String::from_utf8_lossy(start))
        })
    }

    /// `DIR/BASE`.
    #[must_use]
    pub fn print<'a>(&self, path: impl Into<StorePathRef<'a>>) -> String {
        let path = path.into();
        format!("{self}/{path}")
    }

    /// `DIR/BASE` for `format!` and the like, without a string of its own.
    #[must_use]
    pub fn display<'a>(&'a self, path: impl Into<StorePathRef<'a>>) -> Display<'a> {
        Display {
            dir: self,
            path: path.into(),
        }
    }

    /// What follows `DIR/`.
    fn below<'a>(&self, path: &'a str) -> Result<&'a str, Fault> {
        path.strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(Fault {
                offset: 0,
                kind: PathErrorKind::NotInStore,
            })
    }

    fn parse_fault<'a>(&self, full_path: &'a str) -> Result<StorePathRef<'a>, Fault> {
        let base_name = self.below(full_path)?;
        let before = full_path.len() - base_name.len();
        StorePathRef::checked(base_name).map_err(|fault| {
            let slash = base_name.as_bytes().get(fault.offset) == Some(&b'/');
            let below = slash && fault.kind == PathErrorKind::NameCharacter;
            let kind = if below {
                PathErrorKind::BelowStoreObject
            } else {
                fault.kind
            };
            Fault { kind, ..fault }.shift(before)
        })
    }
}

fn check(dir: &str) -> Result<(), (usize, StoreDirErrorKind)> {
    if dir.len() > StoreDir::MAX_LEN {
        return Err((StoreDir::MAX_LEN, StoreDirErrorKind::TooLong));
    }
    let Some(relative) = dir.strip_prefix('/') else {
        return Err((0, StoreDirErrorKind::NotAbsolute));
    };
    if let Some(offset) = dir.find(char::is_control) {
        return Err((offset, StoreDirErrorKind::ControlCharacter));
    }
    let mut offset = 1;
    for component in relative.split('/') {
        if matches!(component, "" | "." | "..") {
            return Err((offset, StoreDirErrorKind::NotNormal));
        }
        offset += component.len() + 1;
    }
    Ok(())
}

/// A store path in its directory; see [`StoreDir::display`].
#[derive(Clone, Copy, Debug)]
pub struct Display<'a> {
    dir: &'a StoreDir,
    path: StorePathRef<'a>,
}

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dir.as_str())?;
        f.write_str("/")?;
        f.write_str(self.path.base_name())
    }
}

impl FromStr for StoreDir {
    type Err = StoreDirError;

    fn from_str(dir: &str) -> Result<Self, StoreDirError> {
        Self::new(dir)
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for StoreDir {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}
