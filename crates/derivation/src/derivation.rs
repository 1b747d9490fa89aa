//! The derivation itself.

use std::borrow::Cow;

use store_path::{ContentAddress, StoreDir, StorePathCow, StorePathRef};

use crate::{Error, Output, OutputName, SortedMap, SortedSet, WantedOutputs};

/// Bytes that are part of the file, or stand on their own if something was escaped.
pub type Bytes<'a> = Cow<'a, [u8]>;

/// What is built, out of what, by which program.
///
/// The fields are plain data in the order of the file. Parsing a file borrows from it wherever nothing is escaped; [`into_owned`](Self::into_owned)
/// cuts the tie. Strings are bytes, because an environment may hold anything; names and store paths are checked text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Derivation<'a> {
    /// What it makes, by name.
    pub outputs: SortedMap<OutputName<'a>, Output<'a>>,
    /// Derivations that are built first, and the outputs wanted of each.
    pub input_derivations: SortedMap<StorePathCow<'a>, WantedOutputs<'a>>,
    /// Store objects that are there already.
    pub input_sources: SortedSet<StorePathCow<'a>>,
    /// The kind of machine it is built on, such as `x86_64-linux`; `builtin` for what the daemon does by itself.
    pub system: Cow<'a, str>,
    /// The program that builds, or the name of what the daemon does by itself, such as `builtin:fetchurl`.
    pub builder: Bytes<'a>,
    /// The program's arguments.
    pub arguments: Vec<Bytes<'a>>,
    /// The program's environment. If it has `__json`, see [`structured_attributes`](Self::structured_attributes).
    pub environment: SortedMap<Bytes<'a>, Bytes<'a>>,
}

/// How the output paths of a derivation come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From what the derivation says.
    InputAddressed,
    /// From what the derivation says, once the paths of its inputs are known.
    Deferred,
    /// The one output `out` has a content address that is known beforehand; its build may use the network.
    Fixed,
    /// From what the build gives.
    Floating,
    /// From what the build gives, every time something else; its build may use the network.
    Impure,
}

/// Why a derivation is of no kind, and could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// There is no output.
    #[error("derivation has no output")]
    NoOutput,
    /// Outputs are of different kinds.
    #[error("derivation has outputs of different kinds")]
    Mixed,
    /// A fixed output stands beside others, or is not called `out`.
    #[error("derivation has a fixed output that is not its only output `out`")]
    FixedNotAlone,
}

/// The output of a fixed-output derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedOutput<'a> {
    /// Where it lies.
    pub path: StorePathRef<'a>,
    /// What it has to hash to.
    pub address: ContentAddress,
}

impl<'a> Derivation<'a> {
    /// Reads a whole `.drv` file of the store at `dir`.
    ///
    /// Strict: what it accepts, [`print`](Self::print) writes back byte for byte.
    ///
    /// # Errors
    /// [`Error`], which says where, what was expected and what was found.
    ///
    /// ```
    /// use derivation::{Derivation, StoreDir};
    ///
    /// let text = br#"Derive([("out","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo > $out"],[("out","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a")])"#;
    /// let derivation = Derivation::parse(&StoreDir::NIX, text)?;
    /// assert_eq!(derivation.system, "x86_64-linux");
    /// assert_eq!(derivation.print(&StoreDir::NIX), text);
    ///
    /// let error = Derivation::parse(&StoreDir::NIX, b"Derive([],[],[],x86_64-linux").unwrap_err();
    /// assert_eq!(error.to_string(), r#"expected the `"` of a string at 16, found "x86_64-linux""#);
    /// # Ok::<(), derivation::Error>(())
    /// ```
    pub fn parse(dir: &StoreDir, text: &'a [u8]) -> Result<Self, Error> {
        crate::parse::derivation(dir, text).map(|(derivation, _)| derivation)
    }

    /// Writes it as the file in the store at `dir`.
    #[must_use]
    pub fn print(&self, dir: &StoreDir) -> Vec<u8> {
        crate::print::derivation(dir, self)
    }

    /// How its output paths come about.
    ///
    /// # Errors
    /// [`KindError`] if there is no output, or if they do not go together.
    pub fn kind(&self) -> Result<Kind, KindError> {
        kind(&self.outputs)
    }

    /// Whether it is of kind [`Kind::Fixed`].
    #[must_use]
    pub fn is_fixed_output(&self) -> bool {
        self.fixed_output().is_some()
    }

    /// The fixed output, if it is of kind [`Kind::Fixed`].
    #[must_use]
    pub fn fixed_output(&self) -> Option<FixedOutput<'_>> {
        fixed_output(&self.outputs)
    }

    /// Whether the daemon builds it by itself, on any machine: the system is `builtin`, or the builder begins with `builtin:`.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.system == "builtin" || self.builder.starts_with(b"builtin:")
    }

    /// Whether some input is an output of a derivation that is itself built.
    #[must_use]
    pub fn has_dynamic_inputs(&self) -> bool {
        self.input_derivations
            .values()
            .any(|wanted| !wanted.dynamic.is_empty())
    }

    /// The same derivation, with text of its own.
    #[must_use]
    pub fn into_owned(self) -> Derivation<'static> {
        Derivation {
            outputs: own_outputs(self.outputs),
            input_derivations: self
                .input_derivations
                .into_iter()
                .map(|(path, wanted)| (path.into_owned().into(), wanted.into_owned()))
                .collect(),
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

pub(crate) fn own(bytes: Bytes<'_>) -> Bytes<'static> {
    Cow::Owned(bytes.into_owned())
}

pub(crate) fn own_outputs(
    outputs: SortedMap<OutputName<'_>, Output<'_>>,
) -> SortedMap<OutputName<'static>, Output<'static>> {
    outputs
        .into_iter()
        .map(|(name, output)| (Cow::Owned(name.into_owned()), output.into_owned()))
        .collect()
}

pub(crate) fn fixed_output<'a>(
    outputs: &'a SortedMap<OutputName<'_>, Output<'_>>,
) -> Option<FixedOutput<'a>> {
    match (outputs.len(), outputs.get("out")) {
        (1, Some(Output::Fixed { path, address })) => Some(FixedOutput {
            path: path.as_path_ref(),
            address: *address,
        }),
        _ => None,
    }
}

pub(crate) fn kind(outputs: &SortedMap<OutputName<'_>, Output<'_>>) -> Result<Kind, KindError> {
    let mut kinds = outputs.values().map(|output| match output {
        Output::InputAddressed { .. } => Kind::InputAddressed,
        Output::Fixed { .. } => Kind::Fixed,
        Output::Floating { .. } => Kind::Floating,
        Output::Deferred => Kind::Deferred,
        Output::Impure { .. } => Kind::Impure,
    });
    let kind = kinds.next().ok_or(KindError::NoOutput)?;
    if kinds.any(|other| other != kind) {
        return Err(KindError::Mixed);
    }
    if kind == Kind::Fixed && fixed_output(outputs).is_none() {
        return Err(KindError::FixedNotAlone);
    }
    Ok(kind)
}
