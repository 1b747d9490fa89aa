use std::collections::{BTreeMap, BTreeSet};

use store_path::StorePath;

use crate::value::{Context, Value};
use crate::wire::{Decoder, Encoder, Stop, Text, WORD, limit};

/// A derivation without its input derivations: what BuildDerivation sends. All its inputs are paths that
/// must be valid (or substitutable) on the builder.
///
/// Texts are passed on as they are: whether they make sense is for the `derivation` crate to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BasicDerivation {
    /// Outputs by name.
    pub outputs: BTreeMap<Text, BasicOutput>,
    /// All paths that the build may read.
    pub input_sources: BTreeSet<StorePath>,
    /// The system, such as `x86_64-linux`.
    pub platform: Text,
    /// The program to run.
    pub builder: Text,
    /// Its arguments.
    pub arguments: Vec<Text>,
    /// Its environment.
    pub environment: BTreeMap<Text, Text>,
}

#[cfg(feature = "derivation")]
impl BasicDerivation {
    /// What is sent of a derivation, for a store with its paths in `store_dir`.
    ///
    /// ```
    /// use derivation::Derivation;
    /// use store_path::StoreDir;
    /// use worker_protocol::BasicDerivation;
    ///
    /// let text = br#"Derive([("out","/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a","","")],[],[],"x86_64-linux","/bin/sh",["-c","true"],[("name","a")])"#;
    /// let derivation = Derivation::parse(&StoreDir::NIX, text)?;
    /// let sent = BasicDerivation::new(&derivation.resolve([]), &StoreDir::NIX);
    /// assert_eq!(sent.outputs[b"out".as_slice()].path, "/nix/store/zgq4qjbhdn38i0gs0mcd8dmsn0clxqzy-a");
    /// assert_eq!(sent.arguments, ["-c", "true"]);
    /// # Ok::<(), derivation::Error>(())
    /// ```
    pub fn new(
        derivation: &derivation::BasicDerivation<'_>,
        store_dir: &store_path::StoreDir,
    ) -> BasicDerivation {
        let output = |output: &derivation::Output<'_>| {
            let fields = output.fields(store_dir);
            BasicOutput {
                path: fields.path.into(),
                hash_algorithm: fields.hash_algorithm.into(),
                hash: fields.hash.into(),
            }
        };
        let outputs = derivation.outputs.iter();
        let environment = derivation.environment.iter();
        BasicDerivation {
            outputs: outputs
                .map(|(name, made)| (name.as_ref().into(), output(made)))
                .collect(),
            input_sources: derivation
                .input_sources
                .iter()
                .map(|path| path.as_path_ref().to_store_path())
                .collect(),
            platform: derivation.system.as_ref().into(),
            builder: derivation.builder.as_ref().into(),
            arguments: derivation
                .arguments
                .iter()
                .map(|text| text.as_ref().into())
                .collect(),
            environment: environment
                .map(|(name, value)| (name.as_ref().into(), value.as_ref().into()))
                .collect(),
        }
    }
}

/// One output of a [`BasicDerivation`], as the three texts of a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BasicOutput {
    /// The absolute path; empty when it follows from the content.
    pub path: Text,
    /// `sha256`, `r:sha256` and so on for outputs whose content (or its way of being addressed) is fixed;
    /// empty otherwise.
    pub hash_algorithm: Text,
    /// The hash in base 16; empty when it is not known in advance.
    pub hash: Text,
}

impl Value for BasicOutput {
    fn encode(&self, encoder: &mut Encoder<'_>, _: &Context) {
        encoder
            .text(&self.path)
            .text(&self.hash_algorithm)
            .text(&self.hash);
    }

    fn decode(decoder: &mut Decoder<'_>, _: &Context) -> Result<BasicOutput, Stop> {
        Ok(BasicOutput {
            path: decoder.text(limit::PATH)?,
            hash_algorithm: decoder.text(limit::HASH)?,
            hash: decoder.text(limit::HASH)?,
        })
    }

    fn smallest(_: &Context) -> usize {
        3 * WORD
    }
}

/// Outputs (name, path, hash algorithm, hash), input sources, platform, builder, arguments, environment.
impl Value for BasicDerivation {
    fn encode(&self, encoder: &mut Encoder<'_>, context: &Context) {
        self.outputs.encode(encoder, context);
        self.input_sources.encode(encoder, context);
        encoder.text(&self.platform).text(&self.builder);
        self.arguments.encode(encoder, context);
        self.environment.encode(encoder, context);
    }

    fn decode(decoder: &mut Decoder<'_>, context: &Context) -> Result<BasicDerivation, Stop> {
        let environment = |decoder: &mut Decoder<'_>| decoder.text(limit::ENVIRONMENT);
        let outputs = Value::decode(decoder, context)?;
        let input_sources = Value::decode(decoder, context)?;
        let platform = decoder.text(limit::NAME)?;
        let builder = decoder.text(limit::ENVIRONMENT)?;
        let arguments = decoder.list(limit::ITEMS, WORD, environment)?;
        let offset = decoder.offset();
        let pairs = decoder.list(limit::ITEMS, 2 * WORD, |decoder| {
            Ok((environment(decoder)?, environment(decoder)?))
        })?;
        let count = pairs.len();
        let environment = BTreeMap::from_iter(pairs);
        if environment.len() != count {
            return Err(decoder.error_at(offset, crate::wire::Kind::RepeatedKey));
        }
        Ok(BasicDerivation {
            outputs,
            input_sources,
            platform,
            builder,
            arguments,
            environment,
        })
    }
}
