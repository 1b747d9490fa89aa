//! The procedures that a static program may call.

use super::syntax::{SRFI_1, TEXTUAL_PORTS};

/// A procedure that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Procedure {
    /// `(list A B ..)`
    List,
    /// `(append '(A) '(B) ..)`
    Append,
    /// `(cons A '(B))`
    Cons,
    /// `(string-append "a" "b" ..)`
    StringAppend,
    /// `(getenv "HOME")`
    Getenv,
    /// `(call-with-input-file "FILE" get-string-all)`
    CallWithInputFile,
    /// Reads a port to its end.
    GetStringAll,
    /// `(append-map PROCEDURE '(A B ..))`
    AppendMap,
    /// `(lambda (entry) (if (build-machine? entry) (list entry) entry))`: with `append-map`, what Guix System makes of the
    /// machines and lists of machines that its services contribute.
    MachineOrMachines,
}

impl Procedure {
    /// The procedure of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "list" => Procedure::List,
            "append" => Procedure::Append,
            "cons" => Procedure::Cons,
            "string-append" => Procedure::StringAppend,
            "getenv" => Procedure::Getenv,
            "call-with-input-file" => Procedure::CallWithInputFile,
            "get-string-all" => Procedure::GetStringAll,
            "append-map" => Procedure::AppendMap,
            _ => return None,
        })
    }

    /// The module that it has to be imported from, if it is not everywhere.
    pub(super) fn module(self) -> Option<&'static str> {
        match self {
            Procedure::AppendMap => Some(SRFI_1),
            Procedure::GetStringAll => Some(TEXTUAL_PORTS),
            _ => None,
        }
    }
}
