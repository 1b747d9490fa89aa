use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;

use super::Operation;
use crate::Version;
use crate::realisation::{DrvOutput, Realisation, base_name};
use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop};

/// Tells the store as which path an output of a content-addressed derivation was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterDrvOutput {
    /// The realisation. Before 1.31 only its id and path are sent.
    pub realisation: Realisation,
}

/// The realisation; before 1.31 the output and the base name of its path.
impl Operation for RegisterDrvOutput {
    const NUMBER: u64 = 42;
    const NAME: &'static str = "RegisterDrvOutput";
    type Reply = ();

    fn exists(version: Version) -> bool {
        version.has_realisations()
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        if context.version.has_json_realisations() {
            self.realisation.encode(encoder, context);
        } else {
            self.realisation.id.encode(encoder, context);
            encoder.text(self.realisation.out_path.base_name());
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<RegisterDrvOutput, Stop> {
        let realisation = if context.version.has_json_realisations() {
            Realisation::decode(decoder, context)?
        } else {
            Realisation {
                id: Value::decode(decoder, context)?,
                out_path: base_name(decoder)?,
                signatures: BTreeSet::new(),
                dependent_realisations: BTreeMap::new(),
            }
        };
        Ok(RegisterDrvOutput { realisation })
    }

    fn encode_reply(_: &(), _: &mut Encoder<'_>, _: &Context) {}

    fn decode_reply(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }
}

/// As which path an output of a content-addressed derivation was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRealisation {
    /// The output.
    pub output: DrvOutput,
}

/// One answer to [`QueryRealisation`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Realised {
    /// Only the path: before 1.31.
    Path(StorePath),
    /// The whole realisation: from 1.31 on.
    Realisation(Realisation),
}

/// None or one.
impl Operation for QueryRealisation {
    const NUMBER: u64 = 43;
    const NAME: &'static str = "QueryRealisation";
    type Reply = Vec<Realised>;

    fn exists(version: Version) -> bool {
        version.has_realisations()
    }

    fn inexpressible_reply(reply: &Vec<Realised>, version: Version) -> Option<&'static str> {
        let bare = reply.iter().any(|one| matches!(one, Realised::Path(_)));
        (bare && version.has_json_realisations()).then_some(" with a path only")
    }

    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.output.encode(encoder, context);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<QueryRealisation, Stop> {
        Value::decode(decoder, context).map(|output| QueryRealisation { output })
    }

    fn encode_reply(reply: &Vec<Realised>, encoder: &mut Encoder<'_>, context: &Context) {
        reply.encode(encoder, context);
    }

    fn decode_reply(decoder: &mut Decoder<'_>, context: &Context) -> Result<Vec<Realised>, Stop> {
        Value::decode(decoder, context)
    }
}

impl Value for Realised {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        match self {
            Realised::Realisation(realisation) if context.version.has_json_realisations() => {
                realisation.encode(encoder, context);
            }
            Realised::Realisation(realisation) => realisation.out_path.encode(encoder, context),
            Realised::Path(path) => path.encode(encoder, context),
        }
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<Realised, Stop> {
        if context.version.has_json_realisations() {
            Value::decode(decoder, context).map(Realised::Realisation)
        } else {
            Value::decode(decoder, context).map(Realised::Path)
        }
    }
}
