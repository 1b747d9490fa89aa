//! The shapes of forms that are known by sight.

use lispexp::{Datum, DatumKind};

use super::procedure::Procedure;

/// Modules that a program may use: they are there, and have no other meaning for what is known here.
const MODULES: [&str; 5] = ["gnu", "guix", "ice-9", "rnrs", "srfi"];

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

/// `(srfi srfi-1)`, or `((srfi srfi-1) #:select (append-map))`
pub(super) fn is_module(form: &Datum<'_>) -> bool {
    let Some([first, ..]) = list_of(form) else {
        return false;
    };
    match first.as_symbol() {
        Some(name) => MODULES.contains(&name),
        None => is_module(first) && !has_renamer(form),
    }
}

/// Names are changed by `#:renamer`, `#:prefix`, and `#:select ((old . new))`.
fn has_renamer(form: &Datum<'_>) -> bool {
    let mut rest = list_of(form).unwrap_or_default().iter().skip(1);
    rest.any(|item| match &item.kind {
        DatumKind::Keyword(keyword) => *keyword != "#:select",
        _ => list_of(item).is_none_or(|names| names.iter().any(|name| name.as_symbol().is_none())),
    })
}

/// What may stand behind a module's name: `#:use-module MODULE`.
pub(super) fn is_import(option: &Datum<'_>) -> bool {
    match &option.kind {
        DatumKind::Keyword(keyword) => *keyword == "#:use-module",
        _ => is_module(option),
    }
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
