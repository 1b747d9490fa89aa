//! Where a store's files and its database are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use store_path::{StoreDir, StoreDirError};

/// Directories that the daemon's environment gives (`NIX_STORE_DIR`, `NIX_STATE_DIR`), or the
/// defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDirectories {
    /// The store directory, `/nix/store`.
    pub store: String,
    /// The state directory, `/nix/var/nix`, which holds the database and the slot locks.
    pub state: PathBuf,
}

impl Default for StoreDirectories {
    fn default() -> Self {
        StoreDirectories {
            store: StoreDir::NIX.as_str().to_owned(),
            state: PathBuf::from("/nix/var/nix"),
        }
    }
}

/// A store on this host.
///
/// ```
/// use offload::local::{StoreDirectories, StoreLocation};
///
/// let location = StoreLocation::from_setting("local?root=/mnt", &StoreDirectories::default())?;
/// assert_eq!(location.store_dir.as_str(), "/nix/store");
/// assert_eq!(location.real_store_dir.to_str(), Some("/mnt/nix/store"));
/// assert_eq!(location.state_dir.to_str(), Some("/mnt/nix/var/nix"));
/// # Ok::<(), offload::local::LocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLocation {
    /// The directory that store paths name.
    pub store_dir: StoreDir,
    /// The directory where their files are.
    pub real_store_dir: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
}

/// Why the daemon's `store` setting does not lead to a store on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Some other kind of store.
    #[error("store setting names no store on this host: {0:?}")]
    Kind(String),
    /// The store directory is not one.
    #[error("{source}")]
    StoreDir {
        /// The directory.
        dir: String,
        /// What is wrong with it.
        source: StoreDirError,
    },
    /// A part is percent-encoded and not UTF-8 when decoded.
    #[error("store setting is not UTF-8 when decoded: {0:?}")]
    Encoding(String),
}

impl StoreLocation {
    /// Reads Nix's `store` setting: empty, `auto`, `daemon`, `local`, `local?root=DIR&..`,
    /// `local://?..` (so 2.34.8 writes it) or an absolute path, which is short for `local?root=`.
    /// `real`, `state` and `store` may stand beside `root`.
    ///
    /// # Errors
    /// When it names a store that is not on this host.
    pub fn from_setting(setting: &str, defaults: &StoreDirectories) -> Result<Self, LocationError> {
        let (kind, query) = setting.split_once('?').unwrap_or((setting, ""));
        let mut parameters = parse_parameters(query)?;
        match kind {
            "" | "auto" | "daemon" | "local" | "local://" => {}
            path if path.starts_with('/') => {
                parameters.insert("root".to_owned(), path.to_owned());
            }
            _ => return Err(LocationError::Kind(setting.to_owned())),
        }
        let parameter = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
        let root = parameter("root").map(Path::new);
        let store = parameter("store").unwrap_or(&defaults.store);
        let store_dir =
            StoreDir::new(store.as_str()).map_err(|source| LocationError::StoreDir {
                dir: store.clone(),
                source,
            })?;
        let state_dir = match (parameter("state"), root) {
            (Some(state), _) => PathBuf::from(state),
            (None, Some(root)) => below(root, Path::new("/nix/var/nix")),
            (None, None) => defaults.state.clone(),
        };
        let real_store_dir = match (parameter("real"), root) {
            (Some(real), _) => PathBuf::from(real),
            (None, Some(root)) => below(root, Path::new(store)),
            (None, None) => PathBuf::from(store),
        };
        Ok(StoreLocation {
            store_dir,
            real_store_dir,
            state_dir,
        })
    }
}

fn below(root: &Path, absolute: &Path) -> PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

fn parse_parameters(query: &str) -> Result<BTreeMap<String, String>, LocationError> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            let decoded = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| LocationError::Encoding(value.to_owned()))?;
            Ok((name.to_owned(), decoded.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(setting: &str) -> String {
        match StoreLocation::from_setting(setting, &StoreDirectories::default()) {
            Ok(location) => format!(
                "{} {} {}",
                location.store_dir.as_str(),
                location.real_store_dir.display(),
                location.state_dir.display()
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn settings_in_every_form() {
        let plain = "/nix/store /nix/store /nix/var/nix";
        for setting in ["", "auto", "daemon", "local"] {
            assert_eq!(read(setting), plain);
        }
        let alternative = "/nix/store /tmp/a b/nix/store /tmp/a b/nix/var/nix";
        for setting in [
            "local?root=/tmp/a%20b",
            "local://?root=/tmp/a b",
            "/tmp/a b",
        ] {
            assert_eq!(read(setting), alternative);
        }
        assert_eq!(read("local?store=/s&state=/t&real=/r"), "/s /r /t");
        insta::assert_snapshot!(
            ["https://cache", "local?store=relative", "local?root=%ff"].map(read).join("\n"),
            @r#"
        store setting names no store on this host: "https://cache"
        store directory is not absolute at 0: "relative"
        store setting is not UTF-8 when decoded: "%ff"
        "#
        );
    }
}
