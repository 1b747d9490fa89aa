//! What an expression comes to.

use std::rc::Rc;

use super::build_machine::Record;
use super::procedure::Procedure;
use crate::machines::Problem;

/// Lists in lists: the value of a machine file has one level, with what Guix System writes two.
const MAX_DEPTH: usize = 64;

/// A value. Cheap to copy.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What a `define` comes to.
    Unspecified,
    Bool(bool),
    Number(f64),
    String(Rc<str>),
    /// Which one makes no difference: no field is one.
    Symbol,
    List(List),
    Machine(Rc<Record>),
    Procedure(Procedure),
    /// What has no value; whoever makes something of it fails for the same reason.
    Failed(Rc<Problem>),
}

impl Value {
    pub(super) fn string(text: impl Into<Rc<str>>) -> Self {
        Value::String(text.into())
    }
}

/// A list, which knows how deep it is: what is nested without end could not even be freed.
#[derive(Debug, Clone)]
pub(super) struct List {
    items: Rc<[Value]>,
    depth: usize,
}

impl List {
    /// A list of these items, unless it is too deep.
    pub(super) fn new(items: Vec<Value>) -> Option<Self> {
        let depths = items.iter().map(|item| match item {
            Value::List(list) => list.depth,
            _ => 0,
        });
        let depth = 1 + depths.max().unwrap_or_default();
        (depth <= MAX_DEPTH).then(|| List {
            items: items.into(),
            depth,
        })
    }

    pub(super) fn items(&self) -> &[Value] {
        &self.items
    }
}
