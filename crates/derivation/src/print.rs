//! Derivations as bytes.

use store_path::{StoreDir, StorePathRef};

use crate::parse::string::{find_special, is_special};
use crate::{Bytes, Derivation, Output, OutputName, SortedMap, SortedSet, WantedOutputs};

/// What begins a derivation, up to its outputs.
pub(crate) const HEADER: &[u8] = b"Derive(";
/// The same if some input is dynamic.
pub(crate) const DYNAMIC_HEADER: &[u8] = b"DrvWithVersion(\"xp-dyn-drv\",";

pub(crate) fn derivation(dir: &StoreDir, derivation: &Derivation<'_>) -> Vec<u8> {
    let mut printer = Printer {
        dir,
        text: Vec::with_capacity(estimate(dir, derivation)),
    };
    printer
        .text
        .extend_from_slice(if derivation.has_dynamic_inputs() {
            DYNAMIC_HEADER
        } else {
            HEADER
        });
    printer.outputs(&derivation.outputs);
    printer.text.push(b',');
    printer.list(
        derivation.input_derivations.iter(),
        |printer, (path, wanted)| {
            printer.text.push(b'(');
            printer.path(path.as_path_ref());
            printer.text.push(b',');
            printer.wanted(wanted);
            printer.text.push(b')');
        },
    );
    printer.text.push(b',');
    printer.list(derivation.input_sources.iter(), |printer, path| {
        printer.path(path.as_path_ref());
    });
    printer.text.push(b',');
    printer.string(derivation.system.as_bytes());
    printer.text.push(b',');
    printer.string(&derivation.builder);
    printer.text.push(b',');
    printer.list(derivation.arguments.iter(), |printer, argument| {
        printer.string(argument);
    });
    printer.text.push(b',');
    printer.list(derivation.environment.iter(), |printer, (name, value)| {
        printer.variable(name, value);
    });
    printer.text.push(b')');
    printer.text
}

/// About how many bytes there will be: exact but for escapes and for outputs that are not input-addressed.
fn estimate(dir: &StoreDir, derivation: &Derivation<'_>) -> usize {
    let path = |path: StorePathRef<'_>| dir.as_str().len() + path.base_name().len() + 4;
    let strings = |strings: &mut dyn Iterator<Item = &Bytes<'_>>| {
        strings.map(|string| string.len() + 3).sum::<usize>()
    };
    let variables = derivation
        .environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8);
    derivation
        .outputs
        .iter()
        .map(|(name, output)| name.len() + 16 + output.path().map_or(0, path))
        .sum::<usize>()
        + derivation
            .input_derivations
            .iter()
            .map(|(input, _)| path(input.as_path_ref()) + 16)
            .sum::<usize>()
        + derivation
            .input_sources
            .iter()
            .map(|source| path(source.as_path_ref()))
            .sum::<usize>()
        + derivation.system.len()
        + derivation.builder.len()
        + strings(&mut derivation.arguments.iter())
        + variables.sum::<usize>()
        + 64
}

/// A text being written.
pub(crate) struct Printer<'a> {
    pub(crate) dir: &'a StoreDir,
    pub(crate) text: Vec<u8>,
}

impl Printer<'_> {
    pub(crate) fn list<T>(&mut self, items: impl Iterator<Item = T>, print: impl Fn(&mut Self, T)) {
        self.text.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            print(self, item);
        }
        self.text.push(b']');
    }

    pub(crate) fn outputs(&mut self, outputs: &SortedMap<OutputName<'_>, Output<'_>>) {
        self.list(outputs.iter(), |printer, (name, output)| {
            printer.text.push(b'(');
            printer.string(name.as_bytes());
            printer.text.push(b',');
            match output.path() {
                Some(path) => printer.path(path),
                None => printer.text.extend_from_slice(b"\"\""),
            }
            printer.output_hash(output);
            printer.text.push(b')');
        });
    }

    /// The two fields behind the path of an output, each with the comma before it.
    pub(crate) fn output_hash(&mut self, output: &Output<'_>) {
        if let Output::InputAddressed { .. } | Output::Deferred = output {
            self.text.extend_from_slice(b",\"\",\"\"");
            return;
        }
        for field in [output.hash_algorithm(), output.hash()] {
            self.text.push(b',');
            self.string(field.as_bytes());
        }
    }

    fn wanted(&mut self, wanted: &WantedOutputs<'_>) {
        if wanted.dynamic.is_empty() {
            return self.names(&wanted.outputs);
        }
        self.text.push(b'(');
        self.names(&wanted.outputs);
        self.text.push(b',');
        self.list(wanted.dynamic.iter(), |printer, (name, wanted)| {
            printer.text.push(b'(');
            printer.string(name.as_bytes());
            printer.text.push(b',');
            printer.wanted(wanted);
            printer.text.push(b')');
        });
        self.text.push(b')');
    }

    pub(crate) fn names(&mut self, names: &SortedSet<OutputName<'_>>) {
        self.list(names.iter(), |printer, name| {
            printer.string(name.as_bytes());
        });
    }

    pub(crate) fn variable(&mut self, name: &[u8], value: &[u8]) {
        self.text.push(b'(');
        self.string(name);
        self.text.push(b',');
        self.string(value);
        self.text.push(b')');
    }

    fn path(&mut self, path: StorePathRef<'_>) {
        self.text.push(b'"');
        self.text.extend_from_slice(self.dir.as_str().as_bytes());
        self.text.push(b'/');
        self.text.extend_from_slice(path.base_name().as_bytes());
        self.text.push(b'"');
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.text.push(b'"');
        let mut rest = bytes;
        while let Some(offset) = find_special(rest) {
            let (plain, special) = rest.split_at(offset);
            self.text.extend_from_slice(plain);
            self.text.extend_from_slice(match special[0] {
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                b'"' => b"\\\"",
                _ => b"\\\\",
            });
            rest = &special[1..];
        }
        self.text.extend_from_slice(rest);
        self.text.push(b'"');
    }
}

/// How many bytes a string takes between its quotation marks.
pub(crate) fn printed_len(bytes: &[u8]) -> usize {
    bytes.len() + bytes.iter().filter(|&&byte| is_special(byte)).count()
}
