//! What a derivation demands of the machine it is built on.

use std::collections::BTreeSet;

use crate::attributes::{AttributeError, Attributes, words};
use crate::{BasicDerivation, Derivation, Kind, KindError};

/// The feature that Nix demands of a machine for derivations whose output paths are not known before the build.
const CA_DERIVATIONS: &str = "ca-derivations";

/// What a derivation demands of the machine it is built on, read as Nix and Guix read it.
///
/// ```
/// use derivation::{Derivation, StoreDir};
///
/// let text = br#"Derive([("out","","sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("preferLocalBuild","1"),("requiredSystemFeatures","kvm big-parallel")])"#;
/// let requirements = Derivation::parse(&StoreDir::NIX, text)?.requirements()?;
/// assert_eq!(requirements.system, "x86_64-linux");
/// assert!(requirements.features.iter().eq(["big-parallel", "ca-derivations", "kvm"]));
/// assert!(requirements.prefer_local_build && requirements.allow_substitutes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// The kind of machine, such as `x86_64-linux`, or `builtin` for any.
    pub system: String,
    /// Features that the machine must have: `requiredSystemFeatures`, and `ca-derivations` if the output paths are not known before the build.
    pub features: BTreeSet<String>,
    /// How the output paths come about.
    pub kind: Kind,
    /// The daemon builds it by itself, on any machine.
    pub builtin: bool,
    /// Building it costs less than copying (`preferLocalBuild`); a daemon that can build it does so and asks no hook.
    pub prefer_local_build: bool,
    /// The outputs may be downloaded instead of built (`allowSubstitutes`, true unless said otherwise).
    pub allow_substitutes: bool,
    /// It wants to be built outside of the sandbox (`__noChroot`).
    pub no_chroot: bool,
    /// Variables of the daemon's own environment that a fixed-output build sees (`impureEnvVars`).
    pub impure_environment: Vec<String>,
    /// Variables that the daemon hands over as files (`passAsFile`); with structured attributes there are none.
    pub pass_as_file: Vec<String>,
}

/// Why it is not known what a derivation demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequirementsError {
    /// The outputs do not go together.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// An attribute is not what it has to be.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
}

impl Requirements {
    /// Whether the build may use the network: it is judged by what it gives, or every run may differ.
    #[must_use]
    pub fn may_use_network(&self) -> bool {
        matches!(self.kind, Kind::Fixed | Kind::Impure)
    }

    fn read(
        system: &str,
        builtin: bool,
        kind: Kind,
        attributes: &Attributes<'_>,
    ) -> Result<Self, RequirementsError> {
        let mut features: BTreeSet<_> = attributes
            .strings("requiredSystemFeatures")?
            .unwrap_or_default()
            .into_iter()
            .collect();
        if !matches!(kind, Kind::InputAddressed | Kind::Fixed) {
            features.insert(CA_DERIVATIONS.to_owned());
        }
        let pass_as_file = if attributes.structured().is_some() {
            None
        } else {
            attributes.variable("passAsFile")?
        };
        Ok(Self {
            system: system.to_owned(),
            features,
            kind,
            builtin,
            prefer_local_build: attributes.boolean("preferLocalBuild")?.unwrap_or(false),
            allow_substitutes: attributes.boolean("allowSubstitutes")?.unwrap_or(true),
            no_chroot: attributes.boolean("__noChroot")?.unwrap_or(false),
            impure_environment: attributes.strings("impureEnvVars")?.unwrap_or_default(),
            pass_as_file: pass_as_file.map(words).unwrap_or_default(),
        })
    }
}

impl Derivation<'_> {
    /// What it demands of the machine it is built on.
    ///
    /// # Errors
    /// [`RequirementsError`] if the outputs do not go together, or an attribute is of the wrong type.
    pub fn requirements(&self) -> Result<Requirements, RequirementsError> {
        Requirements::read(
            &self.system,
            self.is_builtin(),
            self.kind()?,
            &self.attributes()?,
        )
    }
}

impl BasicDerivation<'_> {
    /// What it demands of the machine it is built on.
    ///
    /// # Errors
    /// [`RequirementsError`] if the outputs do not go together, or an attribute is of the wrong type.
    pub fn requirements(&self) -> Result<Requirements, RequirementsError> {
        Requirements::read(
            &self.system,
            self.is_builtin(),
            self.kind()?,
            &self.attributes()?,
        )
    }

    /// Whether the daemon builds it by itself, on any machine: the system is `builtin`, or the builder begins with `builtin:`.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.system == "builtin" || self.builder.starts_with(b"builtin:")
    }
}
