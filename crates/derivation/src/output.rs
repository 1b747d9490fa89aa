//! One output of a derivation: where it will lie, or how that is found out once it is built.
//!
//! ```text
//! ("out","/nix/store/…-name","","")                     input-addressed
//! ("out","/nix/store/…-name","r:sha256","e3b0…")        fixed: its content address is known
//! ("out","","r:sha256","")                              floating: content-addressed, known after the build
//! ("out","","","")                                      deferred: input-addressed, but an input's path is not known yet
//! ("out","","r:sha256","impure")                        impure: floating, and different with every build
//! ```

use std::borrow::Cow;

use store_path::{
    ContentAddress, ContentAddressMethod, HashAlgorithm, HashFormat, StoreDir, StorePathCow,
    StorePathRef,
};

use crate::error::OutputErrorKind;

/// What the hash field says of an output that is different with every build.
const IMPURE: &str = "impure";

/// One output of a derivation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<'a> {
    /// Its path follows from what the derivation says.
    InputAddressed {
        /// Where it lies.
        path: StorePathCow<'a>,
    },
    /// Its content address is known beforehand.
    Fixed {
        /// Where it lies.
        path: StorePathCow<'a>,
        /// What it has to hash to.
        address: ContentAddress,
    },
    /// Its path follows from its contents.
    Floating {
        /// What will be hashed.
        method: ContentAddressMethod,
        /// With what.
        algorithm: HashAlgorithm,
    },
    /// Its path will follow from what the derivation says once the paths of its inputs are known.
    Deferred,
    /// Its path follows from its contents, which differ from build to build.
    Impure {
        /// What will be hashed.
        method: ContentAddressMethod,
        /// With what.
        algorithm: HashAlgorithm,
    },
}

impl Output<'_> {
    /// Where it lies, if that is known before the build.
    #[must_use]
    pub fn path(&self) -> Option<StorePathRef<'_>> {
        match self {
            Self::InputAddressed { path } | Self::Fixed { path, .. } => Some(path.as_path_ref()),
            Self::Floating { .. } | Self::Deferred | Self::Impure { .. } => None,
        }
    }

    /// The three fields after the output's name, as a file and the worker protocol (operation 36) write them.
    #[must_use]
    pub fn fields(&self, dir: &StoreDir) -> OutputFields {
        let path = self.path().map(|path| dir.print(path)).unwrap_or_default();
        OutputFields {
            path,
            hash_algorithm: self.hash_algorithm(),
            hash: self.hash(),
        }
    }

    /// The second field: a method's prefix and an algorithm, or nothing.
    pub(crate) fn hash_algorithm(&self) -> String {
        match self {
            Self::InputAddressed { .. } | Self::Deferred => String::new(),
            Self::Fixed { address, .. } => {
                format!("{}{}", address.method.prefix(), address.hash.algorithm())
            }
            Self::Floating { method, algorithm } | Self::Impure { method, algorithm } => {
                format!("{}{algorithm}", method.prefix())
            }
        }
    }

    /// The third field: hexadecimal digits, `impure`, or nothing.
    pub(crate) fn hash(&self) -> String {
        match self {
            Self::InputAddressed { .. } | Self::Floating { .. } | Self::Deferred => String::new(),
            Self::Fixed { address, .. } => address.hash.digits(HashFormat::Base16),
            Self::Impure { .. } => IMPURE.to_owned(),
        }
    }

    /// The same output, with a path that owns its text.
    #[must_use]
    pub fn into_owned(self) -> Output<'static> {
        match self {
            Self::InputAddressed { path } => Output::InputAddressed {
                path: path.into_owned().into(),
            },
            Self::Fixed { path, address } => Output::Fixed {
                path: path.into_owned().into(),
                address,
            },
            Self::Floating { method, algorithm } => Output::Floating { method, algorithm },
            Self::Deferred => Output::Deferred,
            Self::Impure { method, algorithm } => Output::Impure { method, algorithm },
        }
    }
}

impl<'a> Output<'a> {
    /// Reads the three fields back; the path is parsed already, or absent if the field is empty.
    ///
    /// # Errors
    /// [`OutputErrorKind`] if the fields are none of the five combinations above.
    pub fn from_fields(
        path: Option<StorePathCow<'a>>,
        hash_algorithm: &str,
        hash: &str,
    ) -> Result<Self, OutputErrorKind> {
        if hash_algorithm.is_empty() {
            return match (path, hash) {
                (_, hash) if !hash.is_empty() => Err(OutputErrorKind::HashWithoutAlgorithm),
                (Some(path), _) => Ok(Self::InputAddressed { path }),
                (None, _) => Ok(Self::Deferred),
            };
        }
        let (method, name) = ContentAddressMethod::split_prefix(hash_algorithm);
        let algorithm = HashAlgorithm::from_name(name).ok_or(OutputErrorKind::Algorithm)?;
        check_method(method, algorithm)?;
        match (path, hash) {
            (None, "") => Ok(Self::Floating { method, algorithm }),
            (None, IMPURE) => Ok(Self::Impure { method, algorithm }),
            (None, _) => Err(OutputErrorKind::FixedWithoutPath),
            (Some(_), "" | IMPURE) => Err(OutputErrorKind::FloatingWithPath),
            (Some(path), digits) => {
                // The three bases differ in length; a file has base16.
                let hash = (digits.len() == 2 * algorithm.len())
                    .then(|| store_path::Hash::from_digits(algorithm, digits))
                    .and_then(Result::ok)
                    .ok_or(OutputErrorKind::Hash(algorithm))?;
                Ok(Self::Fixed {
                    path,
                    address: ContentAddress { method, hash },
                })
            }
        }
    }
}

/// Text is named by SHA-256 alone.
pub(crate) fn check_method(
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
) -> Result<(), OutputErrorKind> {
    if method == ContentAddressMethod::Text && algorithm != HashAlgorithm::Sha256 {
        return Err(OutputErrorKind::TextNotSha256);
    }
    Ok(())
}

/// An output's fields as text; see [`Output::fields`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputFields {
    /// The full path, or nothing.
    pub path: String,
    /// `sha256`, `r:sha256`, …, or nothing.
    pub hash_algorithm: String,
    /// Hexadecimal digits, `impure`, or nothing.
    pub hash: String,
}

/// A name of an output, such as `out`.
pub type OutputName<'a> = Cow<'a, str>;
