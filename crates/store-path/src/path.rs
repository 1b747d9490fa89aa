//! A store path: `DIGEST-NAME`, without the directory it lies in.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::path_error::{Fault, PathError, PathErrorKind, describe};
use crate::{base32, name};

/// Bytes of a digest (160 bits).
pub const DIGEST_LEN: usize = 20;

/// Characters of a digest in nix-base32; no bit is left over.
pub const HASH_PART_LEN: usize = base32::encoded_len(DIGEST_LEN);

/// The base name of a store object, checked and owned. Cloning is cheap; the order is that of the base names' bytes,
/// which is the order that Nix and Guix sort references and inputs by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Arc<str>);

/// The base name of a store object, checked and borrowed from a longer text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePathRef<'a>(&'a str);

impl<'a> StorePathRef<'a> {
    /// Reads `wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8`, to its end.
    ///
    /// # Errors
    /// [`PathError`], whose offsets count from the start of `base_name`.
    pub fn from_base_name(base_name: &'a str) -> Result<Self, PathError> {
        Self::check(base_name.as_bytes()).map_err(|fault| describe(fault, base_name))?;
        Ok(Self(base_name))
    }

    /// Whether some bytes are a base name, and if not why not. Accepted bytes are ASCII.
    fn check(base_name: &[u8]) -> Result<(), Fault> {
        let name = Self::check_hash_part(base_name)?;
        name::check(name).map_err(|fault| fault.shift(HASH_PART_LEN + 1))
    }

    /// Checks the hash part and the dash; gives what follows.
    fn check_hash_part(base_name: &[u8]) -> Result<&[u8], Fault> {
        let Some((hash_part, rest)) = base_name.split_at_checked(HASH_PART_LEN) else {
            return Err(Fault {
                offset: base_name.len(),
                kind: PathErrorKind::TooShort,
            });
        };
        // No branch for each character; one by one only to say which is wrong.
        let digits: u8 = hash_part
            .iter()
            .map(|&byte| u8::from(base32::is_digit(byte)))
            .sum();
        if usize::from(digits) != HASH_PART_LEN {
            let offset = hash_part
                .iter()
                .take_while(|&&byte| base32::is_digit(byte))
                .count();
            return Err(Fault {
                offset,
                kind: PathErrorKind::HashCharacter,
            });
        }
        match rest.split_first() {
            None => Err(Fault {
                offset: HASH_PART_LEN,
                kind: PathErrorKind::TooShort,
            }),
            Some((b'-', name)) => Ok(name),
            Some(_) => Err(Fault {
                offset: HASH_PART_LEN,
                kind: PathErrorKind::Dash,
            }),
        }
    }

    /// The base name at the start of some bytes, and the bytes from the first that cannot be part of it.
    pub(crate) fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let below = Self::check_hash_part(bytes)?;
        let name_len = name::name_prefix_len(below);
        name::check_shape(&below[..name_len]).map_err(|fault| fault.shift(HASH_PART_LEN + 1))?;
        let (base_name, rest) = bytes.split_at(HASH_PART_LEN + 1 + name_len);
        let base_name = std::str::from_utf8(base_name).expect("every byte was found to be ASCII");
        Ok((Self(base_name), rest))
    }

    /// [`check`](Self::check) and keep, for callers that make their own error.
    pub(crate) fn checked(base_name: &'a str) -> Result<Self, Fault> {
        Self::check(base_name.as_bytes()).map(|()| Self(base_name))
    }

    /// `DIGEST-NAME`.
    #[must_use]
    pub fn base_name(self) -> &'a str {
        self.0
    }

    /// The digest in nix-base32: the first [`HASH_PART_LEN`] characters.
    #[must_use]
    pub fn hash_part(self) -> &'a str {
        &self.0[..HASH_PART_LEN]
    }

    /// The digest, decoded.
    #[must_use]
    pub fn digest(self) -> [u8; DIGEST_LEN] {
        base32::decode_array(self.hash_part()).expect("the hash part was checked")
    }

    /// What follows the dash.
    #[must_use]
    pub fn name(self) -> &'a str {
        &self.0[HASH_PART_LEN + 1..]
    }

    /// Whether the name ends in `.drv`, which makes the object a derivation.
    #[must_use]
    pub fn is_derivation(self) -> bool {
        self.0.ends_with(".drv")
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_store_path(self) -> StorePath {
        StorePath(self.0.into())
    }
}

impl StorePath {
    /// Reads `wadmyilr414n7bimxysbny876i2vlm5r-bash-5.1-p8`, to its end.
    ///
    /// # Errors
    /// [`PathError`], whose offsets count from the start of `base_name`.
    pub fn from_base_name(base_name: &str) -> Result<Self, PathError> {
        StorePathRef::from_base_name(base_name).map(StorePathRef::to_store_path)
    }

    /// Puts a digest and a name together.
    ///
    /// # Errors
    /// [`PathError`] if [`check_name`](crate::check_name) refuses `name`.
    ///
    /// ```
    /// let path = store_path::StorePath::from_parts([0; 20], "a")?;
    /// assert_eq!(path.base_name(), "00000000000000000000000000000000-a");
    /// # Ok::<(), store_path::PathError>(())
    /// ```
    pub fn from_parts(digest: [u8; DIGEST_LEN], name: &str) -> Result<Self, PathError> {
        crate::check_name(name)?;
        Ok(Self(format!("{}-{name}", base32::encode(&digest)).into()))
    }

    /// The same path, borrowed.
    #[must_use]
    pub fn as_path_ref(&self) -> StorePathRef<'_> {
        StorePathRef(&self.0)
    }

    /// `DIGEST-NAME`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        &self.0
    }

    /// The digest in nix-base32: the first [`HASH_PART_LEN`] characters.
    #[must_use]
    pub fn hash_part(&self) -> &str {
        self.as_path_ref().hash_part()
    }

    /// The digest, decoded.
    #[must_use]
    pub fn digest(&self) -> [u8; DIGEST_LEN] {
        self.as_path_ref().digest()
    }

    /// What follows the dash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.as_path_ref().name()
    }

    /// Whether the name ends in `.drv`, which makes the object a derivation.
    #[must_use]
    pub fn is_derivation(&self) -> bool {
        self.as_path_ref().is_derivation()
    }
}

impl FromStr for StorePath {
    type Err = PathError;

    /// Reads a base name, as [`StorePath::from_base_name`] does.
    fn from_str(base_name: &str) -> Result<Self, PathError> {
        Self::from_base_name(base_name)
    }
}

impl<'a> From<&'a StorePath> for StorePathRef<'a> {
    fn from(path: &'a StorePath) -> Self {
        path.as_path_ref()
    }
}

impl From<StorePathRef<'_>> for StorePath {
    fn from(path: StorePathRef<'_>) -> Self {
        path.to_store_path()
    }
}

/// Looks a path up by its base name in a map or set keyed by [`StorePath`].
impl Borrow<str> for StorePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The base name.
impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The base name.
impl AsRef<str> for StorePathRef<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StorePathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePath({})", self.0)
    }
}

impl fmt::Debug for StorePathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePathRef({})", self.0)
    }
}
