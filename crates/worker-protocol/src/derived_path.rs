use std::collections::BTreeSet;

use store_path::StorePath;

use crate::Version;
use crate::value::{Context, Value, store_path as parse_path};
use crate::wire::{Decoder, Encoder, Stop, Text, limit};

/// Something a store can be asked to bring into existence.
///
/// Dynamic derivations, whose `.drv` file is itself an output (`PATH!out!out`), have no place here: daemons
/// take them only with an experimental feature that no stable Nix turns on. Read from a peer they are an
/// error, as a name with `!` in it is no output's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DerivedPath {
    /// The path itself, by substitution if need be.
    ///
    /// Before 1.30 and in Guix a `.drv` path means all of its outputs, so there `Opaque` of a derivation cannot be
    /// said, and is refused.
    Opaque(StorePath),
    /// Outputs of a derivation.
    Built {
        /// The derivation.
        derivation: StorePath,
        /// Its wanted outputs.
        outputs: Outputs,
    },
}

/// Which outputs of a derivation are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outputs {
    /// All of them.
    All,
    /// These, at least one. Each is a name as of a store path: others cannot be sent.
    Names(BTreeSet<Text>),
}

impl DerivedPath {
    /// All outputs of a derivation.
    pub fn all_outputs(derivation: StorePath) -> DerivedPath {
        DerivedPath::Built {
            derivation,
            outputs: Outputs::All,
        }
    }

    fn parse(text: &[u8], context: &Context) -> Option<DerivedPath> {
        let legacy = !context.version.has_derived_paths();
        let Some(mark) = text.iter().position(|&byte| byte == b'!') else {
            let path = parse_path(text, context)?;
            return Some(match legacy && path.is_derivation() {
                true => DerivedPath::all_outputs(path),
                false => DerivedPath::Opaque(path),
            });
        };
        let derivation = parse_path(&text[..mark], context)?;
        let outputs = match &text[mark + 1..] {
            b"*" if !legacy => Outputs::All,
            names => Outputs::Names(
                names
                    .split(|&byte| byte == b',')
                    .map(|name| is_name(name).then(|| Text::from(name)))
                    .collect::<Option<_>>()?,
            ),
        };
        Some(DerivedPath::Built {
            derivation,
            outputs,
        })
    }
}

fn is_name(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| store_path::check_name(name).is_ok())
}

/// What of `targets` has no text at this version, as the end of "send NAME ..", or nothing.
pub(crate) fn inexpressible<'a>(
    targets: impl IntoIterator<Item = &'a DerivedPath>,
    version: Version,
) -> Option<&'static str> {
    let legacy = !version.has_derived_paths();
    targets.into_iter().find_map(|target| match target {
        DerivedPath::Opaque(path) if legacy && path.is_derivation() => {
            Some(" for a derivation itself")
        }
        DerivedPath::Opaque(_) => None,
        DerivedPath::Built { outputs, .. } => match outputs {
            Outputs::All => None,
            Outputs::Names(names) if names.is_empty() => Some(" for no output of a derivation"),
            Outputs::Names(names) => {
                let named = names.iter().all(|name| is_name(name));
                (!named).then_some(" for an output whose name is none")
            }
        },
    })
}

/// One text: `PATH`, `PATH!*`, `PATH!out,dev`. Before 1.30: `PATH` also for all outputs.
impl Value for DerivedPath {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        let dir = context.store_dir.as_str().as_bytes();
        match self {
            DerivedPath::Opaque(path) => path.encode(encoder, context),
            DerivedPath::Built {
                derivation,
                outputs,
            } => {
                let base = derivation.base_name().as_bytes();
                match outputs {
                    Outputs::All if context.version.has_derived_paths() => {
                        encoder.text_of(&[dir, b"/", base, b"!*"]);
                    }
                    Outputs::All => derivation.encode(encoder, context),
                    Outputs::Names(names) => {
                        let names: Vec<&[u8]> = names.iter().map(Text::as_bytes).collect();
                        encoder.text_of(&[dir, b"/", base, b"!", &names.join(&b',')]);
                    }
                }
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<DerivedPath, Stop> {
        let offset = decoder.offset();
        let bytes = decoder.bytes(limit::NAME)?;
        DerivedPath::parse(bytes, context)
            .ok_or_else(|| decoder.not_a(offset, "a path or a derivation's outputs", bytes))
    }

    fn smallest(context: &Context) -> usize {
        StorePath::smallest(context)
    }
}
