//! What can be wrong with a machine file.

use std::path::PathBuf;

use super::MAX_FILE;
use crate::machines::Effect;

/// What can be wrong with a machine file, or with a machine in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeProblem {
    /// The file exists and cannot be read.
    #[error("failed to read the file: {0}")]
    Read(String),
    /// More bytes than a machine file has.
    #[error("more than {MAX_FILE} bytes")]
    TooLarge,
    /// The text is no program.
    #[error("not Scheme: {0}")]
    Syntax(String),
    /// The value of the program is something else.
    #[error("value is not a list of build machines")]
    NotMachines,
    /// The program has to be evaluated, and there is no Guix to do it.
    #[error("has to be evaluated by guix repl, which is not there: {0}")]
    NotStatic(String),
    /// Guix could not evaluate the program either.
    #[error("failed to evaluate by {}: {reason}", program.display())]
    Guix {
        /// The program that was called.
        program: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A field that is not `(NAME VALUE)`.
    #[error("field is not (NAME VALUE): {0}")]
    FieldForm(String),
    /// A field that build machines do not have.
    #[error("field is not known: {0}")]
    UnknownField(String),
    /// A field that is there twice.
    #[error("field is there twice: {0}")]
    DuplicateField(&'static str),
    /// Fields that are not there and have no default.
    #[error("fields are missing: {}", .0.join(", "))]
    MissingFields(Vec<&'static str>),
    /// Neither `systems` nor `system` names one.
    #[error("field names no system: systems")]
    NoSystem,
    /// A field has a value of another kind.
    #[error("field {field} is not {expected}")]
    FieldValue {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// What is inherited from is no machine.
    #[error("inherits from what is not a build machine")]
    Inherit,
    /// A file whose contents are the value cannot be read.
    #[error("failed to read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// `system`, which takes one where `systems` takes several.
    #[error("field system is deprecated: write systems")]
    DeprecatedSystem,
    /// A field that machines had once.
    #[error("field has no meaning any more: {0}")]
    ObsoleteField(&'static str),
}

impl SchemeProblem {
    /// What follows from it.
    pub(in crate::machines) fn effect(&self) -> Effect {
        match self {
            SchemeProblem::Read(_)
            | SchemeProblem::TooLarge
            | SchemeProblem::Syntax(_)
            | SchemeProblem::NotMachines
            | SchemeProblem::NotStatic(_)
            | SchemeProblem::Guix { .. } => Effect::ListSkipped,
            SchemeProblem::DeprecatedSystem | SchemeProblem::ObsoleteField(_) => Effect::None,
            _ => Effect::MachineSkipped,
        }
    }
}
