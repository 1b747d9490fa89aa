//! How store paths come about: a text that describes the object (the fingerprint) is hashed with SHA-256 and folded to 160 bits.
//!
//! ```text
//! TYPE ":sha256:" HEX ":" STORE-DIR ":" NAME
//! ```
//! `TYPE` is `text` or `source` with the references (`:` before each, sorted; a reference to itself is `:self` at the end), or `output:OUTPUT`.

use std::fmt::Write;

use crate::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, HashFormat, PathError, StoreDir,
    StorePath, StorePathRef, compress_hash,
};

/// Why no store path can be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// The name is not one that a store path can have.
    #[error(transparent)]
    Name(#[from] PathError),
    /// Only SHA-256 names objects of this kind.
    #[error("hash must be sha256, not {0}")]
    NotSha256(HashAlgorithm),
    /// A file that is hashed flat, or with anything but SHA-256, cannot refer to other objects.
    #[error("object of this content address cannot have references")]
    References,
}

/// The name of a derivation's output path: the derivation's name for `out`, `NAME-OUTPUT` for another.
///
/// ```
/// assert_eq!(store_path::output_path_name("hello-2.10", "out"), "hello-2.10");
/// assert_eq!(store_path::output_path_name("hello-2.10", "dev"), "hello-2.10-dev");
/// ```
#[must_use]
pub fn output_path_name(derivation_name: &str, output: &str) -> String {
    if output == "out" {
        derivation_name.to_owned()
    } else {
        format!("{derivation_name}-{output}")
    }
}

impl StoreDir {
    /// The path of a text file with these references: what `builtins.toFile` makes, and where a derivation itself lies.
    /// `hash` is that of the contents. References may come in any order, repeated or not.
    ///
    /// # Errors
    /// [`FingerprintError`] if `hash` is not SHA-256 or `name` is not a name.
    ///
    /// ```
    /// use store_path::{Hash, StoreDir};
    ///
    /// let path = StoreDir::NIX.make_text_path("foo", &Hash::sha256_of(b"bar"), [])?;
    /// assert_eq!(path.base_name(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
    /// # Ok::<(), store_path::FingerprintError>(())
    /// ```
    pub fn make_text_path<'a>(
        &self,
        name: &str,
        hash: &Hash,
        references: impl IntoIterator<Item = StorePathRef<'a>>,
    ) -> Result<StorePath, FingerprintError> {
        let kind = self.kind_with_references("text", references, false);
        self.make_store_path(&kind, sha256_only(hash)?, name)
    }

    /// The path of a file tree with the SHA-256 hash `hash` of its Nix archive: what adding a source to the store gives, and
    /// a recursive fixed output. `self_reference` says that the tree refers to its own path (`hash` is then that of the archive with
    /// the path's hash part replaced by zeros).
    ///
    /// # Errors
    /// [`FingerprintError`] if `hash` is not SHA-256 or `name` is not a name.
    pub fn make_source_path<'a>(
        &self,
        name: &str,
        hash: &Hash,
        references: impl IntoIterator<Item = StorePathRef<'a>>,
        self_reference: bool,
    ) -> Result<StorePath, FingerprintError> {
        let kind = self.kind_with_references("source", references, self_reference);
        self.make_store_path(&kind, sha256_only(hash)?, name)
    }

    /// The path of the output `output` of a derivation called `derivation_name`, from the derivation's hash modulo its inputs.
    ///
    /// # Errors
    /// [`FingerprintError`] if `hash` is not SHA-256 or the output's name is not a name.
    pub fn make_output_path(
        &self,
        derivation_name: &str,
        output: &str,
        hash: &Hash,
    ) -> Result<StorePath, FingerprintError> {
        let name = output_path_name(derivation_name, output);
        self.make_store_path(&format!("output:{output}"), sha256_only(hash)?, &name)
    }

    /// The path of a content-addressed object without references: a fixed output, or a source added flat or recursively.
    ///
    /// # Errors
    /// [`FingerprintError`] if `name` is not a name, or the method is text and the hash not SHA-256.
    ///
    /// ```
    /// use store_path::{ContentAddress, ContentAddressMethod, Hash, StoreDir};
    ///
    /// let address = ContentAddress { method: ContentAddressMethod::Flat, hash: Hash::sha256_of(b"") };
    /// let path = StoreDir::NIX.make_fixed_output_path("empty", &address)?;
    /// assert_eq!(path.base_name(), "1q82x5ah029adc0r5p06p3ivlzzh3hss-empty");
    /// # Ok::<(), store_path::FingerprintError>(())
    /// ```
    pub fn make_fixed_output_path(
        &self,
        name: &str,
        address: &ContentAddress,
    ) -> Result<StorePath, FingerprintError> {
        self.make_content_addressed_path(name, address, [], false)
    }

    /// The path of any content-addressed object.
    ///
    /// # Errors
    /// [`FingerprintError`] if `name` is not a name, if there are references where the kind of object can have none, or if the
    /// method is text and the hash not SHA-256.
    pub fn make_content_addressed_path<'a>(
        &self,
        name: &str,
        address: &ContentAddress,
        references: impl IntoIterator<Item = StorePathRef<'a>>,
        self_reference: bool,
    ) -> Result<StorePath, FingerprintError> {
        let hash = &address.hash;
        match (address.method, hash.algorithm()) {
            (ContentAddressMethod::Text, _) if self_reference => Err(FingerprintError::References),
            (ContentAddressMethod::Text, _) => self.make_text_path(name, hash, references),
            (ContentAddressMethod::Recursive, HashAlgorithm::Sha256) => {
                self.make_source_path(name, hash, references, self_reference)
            }
            (method, _) => {
                if self_reference || references.into_iter().next().is_some() {
                    return Err(FingerprintError::References);
                }
                let inner = format!(
                    "fixed:out:{}{}:",
                    method.prefix(),
                    hash.print(HashFormat::Base16)
                );
                self.make_store_path("output:out", &Hash::sha256_of(inner.as_bytes()), name)
            }
        }
    }

    fn kind_with_references<'a>(
        &self,
        kind: &str,
        references: impl IntoIterator<Item = StorePathRef<'a>>,
        self_reference: bool,
    ) -> String {
        let mut sorted: Vec<_> = references.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut text = kind.to_owned();
        for reference in sorted {
            write!(text, ":{}", self.display(reference)).expect("writing to a string succeeds");
        }
        if self_reference {
            text.push_str(":self");
        }
        text
    }

    fn make_store_path(
        &self,
        kind: &str,
        hash: &Hash,
        name: &str,
    ) -> Result<StorePath, FingerprintError> {
        let fingerprint = format!("{kind}:{}:{self}:{name}", hash.print(HashFormat::Base16));
        let digest = compress_hash(Hash::sha256_of(fingerprint.as_bytes()).digest());
        Ok(StorePath::from_parts(digest, name)?)
    }
}

fn sha256_only(hash: &Hash) -> Result<&Hash, FingerprintError> {
    match hash.algorithm() {
        HashAlgorithm::Sha256 => Ok(hash),
        other => Err(FingerprintError::NotSha256(other)),
    }
}
