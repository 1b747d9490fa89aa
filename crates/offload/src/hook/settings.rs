//! What the hook takes from the daemon's settings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The daemon's settings, by name, with typed access to those that matter to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(BTreeMap<String, String>);

/// A setting whose value is not of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is not {expected}: {value:?}")]
pub struct SettingsError {
    name: &'static str,
    expected: &'static str,
    value: String,
}

impl From<BTreeMap<String, String>> for Settings {
    fn from(settings: BTreeMap<String, String>) -> Self {
        Settings(settings)
    }
}

impl Settings {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn words(&self, name: &str) -> BTreeSet<&str> {
        self.text(name).split_ascii_whitespace().collect()
    }

    fn flag(&self, name: &'static str) -> Result<bool, SettingsError> {
        match self.text(name) {
            "true" | "yes" | "1" => Ok(true),
            "" | "false" | "no" | "0" => Ok(false),
            other => Err(SettingsError {
                name,
                expected: "true or false",
                value: other.to_owned(),
            }),
        }
    }

    fn number(&self, name: &'static str, expected: &'static str) -> Result<u64, SettingsError> {
        match self.text(name) {
            "" => Ok(0),
            text => text.parse().map_err(|_| SettingsError {
                name,
                expected,
                value: text.to_owned(),
            }),
        }
    }

    /// 0 is for ever.
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, SettingsError> {
        let seconds = self.number(name, "a number of seconds")?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }

    /// The machine list, unexpanded: `@/etc/nix/machines` as a rule.
    #[must_use]
    pub fn builders(&self) -> &str {
        self.text("builders")
    }

    /// Which store the daemon serves; empty or `auto` for the default one.
    #[must_use]
    pub fn store(&self) -> &str {
        self.text("store")
    }

    /// The coordinator's own system.
    #[must_use]
    pub fn system(&self) -> &str {
        self.text("system")
    }

    /// Whether the daemon itself could build for `system` with `features`.
    #[must_use]
    pub fn can_build_locally(&self, system: &str, features: &[String]) -> bool {
        let offered = self.words("system-features");
        let own = system == "builtin" || system == self.system();
        (own || self.words("extra-platforms").contains(system))
            && features
                .iter()
                .all(|feature| offered.contains(feature.as_str()))
    }

    /// Whether builders may fetch inputs from their own substituters.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn builders_use_substitutes(&self) -> Result<bool, SettingsError> {
        self.flag("builders-use-substitutes")
    }

    /// `max-silent-time`: how long a build may print nothing; `None` for ever.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn max_silent_time(&self) -> Result<Option<Duration>, SettingsError> {
        self.seconds("max-silent-time")
    }

    /// `timeout`: how long a build may take; `None` for ever.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn timeout(&self) -> Result<Option<Duration>, SettingsError> {
        self.seconds("timeout")
    }

    /// `max-build-log-size`: how many bytes a build may print; 0 is without a limit.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn max_build_log_size(&self) -> Result<u64, SettingsError> {
        self.number("max-build-log-size", "a number of bytes")
    }

    /// `auto-optimise-store`: whether equal files of what comes into the store become one.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn auto_optimise_store(&self) -> Result<bool, SettingsError> {
        self.flag("auto-optimise-store")
    }

    /// `fsync-store-paths`: whether what comes into the store is on disk before it is registered.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn fsync_store_paths(&self) -> Result<bool, SettingsError> {
        self.flag("fsync-store-paths")
    }

    /// `keep-failed`: whether the directory of a build that fails is kept.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn keep_failed(&self) -> Result<bool, SettingsError> {
        self.flag("keep-failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Settings(pairs.iter().map(owned).collect())
    }

    #[test]
    fn what_the_daemon_itself_could_build() {
        let settings = settings(&[
            ("system", "x86_64-linux"),
            ("extra-platforms", "i686-linux x86_64-v1-linux"),
            ("system-features", "kvm nixos-test"),
        ]);
        let kvm = ["kvm".to_owned()];
        assert!(settings.can_build_locally("x86_64-linux", &[]));
        assert!(settings.can_build_locally("i686-linux", &kvm));
        assert!(!settings.can_build_locally("aarch64-linux", &[]));
        assert!(!settings.can_build_locally("x86_64-linux", &["big".to_owned()]));
    }

    #[test]
    fn values_of_another_type_are_named() {
        let settings = settings(&[("timeout", "soon"), ("builders-use-substitutes", "maybe")]);
        insta::assert_snapshot!(settings.timeout().unwrap_err(), @r#"setting timeout is not a number of seconds: "soon""#);
        insta::assert_snapshot!(settings.builders_use_substitutes().unwrap_err(), @r#"setting builders-use-substitutes is not true or false: "maybe""#);
        assert_eq!(settings.max_silent_time(), Ok(None));
    }
}
