//! Derivations of every kind as `nix` 2.8.0 and 2.34.8 made them from `data/kinds.nix` and `data/dynamic.nix`, with what
//! `nix show-derivation` and `nix derivation show` say of them.

mod peer;

use std::path::Path;

use derivation::{Derivation, JsonForm, Kind, Output, StoreDir};
use peer::Files;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn shown(name: &str) -> String {
    std::fs::read_to_string(data(name)).expect("a file")
}

#[test]
fn every_kind_that_nix_2_8_knows() {
    let files = Files::read(&data("nix-2.8.0"));
    files.check(&StoreDir::NIX);
    files.check_json(
        JsonForm::FullPaths,
        &StoreDir::NIX,
        &shown("nix-2.8.0/show.json"),
    );
    // Nix 2.34 makes the same files from the same expression.
    files.check_json(
        JsonForm::Version4,
        &StoreDir::NIX,
        &shown("nix-2.34.8/show-all.json"),
    );
}

#[test]
fn dynamic_derivations() {
    let files = Files::read(&data("nix-2.34.8"));
    files.check(&StoreDir::NIX);
    files.check_json(
        JsonForm::Version4,
        &StoreDir::NIX,
        &shown("nix-2.34.8/show-dynamic.json"),
    );
}

/// The kind of each file, and a thing or two about it.
#[test]
fn kinds_and_requirements() {
    let files = Files::read(&data("nix-2.8.0"));
    let mut kinds = String::new();
    for (path, text) in &files.0 {
        let derivation = Derivation::parse(&StoreDir::NIX, text).expect("a derivation");
        let requirements = derivation.requirements().expect("they can be read");
        kinds.push_str(&format!("{}: {requirements:?}\n", path.name()));
    }
    insta::assert_snapshot!(kinds);
}

#[test]
fn outputs_by_name() {
    let text =
        std::fs::read(data("nix-2.8.0/cz51m17nm52racxqvmsqh285cjaxxlxv-many.drv")).expect("a file");
    let many = Derivation::parse(&StoreDir::NIX, &text).expect("a derivation");
    assert_eq!(many.kind(), Ok(Kind::InputAddressed));
    let dev = many
        .outputs
        .get("dev")
        .and_then(Output::path)
        .expect("a path");
    assert_eq!(dev.name(), "many-dev");
    assert_eq!(
        many.environment.get(&b"dev"[..]).map(|value| &**value),
        Some(StoreDir::NIX.print(dev).as_bytes())
    );
    let fields = many
        .outputs
        .get("dev")
        .expect("an output")
        .fields(&StoreDir::NIX);
    assert_eq!(
        (fields.path, fields.hash_algorithm, fields.hash),
        (StoreDir::NIX.print(dev), String::new(), String::new())
    );
}

#[test]
fn structured_attributes_keep_numbers() {
    let text = std::fs::read(data(
        "nix-2.8.0/fwyakdcai0dndy2vd3yvbhva72a8jhlb-structured.drv",
    ))
    .expect("a file");
    let structured = Derivation::parse(&StoreDir::NIX, &text).expect("a derivation");
    let attributes = structured
        .structured_attributes()
        .expect("JSON")
        .expect("there are some");
    assert_eq!(
        attributes.get("large").map(|value| value.get()),
        Some("9007199254740993")
    );
    assert_eq!(
        attributes.strings("outputs"),
        Ok(Some(vec!["out".to_owned(), "lib".to_owned()]))
    );
    assert_eq!(attributes.boolean("allowSubstitutes"), Ok(Some(false)));
    assert!(attributes.string("large").is_err());
}
