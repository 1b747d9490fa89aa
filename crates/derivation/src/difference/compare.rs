//! How differences are found.

use std::collections::BTreeSet;

use store_path::{StorePath, StorePathCow, StorePathRef};

use super::{Difference, Part, Side};
use crate::attributes::STRUCTURED;
use crate::{Derivation, Output, OutputName, SortedMap, WantedOutputs};

impl Derivation<'_> {
    /// Everything in which another derivation differs from this one, in the order of the file. Empty if they are equal.
    ///
    /// ```
    /// use derivation::{Derivation, StoreDir};
    ///
    /// let first = Derivation::parse(&StoreDir::NIX, br#"Derive([],[],[],"x86_64-linux","/bin/sh",[],[("CFLAGS","-O2")])"#)?;
    /// let second = Derivation::parse(&StoreDir::NIX, br#"Derive([],[],[],"x86_64-linux","/bin/sh",[],[("CFLAGS","-O3")])"#)?;
    /// let differences: Vec<_> = first.differences(&second).iter().map(ToString::to_string).collect();
    /// assert_eq!(differences, [r#"variable `CFLAGS` is "-O2" in the first and "-O3" in the second"#]);
    /// # Ok::<(), derivation::Error>(())
    /// ```
    #[must_use]
    pub fn differences(&self, other: &Derivation<'_>) -> Vec<Difference> {
        let mut found = Vec::new();
        outputs(&mut found, &self.outputs, &other.outputs);
        input_derivations(
            &mut found,
            &self.input_derivations,
            &other.input_derivations,
        );
        let only_first = missing(self.input_sources.iter(), |path| {
            other.input_sources.contains(path)
        });
        let only_second = missing(other.input_sources.iter(), |path| {
            self.input_sources.contains(path)
        });
        pair(&mut found, Part::InputSource, only_first, only_second);
        text(
            &mut found,
            Part::System,
            "",
            self.system.as_bytes(),
            other.system.as_bytes(),
        );
        text(&mut found, Part::Builder, "", &self.builder, &other.builder);
        arguments(&mut found, self, other);
        environment(&mut found, self, other);
        found
    }
}

fn outputs(
    found: &mut Vec<Difference>,
    first: &SortedMap<OutputName<'_>, Output<'_>>,
    second: &SortedMap<OutputName<'_>, Output<'_>>,
) {
    for name in first.keys().chain(second.keys()).collect::<BTreeSet<_>>() {
        let output = name.clone().into_owned();
        match (first.get(name), second.get(name)) {
            (Some(first), Some(second)) if first == second => {}
            (
                Some(Output::InputAddressed { path: first }),
                Some(Output::InputAddressed { path: second }),
            ) => {
                let (first, second) = (
                    first.as_path_ref().to_store_path(),
                    second.as_path_ref().to_store_path(),
                );
                found.push(Difference::OutputPath {
                    output,
                    first,
                    second,
                });
            }
            (
                Some(Output::Fixed {
                    path: a,
                    address: first,
                }),
                Some(Output::Fixed {
                    path: b,
                    address: second,
                }),
            ) => {
                if first == second {
                    let (first, second) = (
                        a.as_path_ref().to_store_path(),
                        b.as_path_ref().to_store_path(),
                    );
                    found.push(Difference::OutputPath {
                        output,
                        first,
                        second,
                    });
                } else {
                    found.push(Difference::FixedOutput {
                        output,
                        first: *first,
                        second: *second,
                    });
                }
            }
            (Some(a), Some(b)) if adjective(a) == adjective(b) => {
                text(
                    found,
                    Part::Output,
                    name,
                    a.hash_algorithm().as_bytes(),
                    b.hash_algorithm().as_bytes(),
                );
            }
            (Some(a), Some(b)) => found.push(Difference::OutputKind {
                output,
                first: adjective(a),
                second: adjective(b),
            }),
            (first, _) => found.push(Difference::Only {
                side: side(first.is_some()),
                part: Part::Output,
                name: output,
            }),
        }
    }
}

fn side(first: bool) -> Side {
    if first { Side::First } else { Side::Second }
}

fn adjective(output: &Output<'_>) -> &'static str {
    match output {
        Output::InputAddressed { .. } => "input-addressed",
        Output::Fixed { .. } => "fixed",
        Output::Floating { .. } => "floating",
        Output::Deferred => "deferred",
        Output::Impure { .. } => "impure",
    }
}

type Inputs<'a> = SortedMap<StorePathCow<'a>, WantedOutputs<'a>>;

fn input_derivations(found: &mut Vec<Difference>, first: &Inputs<'_>, second: &Inputs<'_>) {
    let only_first = missing(first.keys(), |path| second.contains_key(path));
    let only_second = missing(second.keys(), |path| first.contains_key(path));
    pair(found, Part::InputDerivation, only_first, only_second);
    for (input, wanted) in first.iter() {
        let Some(other) = second
            .get(input.base_name())
            .filter(|other| *other != wanted)
        else {
            continue;
        };
        let (first, second) = (names(wanted, ""), names(other, ""));
        found.push(Difference::WantedOutputs {
            input: input.as_path_ref().to_store_path(),
            first,
            second,
        });
    }
}

/// The paths that are not elsewhere, by base name.
fn missing<'a>(
    paths: impl Iterator<Item = &'a StorePathCow<'a>>,
    elsewhere: impl Fn(&str) -> bool,
) -> Vec<StorePath> {
    paths
        .filter(|path| !elsewhere(path.base_name()))
        .map(|path| path.as_path_ref().to_store_path())
        .collect()
}

/// `out`, and `out^bin` for an output of a dynamic one.
fn names(wanted: &WantedOutputs<'_>, before: &str) -> Vec<String> {
    let mut all: Vec<_> = wanted
        .outputs
        .iter()
        .map(|name| format!("{before}{name}"))
        .collect();
    for (name, below) in wanted.dynamic.iter() {
        all.extend(names(below, &format!("{before}{name}^")));
    }
    all
}

/// Finds for each input of the first one of the second that has the same name, or the same name but for the version.
fn pair(
    found: &mut Vec<Difference>,
    part: Part,
    mut first: Vec<StorePath>,
    mut second: Vec<StorePath>,
) {
    let keys: [fn(StorePathRef<'_>) -> &str; 2] = [|path| path.name(), without_version];
    for key in keys {
        first.retain(|path| {
            let Some(index) = second
                .iter()
                .position(|other| key(other.as_path_ref()) == key(path.as_path_ref()))
            else {
                return true;
            };
            found.push(Difference::Input {
                part,
                first: path.clone(),
                second: second.remove(index),
            });
            false
        });
    }
    for (side, paths) in [(Side::First, first), (Side::Second, second)] {
        found.extend(paths.into_iter().map(|path| Difference::Only {
            side,
            part,
            name: path.name().to_owned(),
        }));
    }
}

/// `bash` of `bash-5.1-p8`: what stands before the first dash that no letter follows.
fn without_version(path: StorePathRef<'_>) -> &str {
    let name = path.name();
    let dashes = name.match_indices('-').map(|(index, _)| index);
    let version = dashes
        .filter(|index| {
            name.as_bytes()
                .get(index + 1)
                .is_some_and(|byte| !byte.is_ascii_alphabetic())
        })
        .min();
    &name[..version.unwrap_or(name.len())]
}

fn arguments(found: &mut Vec<Difference>, first: &Derivation<'_>, second: &Derivation<'_>) {
    for index in 0..first.arguments.len().max(second.arguments.len()) {
        let name = (index + 1).to_string();
        match (first.arguments.get(index), second.arguments.get(index)) {
            (Some(first), Some(second)) => text(found, Part::Argument, &name, first, second),
            (first, _) => found.push(Difference::Only {
                side: side(first.is_some()),
                part: Part::Argument,
                name,
            }),
        }
    }
}

fn environment(found: &mut Vec<Difference>, first: &Derivation<'_>, second: &Derivation<'_>) {
    for name in first
        .environment
        .keys()
        .chain(second.environment.keys())
        .collect::<BTreeSet<_>>()
    {
        let shown = String::from_utf8_lossy(name);
        match (first.environment.get(name), second.environment.get(name)) {
            (Some(a), Some(b)) if **name == *STRUCTURED && a != b => {
                if !attributes(found, first, second) {
                    text(found, Part::Variable, &shown, a, b);
                }
            }
            (Some(a), Some(b)) => text(found, Part::Variable, &shown, a, b),
            (a, _) => found.push(Difference::Only {
                side: side(a.is_some()),
                part: Part::Variable,
                name: shown.into_owned(),
            }),
        }
    }
}

/// Structured attributes one by one; `false` if they cannot be read, or read the same although their texts differ.
fn attributes(
    found: &mut Vec<Difference>,
    first: &Derivation<'_>,
    second: &Derivation<'_>,
) -> bool {
    let (Ok(Some(first)), Ok(Some(second))) = (
        first.structured_attributes(),
        second.structured_attributes(),
    ) else {
        return false;
    };
    let before = found.len();
    for name in first
        .iter()
        .chain(second.iter())
        .map(|(name, _)| name)
        .collect::<BTreeSet<_>>()
    {
        match (first.get(name), second.get(name)) {
            (Some(a), Some(b)) => text(
                found,
                Part::Attribute,
                name,
                a.get().as_bytes(),
                b.get().as_bytes(),
            ),
            (a, _) => found.push(Difference::Only {
                side: side(a.is_some()),
                part: Part::Attribute,
                name: name.to_owned(),
            }),
        }
    }
    found.len() > before
}

fn text(found: &mut Vec<Difference>, part: Part, name: &str, first: &[u8], second: &[u8]) {
    if first == second {
        return;
    }
    let name = name.to_owned();
    if without_hash_parts(first) == without_hash_parts(second) {
        return found.push(Difference::StorePaths { part, name });
    }
    let common = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let only_paths = without_store_paths(first) == without_store_paths(second);
    let (first, second) = (excerpt(first, common), excerpt(second, common));
    found.push(if only_paths {
        Difference::OtherPaths {
            part,
            name,
            first,
            second,
        }
    } else {
        Difference::Text {
            part,
            name,
            first,
            second,
        }
    });
}

/// What stands around a byte: a few words.
fn excerpt(text: &[u8], around: usize) -> String {
    const BEFORE: usize = 20;
    const AFTER: usize = 40;
    let start = around.saturating_sub(BEFORE);
    let end = text.len().min(around + AFTER);
    let before = if start > 0 { "…" } else { "" };
    let after = if end < text.len() { "…" } else { "" };
    format!(
        "{before}{}{after}",
        String::from_utf8_lossy(&text[start.min(end)..end])
    )
}

/// The text with the hash part of every store path taken out, whatever the store.
fn without_hash_parts(text: &[u8]) -> Vec<u8> {
    without(text, |_| 0)
}

/// The text with the base name of every store path taken out.
fn without_store_paths(text: &[u8]) -> Vec<u8> {
    without(text, store_path::name_prefix_len)
}

/// The text with the hash part of every store path taken out, and of the dash and the name behind it as much as `more` says.
fn without(text: &[u8], more: impl Fn(&[u8]) -> usize) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        kept.push(byte);
        rest = match next.split_at_checked(store_path::HASH_PART_LEN) {
            Some((hash_part, after))
                if byte == b'/'
                    && after.starts_with(b"-")
                    && hash_part
                        .iter()
                        .all(|&byte| store_path::base32::is_digit(byte)) =>
            {
                &after[more(after)..]
            }
            _ => next,
        };
    }
    kept
}
