//! The shapes of forms that are known by sight.

use lispexp::{Datum, DatumKind};

use super::procedure::Procedure;

/// Modules that a program may import: they are there in Guix 1.2.0 and 1.5.0, and give no other meaning to what is known
/// here.
const MODULES: [&str; 10] = [
    OFFLOAD,
    SRFI_1,
    TEXTUAL_PORTS,
    "gnu",
    "guix",
    "guix gexp",
    "guix utils",
    "ice-9 match",
    "ice-9 rdelim",
    "srfi srfi-26",
];

/// The module that makes machines. A machine file has it without asking, unless it is a module of its own.
pub(super) const OFFLOAD: &str = "guix scripts offload";
/// The module of `append-map`.
pub(super) const SRFI_1: &str = "srfi srfi-1";
/// The module of `get-string-all`.
pub(super) const TEXTUAL_PORTS: &str = "ice-9 textual-ports";

/// What a program imports: `(srfi srfi-1)`, or `((srfi srfi-1) #:select (append-map))`.
#[derive(Debug)]
pub(super) struct Import<'a> {
    module: &'static str,
    only: Option<Vec<&'a str>>,
}

impl<'a> Import<'a> {
    /// The import of a module that is known here. Names that are changed on the way are not.
    pub(super) fn of(form: &Datum<'a>) -> Option<Self> {
        if let Some(module) = module(form) {
            return Some(Import { module, only: None });
        }
        let [module_form, select, names] = list_of(form)? else {
            return None;
        };
        let is_select = matches!(select.kind, DatumKind::Keyword("#:select"));
        let names = list_of(names).filter(|_| is_select)?;
        Some(Import {
            module: module(module_form)?,
            only: Some(names.iter().map(Datum::as_symbol).collect::<Option<_>>()?),
        })
    }

    /// Whether it makes `name` of `module` known.
    pub(super) fn brings(&self, name: &str, module: &str) -> bool {
        self.module == module && self.only.as_ref().is_none_or(|only| only.contains(&name))
    }
}

/// `(srfi srfi-1)`, if it is known.
pub(super) fn module(form: &Datum<'_>) -> Option<&'static str> {
    let words = list_of(form)?.iter().map(Datum::as_symbol);
    let name = words.collect::<Option<Vec<_>>>()?.join(" ");
    MODULES.into_iter().find(|known| *known == name)
}

/// `#:use-module MODULE #:use-module MODULE ..`
pub(super) fn imports_of_module<'a>(options: &[Datum<'a>]) -> Option<Vec<Import<'a>>> {
    let pairs = options.chunks(2).map(|pair| match pair {
        [option, import] if matches!(option.kind, DatumKind::Keyword("#:use-module")) => {
            Import::of(import)
        }
        _ => None,
    });
    pairs.collect()
}

/// The items of a proper list.
pub(super) fn list_of<'d, 'a>(form: &'d Datum<'a>) -> Option<&'d [Datum<'a>]> {
    match &form.kind {
        DatumKind::List {
            items, tail: None, ..
        } => Some(items),
        _ => None,
    }
}

/// Whether the name means something here, so that a program that gives it another meaning is left to Guile.
pub(super) fn is_known(name: &str) -> bool {
    let forms = [
        "@",
        "@@",
        "build-machine",
        "build-machine?",
        "define",
        "define-module",
        "if",
        "inherit",
        "lambda",
        "quasiquote",
        "quote",
        "unquote",
        "unquote-splicing",
        "use-modules",
    ];
    forms.contains(&name) || Procedure::named(name).is_some()
}

/// `(lambda (X) (if (build-machine? X) (list X) X))`
pub(super) fn is_machine_or_machines(form: &Datum<'_>) -> bool {
    let parts = || {
        let [_, parameters, body] = list_of(form)? else {
            return None;
        };
        let [parameter] = list_of(parameters)? else {
            return None;
        };
        let [keyword, test, one, many] = list_of(body)? else {
            return None;
        };
        Some((
            parameter.as_symbol()?,
            keyword.as_symbol()?,
            list_of(test)?,
            list_of(one)?,
            many,
        ))
    };
    let Some((x, "if", [predicate, tested], [list, listed], many)) = parts() else {
        return false;
    };
    let is = |form: &Datum<'_>, name| form.as_symbol() == Some(name);
    !is_known(x)
        && is(predicate, "build-machine?")
        && is(list, "list")
        && [tested, listed, many].into_iter().all(|form| is(form, x))
}
