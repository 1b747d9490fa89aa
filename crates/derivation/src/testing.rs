//! Strategies for property tests, and the oracles that the fuzz targets call.

use std::borrow::Cow;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use store_path::testing::{name, store_path};
use store_path::{ContentAddress, ContentAddressMethod, Hash, StoreDir, StorePath};

use crate::{Bytes, Derivation, JsonForm, Output, OutputName, SortedMap, WantedOutputs};

/// Bytes as environments have them: mostly text with something to escape, sometimes not even UTF-8.
pub fn bytes() -> impl Strategy<Value = Bytes<'static>> {
    prop_oneof![
        8 => "[ -~\n\t\r\"\\\\é]{0,40}".prop_map(|text| Cow::Owned(text.into_bytes())),
        1 => vec(any::<u8>(), 0..20).prop_map(Cow::Owned),
        1 => "(/nix/store/[a-z ]{30}){0,20}".prop_map(|text| Cow::Owned(text.into_bytes())),
    ]
}

/// A name of an output.
pub fn output_name() -> impl Strategy<Value = OutputName<'static>> {
    prop_oneof![
        4 => proptest::sample::select(vec!["out", "dev", "lib", "bin"]).prop_map(Cow::Borrowed),
        1 => name().prop_map(Cow::Owned),
    ]
}

/// What an output may have to be, or be named by: text only by SHA-256.
pub fn content_address() -> impl Strategy<Value = ContentAddress> {
    store_path::testing::content_address().prop_map(|address| match address.method {
        ContentAddressMethod::Text => ContentAddress {
            hash: Hash::sha256([7; 32]),
            ..address
        },
        _ => address,
    })
}

/// Outputs that go together.
pub fn outputs() -> impl Strategy<Value = SortedMap<OutputName<'static>, Output<'static>>> {
    let owned = |path: StorePath| path.into();
    let many = |output: BoxedStrategy<Output<'static>>| {
        btree_map(output_name(), output, 1..4).prop_map(|outputs| outputs.into_iter().collect())
    };
    prop_oneof![
        4 => many(store_path().prop_map(move |path| Output::InputAddressed { path: owned(path) }).boxed()),
        2 => (store_path(), content_address()).prop_map(move |(path, address)| {
            [("out".into(), Output::Fixed { path: owned(path), address })].into_iter().collect()
        }),
        1 => content_address().prop_flat_map(move |address| {
            many(Just(Output::Floating { method: address.method, algorithm: address.hash.algorithm() }).boxed())
        }),
        1 => many(Just(Output::Deferred).boxed()),
        1 => content_address().prop_flat_map(move |address| {
            many(Just(Output::Impure { method: address.method, algorithm: address.hash.algorithm() }).boxed())
        }),
    ]
}

/// What is wanted of an input, now and then something dynamic.
pub fn wanted() -> impl Strategy<Value = WantedOutputs<'static>> {
    let plain = btree_set(output_name(), 0..3)
        .prop_map(|outputs| outputs.into_iter().collect::<WantedOutputs<'_>>());
    plain.prop_recursive(2, 4, 2, |inner| {
        (
            btree_set(output_name(), 0..3),
            btree_map(output_name(), inner, 0..2),
        )
            .prop_map(|(outputs, dynamic)| WantedOutputs {
                outputs: outputs.into_iter().collect(),
                dynamic: dynamic.into_iter().collect(),
            })
    })
}

/// Any derivation.
pub fn derivation() -> impl Strategy<Value = Derivation<'static>> {
    let inputs = btree_map(store_path(), wanted(), 0..4);
    let sources = btree_set(store_path(), 0..4);
    let system = prop_oneof![9 => Just("x86_64-linux"), 1 => Just("builtin")];
    let environment = btree_map(bytes(), bytes(), 0..8);
    (
        outputs(),
        inputs,
        sources,
        system,
        bytes(),
        vec(bytes(), 0..4),
        environment,
    )
        .prop_map(
            |(outputs, inputs, sources, system, builder, arguments, environment)| Derivation {
                outputs,
                input_derivations: inputs
                    .into_iter()
                    .map(|(path, wanted)| (path.into(), wanted))
                    .collect(),
                input_sources: sources.into_iter().map(Into::into).collect(),
                system: system.into(),
                builder,
                arguments,
                environment: environment.into_iter().collect(),
            },
        )
}

/// What is accepted is printed the same, byte for byte, and reads the same once it owns its text.
///
/// # Panics
/// If that does not hold for `data`.
pub fn identity(data: &[u8]) {
    for dir in [StoreDir::NIX, StoreDir::GUIX] {
        match Derivation::parse(&dir, data) {
            Ok(derivation) => {
                assert_eq!(
                    String::from_utf8_lossy(&derivation.print(&dir)),
                    String::from_utf8_lossy(data)
                );
                assert_eq!(derivation.print(&dir), data);
                assert_eq!(derivation.clone().into_owned(), derivation);
                // May fail, must not panic.
                drop(derivation.requirements());
            }
            Err(error) => {
                assert!(error.offset <= data.len());
                assert!(data[error.offset..].starts_with(&error.found));
            }
        }
    }
}

/// Structured attributes keep their text, and every attribute is part of it.
///
/// # Panics
/// If that does not hold for `data`.
pub fn structured_attributes(data: &[u8]) {
    let mut derivation = Derivation::default();
    derivation.outputs.insert("out".into(), Output::Deferred);
    derivation
        .environment
        .insert(Cow::Borrowed(b"__json"), Cow::Borrowed(data));
    let Ok(attributes) = derivation.structured_attributes() else {
        return;
    };
    let attributes = attributes.expect("the variable is there");
    assert_eq!(attributes.text().as_bytes(), data);
    for (name, value) in attributes.iter() {
        assert!(attributes.text().contains(value.get()), "{name}");
    }
    // May fail, must not panic.
    drop(derivation.requirements());
}

/// What is read from JSON is written and read the same, in both forms, and prints as a file that parses.
///
/// # Panics
/// If that does not hold for `data`.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let dir = StoreDir::NIX;
    let Ok(derivation) = Derivation::from_json(&dir, Some("name"), text) else {
        // May fail, must not panic.
        drop(crate::json::read_show(&dir, text));
        return;
    };
    assert_eq!(
        Derivation::parse(&dir, &derivation.print(&dir)).as_ref(),
        Ok(&derivation)
    );
    for form in [JsonForm::FullPaths, JsonForm::Version4] {
        // Version 4 keeps neither the path of a fixed output nor the spaces of structured attributes; full paths know no dynamic inputs.
        let Ok(written) = derivation.to_json(form, &dir, "name") else {
            continue;
        };
        let read = Derivation::from_json(&dir, None, &written).expect("what was written");
        if form == JsonForm::FullPaths {
            assert_eq!(read, derivation);
        }
        assert_eq!(read.to_json(form, &dir, "name").as_ref(), Ok(&written));
    }
}
