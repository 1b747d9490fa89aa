//! What a derivation wants of another one.

use crate::{OutputName, SortedMap, SortedSet};

/// How deep dynamic inputs may be nested: each level is a derivation that a derivation made. One is usual, two are a stunt.
pub const MAX_DYNAMIC_DEPTH: usize = 64;

/// The outputs that a derivation wants of one of its inputs.
///
/// ```text
/// ["dev","out"]                          two outputs
/// (["out"],[("out",["bin"])])            one output; and, of the derivation that this very output is, another one
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WantedOutputs<'a> {
    /// Outputs used as they are.
    pub outputs: SortedSet<OutputName<'a>>,
    /// Outputs that are derivations themselves (an experiment of Nix since 2.18), and what is wanted of them.
    pub dynamic: SortedMap<OutputName<'a>, WantedOutputs<'a>>,
}

impl WantedOutputs<'_> {
    /// The same, with strings of its own.
    #[must_use]
    pub fn into_owned(self) -> WantedOutputs<'static> {
        WantedOutputs {
            outputs: self
                .outputs
                .into_iter()
                .map(|name| OutputName::Owned(name.into_owned()))
                .collect(),
            dynamic: self
                .dynamic
                .into_iter()
                .map(|(name, wanted)| (OutputName::Owned(name.into_owned()), wanted.into_owned()))
                .collect(),
        }
    }
}

/// Plain outputs by name.
impl<'a> FromIterator<OutputName<'a>> for WantedOutputs<'a> {
    fn from_iter<I: IntoIterator<Item = OutputName<'a>>>(names: I) -> Self {
        Self {
            outputs: names.into_iter().collect(),
            dynamic: SortedMap::new(),
        }
    }
}
