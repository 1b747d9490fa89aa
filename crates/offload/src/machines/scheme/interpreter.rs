//! What a program comes to, as far as that can be told without evaluating it.
//!
//! Everything that is not known here ends the reading ([`NotStatic`]): whether it is a mistake, Guile will say. What is
//! known and fails (a file that is not there, a field that does not exist) becomes a [`Value::Failed`], so that the other
//! machines of the list stand.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use lispexp::{Datum, DatumKind, Prefix};

use super::build_machine::{FIELDS, Record};
use super::datum::{self, Source};
use super::procedure::Procedure;
use super::syntax::{
    Import, OFFLOAD, imports_of_module, is_known, is_machine_or_machines, list_of, module,
};
use super::value::{List, Value};
use super::{NotStatic, SchemeProblem, Surroundings};
use crate::machines::{MachineList, Origin, Problem};

/// Items and bytes that may be made. A list of a thousand machines makes 20,000 items; a program that doubles a list or a
/// string again and again is left to Guile.
const MAX_MADE: usize = 1 << 20;

/// Evaluates the forms of a machine file, and takes the machines out of the last one's value.
pub(super) fn machines(
    source: &Source<'_>,
    data: &[Datum<'_>],
    surroundings: Surroundings<'_>,
) -> Result<MachineList, NotStatic> {
    let mut interpreter = Interpreter {
        source,
        surroundings,
        globals: HashMap::new(),
        imports: Vec::new(),
        locals: Vec::new(),
        made: 0,
        failures: Vec::new(),
    };
    let mut value = Value::Unspecified;
    let mut origin = source.origin(lispexp::Span::new(0, 0));
    for form in data {
        origin = source.origin(form.span);
        value = interpreter.top_level(form)?;
    }
    let mut list = MachineList::default();
    match value {
        Value::List(values) => values.items().iter().for_each(|value| {
            let problem = match value {
                Value::Machine(record) => match record.machine() {
                    Ok((machine, remarks)) => {
                        list.machines.push(machine);
                        return remarks
                            .into_iter()
                            .for_each(|remark| remember(&mut list, remark));
                    }
                    Err(problem) => problem,
                },
                Value::Failed(problem) => (**problem).clone(),
                _ => Problem::new(origin.clone(), SchemeProblem::NotMachines),
            };
            remember(&mut list, problem);
        }),
        Value::Failed(problem) => remember(&mut list, (*problem).clone()),
        _ => remember(&mut list, Problem::new(origin, SchemeProblem::NotMachines)),
    }
    let failures = interpreter.failures.into_iter();
    failures.for_each(|failure| remember(&mut list, failure));
    // As in Guix, one thing that is no machine makes all of it something else.
    if list.problems.iter().any(Problem::is_fatal) {
        list.machines.clear();
    }
    Ok(list)
}

/// Once, though several machines may inherit it.
fn remember(list: &mut MachineList, problem: Problem) {
    if !list.problems.contains(&problem) {
        list.problems.push(problem);
    }
}

struct Interpreter<'a> {
    source: &'a Source<'a>,
    surroundings: Surroundings<'a>,
    globals: HashMap<&'a str, Value>,
    imports: Vec<Import<'a>>,
    /// The fields of the machine that is being made, as far as they were given: a field's value may refer to them.
    locals: Vec<(&'static str, Value)>,
    made: usize,
    /// All that has failed: it is told even if nothing is made of it.
    failures: Vec<Problem>,
}

impl<'a> Interpreter<'a> {
    fn top_level(&mut self, form: &Datum<'a>) -> Result<Value, NotStatic> {
        let (Some(head), Some([_, rest @ ..])) = (form.head_symbol(), list_of(form)) else {
            return self.value(form);
        };
        match (head, rest) {
            ("define", [name, value]) => {
                let name = name.as_symbol().filter(|name| !is_known(name));
                let name = name.ok_or_else(|| self.not_static(form))?;
                let value = self.value(value)?;
                self.globals.insert(name, value);
                Ok(Value::Unspecified)
            }
            ("define-module", [_, options @ ..]) => {
                let imports = imports_of_module(options);
                // Such a file has only what it imports.
                let has_machines = |imports: &Vec<Import<'_>>| {
                    imports
                        .iter()
                        .any(|import| import.brings("build-machine", OFFLOAD))
                };
                let imports = imports.filter(has_machines);
                self.imports = imports.ok_or_else(|| self.not_static(form))?;
                Ok(Value::Unspecified)
            }
            ("use-modules", modules) => {
                let imports: Option<Vec<_>> = modules.iter().map(Import::of).collect();
                let imports = imports.ok_or_else(|| self.not_static(form))?;
                self.imports.extend(imports);
                Ok(Value::Unspecified)
            }
            _ => self.value(form),
        }
    }

    fn value(&mut self, form: &Datum<'a>) -> Result<Value, NotStatic> {
        let value = match &form.kind {
            DatumKind::Str(raw) => datum::string(raw).map(Value::string),
            DatumKind::Number(raw) => datum::number(raw).map(Value::Number),
            DatumKind::Bool(value) => Some(Value::Bool(*value)),
            DatumKind::Symbol(name) => self.variable(name),
            DatumKind::Prefixed {
                prefix: Prefix::Quote,
                inner,
                ..
            } => return self.quoted(inner, false),
            DatumKind::Prefixed {
                prefix: Prefix::Quasiquote,
                inner,
                ..
            } => return self.quoted(inner, true),
            DatumKind::List { tail: None, .. } => return self.combination(form),
            _ => None,
        };
        value.ok_or_else(|| self.not_static(form))
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let local = self.locals.iter().rev().find(|(field, _)| *field == name);
        let value = local
            .map(|(_, value)| value)
            .or_else(|| self.globals.get(name));
        let is_here = |procedure: &Procedure| {
            let home = procedure.module();
            home.is_none_or(|home| self.imports.iter().any(|import| import.brings(name, home)))
        };
        let procedure = || Procedure::named(name).filter(is_here).map(Value::Procedure);
        value.cloned().or_else(procedure)
    }

    /// `(OPERATOR OPERAND ..)`
    fn combination(&mut self, form: &Datum<'a>) -> Result<Value, NotStatic> {
        let [operator, operands @ ..] = list_of(form).unwrap_or_default() else {
            return Err(self.not_static(form));
        };
        match (operator.as_symbol(), operands) {
            (Some("build-machine"), fields) => self.build_machine(form, fields),
            (Some("if"), [condition, yes, no]) => match self.value(condition)? {
                Value::Bool(false) => self.value(no),
                Value::Failed(problem) => Ok(Value::Failed(problem)),
                _ => self.value(yes),
            },
            (Some("@" | "@@"), [home, name]) => {
                let procedure = name.as_symbol().and_then(Procedure::named);
                let is_there = |procedure: &Procedure| {
                    procedure
                        .module()
                        .is_some_and(|known| module(home) == Some(known))
                };
                let procedure = procedure.filter(is_there).map(Value::Procedure);
                procedure.ok_or_else(|| self.not_static(form))
            }
            (Some("lambda"), _) if is_machine_or_machines(form) => {
                Ok(Value::Procedure(Procedure::MachineOrMachines))
            }
            (Some(name), _) if self.variable(name).is_none() => Err(self.not_static(form)),
            _ => {
                let Value::Procedure(procedure) = self.value(operator)? else {
                    return Err(self.not_static(form));
                };
                let values = operands.iter().map(|operand| self.value(operand));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                self.apply(form, procedure, &values)
            }
        }
    }

    fn apply(
        &mut self,
        form: &Datum<'a>,
        procedure: Procedure,
        values: &[Value],
    ) -> Result<Value, NotStatic> {
        // A list holds what has failed; everything else fails with it.
        if !matches!(procedure, Procedure::List | Procedure::Cons)
            && let Some(failed) = values
                .iter()
                .find(|value| matches!(value, Value::Failed(_)))
        {
            return Ok(failed.clone());
        }
        match (procedure, values) {
            (Procedure::List, items) => self.list(form, items.to_vec()),
            (Procedure::Cons, [first, Value::List(rest)]) => {
                let items = std::iter::once(first).chain(rest.items());
                self.list(form, items.cloned().collect())
            }
            (Procedure::Append, lists) => {
                let mut items = Vec::new();
                for list in lists {
                    let Value::List(list) = list else {
                        return Err(self.not_static(form));
                    };
                    self.charge(form, list.items().len())?;
                    items.extend_from_slice(list.items());
                }
                self.list(form, items)
            }
            (Procedure::StringAppend, parts) => self.string_append(form, parts),
            (Procedure::Getenv, [Value::String(name)]) => {
                let value = (self.surroundings.variable)(name);
                Ok(value.map_or(Value::Bool(false), Value::string))
            }
            (
                Procedure::CallWithInputFile,
                [
                    Value::String(path),
                    Value::Procedure(Procedure::GetStringAll),
                ],
            ) => self.file(form, path),
            (
                Procedure::AppendMap,
                [
                    Value::Procedure(Procedure::MachineOrMachines),
                    Value::List(list),
                ],
            ) => self.machine_or_machines(form, list),
            _ => Err(self.not_static(form)),
        }
    }

    fn string_append(&mut self, form: &Datum<'a>, parts: &[Value]) -> Result<Value, NotStatic> {
        let mut text = String::new();
        for part in parts {
            let Value::String(part) = part else {
                return Err(self.not_static(form));
            };
            self.charge(form, part.len())?;
            text.push_str(part);
        }
        Ok(Value::string(text))
    }

    fn file(&mut self, form: &Datum<'a>, path: &str) -> Result<Value, NotStatic> {
        let path = Path::new(path);
        match (self.surroundings.read)(path) {
            Ok(text) => {
                self.charge(form, text.len())?;
                Ok(Value::string(text))
            }
            Err(error) => {
                let kind = SchemeProblem::File {
                    path: path.to_owned(),
                    reason: error.to_string(),
                };
                Ok(self.failed(self.source.origin(form.span), kind))
            }
        }
    }

    fn machine_or_machines(&mut self, form: &Datum<'a>, list: &List) -> Result<Value, NotStatic> {
        let mut items = Vec::new();
        for entry in list.items() {
            match entry {
                Value::Machine(_) | Value::Failed(_) => items.push(entry.clone()),
                Value::List(inner) => {
                    self.charge(form, inner.items().len())?;
                    items.extend_from_slice(inner.items());
                }
                _ => return Err(self.not_static(form)),
            }
        }
        self.list(form, items)
    }

    /// `'FORM`, or `` `FORM `` with `,VALUE` and `,@LIST` inside.
    fn quoted(&mut self, form: &Datum<'a>, quasi: bool) -> Result<Value, NotStatic> {
        let value = match &form.kind {
            DatumKind::Symbol(_) => Some(Value::Symbol),
            DatumKind::Str(_) | DatumKind::Number(_) | DatumKind::Bool(_) => {
                return self.value(form);
            }
            DatumKind::Prefixed {
                prefix: Prefix::Unquote,
                inner,
                ..
            } if quasi => return self.value(inner),
            DatumKind::List {
                items, tail: None, ..
            } => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    match &item.kind {
                        DatumKind::Prefixed {
                            prefix: Prefix::UnquoteSplicing,
                            inner,
                            ..
                        } if quasi => {
                            let Value::List(list) = self.value(inner)? else {
                                return Err(self.not_static(item));
                            };
                            self.charge(item, list.items().len())?;
                            values.extend_from_slice(list.items());
                        }
                        _ => values.push(self.quoted(item, quasi)?),
                    }
                }
                return self.list(form, values);
            }
            _ => None,
        };
        value.ok_or_else(|| self.not_static(form))
    }

    /// `(build-machine (inherit OTHER) (FIELD VALUE) ..)`. As in Guix, a value may refer to the fields before it.
    fn build_machine(
        &mut self,
        form: &Datum<'a>,
        fields: &[Datum<'a>],
    ) -> Result<Value, NotStatic> {
        let origin = self.source.origin(form.span);
        if !self.locals.is_empty() {
            return Err(self.not_static(form));
        }
        let made = self.record(origin, fields);
        self.locals.clear();
        made
    }

    fn record(&mut self, origin: Origin, fields: &[Datum<'a>]) -> Result<Value, NotStatic> {
        let mut record = None;
        let mut inherits = false;
        for (index, field) in fields.iter().enumerate() {
            let place = self.source.origin(field.span);
            let (Some(name), Some([_, value])) = (field.head_symbol(), list_of(field)) else {
                if matches!(field.kind, DatumKind::List { tail: Some(_), .. }) {
                    return Err(self.not_static(field));
                }
                let form = self.not_static(field).form;
                return Ok(self.failed(place, SchemeProblem::FieldForm(form)));
            };
            if name == "inherit" && index == 0 {
                inherits = true;
                match self.value(value)? {
                    Value::Machine(other) => {
                        record = Some(Record::new(origin.clone(), Some(&other)));
                    }
                    Value::Failed(problem) => return Ok(Value::Failed(problem)),
                    _ => return Ok(self.failed(place, SchemeProblem::Inherit)),
                }
                continue;
            }
            let Some(known) = FIELDS.into_iter().find(|known| *known == name) else {
                return Ok(self.failed(place, SchemeProblem::UnknownField(name.to_owned())));
            };
            // Guix does not mind where something is inherited: the last one counts.
            if !inherits && self.locals.iter().any(|(other, _)| *other == known) {
                return Ok(self.failed(place, SchemeProblem::DuplicateField(known)));
            }
            let value = self.value(value)?;
            self.locals.push((known, value.clone()));
            let record = record.get_or_insert_with(|| Record::new(origin.clone(), None));
            record.set(known, value, place);
        }
        let record = record.unwrap_or_else(|| Record::new(origin, None));
        Ok(Value::Machine(Rc::new(record)))
    }

    fn failed(&mut self, origin: Origin, kind: SchemeProblem) -> Value {
        let problem = Problem::new(origin, kind);
        self.failures.push(problem.clone());
        Value::Failed(Rc::new(problem))
    }

    fn list(&mut self, form: &Datum<'a>, items: Vec<Value>) -> Result<Value, NotStatic> {
        self.charge(form, 1 + items.len())?;
        let list = List::new(items).ok_or_else(|| self.not_static(form))?;
        Ok(Value::List(list))
    }

    fn charge(&mut self, form: &Datum<'a>, amount: usize) -> Result<(), NotStatic> {
        self.made += amount;
        match self.made <= MAX_MADE {
            true => Ok(()),
            false => Err(self.not_static(form)),
        }
    }

    fn not_static(&self, form: &Datum<'a>) -> NotStatic {
        self.source.not_static(form.span)
    }
}
