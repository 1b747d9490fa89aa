//! A derivation whose inputs are all there.

use std::borrow::Cow;

use store_path::{StorePath, StorePathCow};

use crate::derivation::{self, FixedOutput, own, own_outputs};
use crate::{Bytes, Derivation, Kind, KindError, Output, OutputName, SortedMap, SortedSet};

/// A derivation that refers to no other: its inputs are store objects.
///
/// This is what a builder is sent by operation 36 (`BuildDerivation`) of the worker protocol: outputs with their three
/// [fields](Output::fields), input sources, system, builder, arguments, environment, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BasicDerivation<'a> {
    /// What it makes, by name.
    pub outputs: SortedMap<OutputName<'a>, Output<'a>>,
    /// All store objects that the build may see.
    pub input_sources: SortedSet<StorePathCow<'a>>,
    /// The kind of machine it is built on.
    pub system: Cow<'a, str>,
    /// The program that builds.
    pub builder: Bytes<'a>,
    /// The program's arguments.
    pub arguments: Vec<Bytes<'a>>,
    /// The program's environment.
    pub environment: SortedMap<Bytes<'a>, Bytes<'a>>,
}

impl<'a> Derivation<'a> {
    /// Replaces the input derivations by the store objects that they made (usually the closure of all inputs, which a coordinator's daemon
    /// hands to its hook). The sources of the derivation stay inputs.
    ///
    /// Nothing else changes: right for every derivation whose strings hold real paths, which is what a daemon hands out for building.
    ///
    /// ```
    /// use derivation::{Derivation, StoreDir};
    ///
    /// let text = br#"Derive([("out","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a","","")],[("/nix/store/4az4k8yz16sqj4xjsw8xk7v1s2wz0y3a-b.drv",["out"])],[],"x86_64-linux","/bin/sh",[],[])"#;
    /// let derivation = Derivation::parse(&StoreDir::NIX, text)?;
    /// let input = StoreDir::NIX.parse("/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-b")?;
    /// let basic = derivation.resolve([input]);
    /// assert_eq!(basic.input_sources.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resolve(self, inputs: impl IntoIterator<Item = StorePath>) -> BasicDerivation<'a> {
        let inputs = inputs.into_iter().map(StorePathCow::Owned);
        BasicDerivation {
            outputs: self.outputs,
            input_sources: self.input_sources.into_iter().chain(inputs).collect(),
            system: self.system,
            builder: self.builder,
            arguments: self.arguments,
            environment: self.environment,
        }
    }
}

impl<'a> BasicDerivation<'a> {
    /// How its output paths come about.
    ///
    /// # Errors
    /// [`KindError`] if there is no output, or if they do not go together.
    pub fn kind(&self) -> Result<Kind, KindError> {
        derivation::kind(&self.outputs)
    }

    /// The fixed output, if it is of kind [`Kind::Fixed`].
    #[must_use]
    pub fn fixed_output(&self) -> Option<FixedOutput<'_>> {
        derivation::fixed_output(&self.outputs)
    }

    /// The same with text of its own.
    #[must_use]
    pub fn into_owned(self) -> BasicDerivation<'static> {
        BasicDerivation {
            outputs: own_outputs(self.outputs),
            input_sources: self
                .input_sources
                .into_iter()
                .map(|path| path.into_owned().into())
                .collect(),
            system: self.system.into_owned().into(),
            builder: own(self.builder),
            arguments: self.arguments.into_iter().map(own).collect(),
            environment: self
                .environment
                .into_iter()
                .map(|(name, value)| (own(name), own(value)))
                .collect(),
        }
    }
}

/// A derivation without input derivations.
impl<'a> From<BasicDerivation<'a>> for Derivation<'a> {
    fn from(basic: BasicDerivation<'a>) -> Self {
        Self {
            outputs: basic.outputs,
            input_derivations: SortedMap::new(),
            input_sources: basic.input_sources,
            system: basic.system,
            builder: basic.builder,
            arguments: basic.arguments,
            environment: basic.environment,
        }
    }
}
