//! Why two derivations differ, in words.

mod compare;

use std::fmt;

use store_path::{ContentAddress, StorePath};

use crate::derivation_name;

/// One of two derivations that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that was asked.
    First,
    /// The one it was compared with.
    Second,
}

/// One thing in which two derivations differ. Printed, it is a clause: "only the first has output `dev`".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only one has this part: an output, an input, a variable, an attribute.
    Only {
        /// Which one.
        side: Side,
        /// What kind of part.
        part: Part,
        /// Its name.
        name: String,
    },
    /// An output is of different kinds.
    OutputKind {
        /// Its name.
        output: String,
        /// The first's kind, as an adjective.
        first: &'static str,
        /// The second's kind.
        second: &'static str,
    },
    /// A fixed output must be something else.
    FixedOutput {
        /// Its name.
        output: String,
        /// What the first must be.
        first: ContentAddress,
        /// What the second must be.
        second: ContentAddress,
    },
    /// An output lies elsewhere.
    OutputPath {
        /// Its name.
        output: String,
        /// Where the first's lies.
        first: StorePath,
        /// Where the second's lies.
        second: StorePath,
    },
    /// An input with the same name (but perhaps for its version) is another one.
    Input {
        /// A derivation or a source.
        part: Part,
        /// The first's.
        first: StorePath,
        /// The second's.
        second: StorePath,
    },
    /// Different outputs are wanted of the same input.
    WantedOutputs {
        /// The input.
        input: StorePath,
        /// What the first wants.
        first: Vec<String>,
        /// What the second wants.
        second: Vec<String>,
    },
    /// A text is another one.
    Text {
        /// What kind of part.
        part: Part,
        /// Its name; empty if there is only one of its kind.
        name: String,
        /// What the first says, around the first byte that differs.
        first: String,
        /// What the second says there.
        second: String,
    },
    /// A text is the same but for store paths, which differ in their names too.
    OtherPaths {
        /// What kind of part.
        part: Part,
        /// Its name; empty if there is only one of its kind.
        name: String,
        /// What the first says, around the first byte that differs.
        first: String,
        /// What the second says there.
        second: String,
    },
    /// A text is the same but for the hashes in store paths.
    StorePaths {
        /// What kind of part.
        part: Part,
        /// Its name; empty if there is only one of its kind.
        name: String,
    },
}

/// A part of a derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it makes.
    Output,
    /// A derivation that it uses.
    InputDerivation,
    /// A store object that it uses.
    InputSource,
    /// The kind of machine.
    System,
    /// The program.
    Builder,
    /// One of the program's arguments, counted from 1.
    Argument,
    /// A variable of the program's environment.
    Variable,
    /// A structured attribute.
    Attribute,
}

impl Difference {
    /// Whether it may follow from another difference: the path of an output does, as does a text in which only store paths differ.
    #[must_use]
    pub fn is_consequence(&self) -> bool {
        matches!(
            self,
            Self::OutputPath { .. } | Self::OtherPaths { .. } | Self::StorePaths { .. }
        )
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "the first",
            Self::Second => "the second",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Output => "output",
            Self::InputDerivation => "input derivation",
            Self::InputSource => "input source",
            Self::System => "system",
            Self::Builder => "builder",
            Self::Argument => "argument",
            Self::Variable => "variable",
            Self::Attribute => "attribute",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only { side, part, name } => write!(f, "only {side} has {part} `{name}`"),
            Self::OutputKind {
                output,
                first,
                second,
            } => write!(
                f,
                "output `{output}` is {first} in the first and {second} in the second"
            ),
            Self::FixedOutput {
                output,
                first,
                second,
            } => write!(
                f,
                "output `{output}` has to be {first} in the first and {second} in the second"
            ),
            Self::OutputPath {
                output,
                first,
                second,
            } => write!(
                f,
                "output `{output}` lies at {first} in the first and at {second} in the second"
            ),
            Self::Input {
                part,
                first,
                second,
            } => {
                let name = derivation_name(first.as_path_ref()).unwrap_or(first.name());
                write!(
                    f,
                    "{part} `{name}` is {first} in the first and {second} in the second"
                )
            }
            Self::WantedOutputs {
                input,
                first,
                second,
            } => {
                let (first, second) = (first.join(", "), second.join(", "));
                write!(
                    f,
                    "the first wants {first} of input derivation {input} and the second {second}"
                )
            }
            Self::Text {
                part,
                name,
                first,
                second,
            }
            | Self::OtherPaths {
                part,
                name,
                first,
                second,
            } => {
                let named = Named(*part, name);
                write!(
                    f,
                    "{named} is {first:?} in the first and {second:?} in the second"
                )
            }
            Self::StorePaths { part, name } => {
                let named = Named(*part, name);
                write!(f, "{named} differs in the hashes of store paths only")
            }
        }
    }
}

/// A part, by its name if it has one.
struct Named<'a>(Part, &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named(part, "") => write!(f, "{part}"),
            Named(part, name) => write!(f, "{part} `{name}`"),
        }
    }
}
