//! A store path that is borrowed as long as it can be.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::{StorePath, StorePathRef};

/// A store path out of a text in hand, or one of its own: for types that are cheap to parse and can still be built and kept.
/// Two of them are equal, ordered and hashed by their base name alone.
#[derive(Clone)]
pub enum StorePathCow<'a> {
    /// Part of a longer text.
    Borrowed(StorePathRef<'a>),
    /// On its own.
    Owned(StorePath),
}

impl StorePathCow<'_> {
    /// The path, borrowed.
    #[must_use]
    pub fn as_path_ref(&self) -> StorePathRef<'_> {
        match self {
            Self::Borrowed(path) => *path,
            Self::Owned(path) => path.as_path_ref(),
        }
    }

    /// `DIGEST-NAME`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        self.as_path_ref().base_name()
    }

    /// The path, owned; copied if it was borrowed.
    #[must_use]
    pub fn into_owned(self) -> StorePath {
        match self {
            Self::Borrowed(path) => path.to_store_path(),
            Self::Owned(path) => path,
        }
    }
}

impl<'a> From<StorePathRef<'a>> for StorePathCow<'a> {
    fn from(path: StorePathRef<'a>) -> Self {
        Self::Borrowed(path)
    }
}

impl From<StorePath> for StorePathCow<'_> {
    fn from(path: StorePath) -> Self {
        Self::Owned(path)
    }
}

impl<'a> From<&'a StorePathCow<'_>> for StorePathRef<'a> {
    fn from(path: &'a StorePathCow<'_>) -> Self {
        path.as_path_ref()
    }
}

impl PartialEq for StorePathCow<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.base_name() == other.base_name()
    }
}

impl Eq for StorePathCow<'_> {}

impl PartialOrd for StorePathCow<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StorePathCow<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.base_name().cmp(other.base_name())
    }
}

impl Hash for StorePathCow<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.base_name().hash(state);
    }
}

/// Looks a path up by its base name.
impl Borrow<str> for StorePathCow<'_> {
    fn borrow(&self) -> &str {
        self.base_name()
    }
}

/// The base name.
impl AsRef<str> for StorePathCow<'_> {
    fn as_ref(&self) -> &str {
        self.base_name()
    }
}

impl fmt::Display for StorePathCow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base_name())
    }
}

impl fmt::Debug for StorePathCow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePath({})", self.base_name())
    }
}
