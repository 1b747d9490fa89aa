//! Derivations of every kind as `nix` 2.8.0 and 2.34.8 made them from `data/kinds.nix` and `data/dynamic.nix`, with what
//! `nix show-derivation` and `nix derivation show` say of them.

mod peer;

use std::path::Path;

use derivation::{
    Derivation, JsonForm, Kind, Output, StoreDir, StorePath, derivation_name, dynamic_placeholder,
    output_placeholder,
};
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

/// BLAKE3, and methods by their new names, as `nix` 2.34.8 made them of `data/hashes.nix`.
#[test]
fn later_hashes_and_methods() {
    let files = Files::read(&data("hashes-2.34.8"));
    assert_eq!(files.0.len(), 7);
    files.check(&StoreDir::NIX);
    files.check_json(
        JsonForm::Version4,
        &StoreDir::NIX,
        &shown("hashes-2.34.8/show.json"),
    );
}

/// What stands in `wrapper` and `twice` for outputs of derivations that `producing` makes.
#[test]
fn placeholders_of_dynamic_inputs() {
    let files = Files::read(&data("nix-2.34.8"));
    let producing: StorePath = "hjv39y7c9kczq1l5vyjh2gmqsb09dfdc-producing.drv.drv"
        .parse()
        .expect("a base name");
    let placeholder = |further: &[&str]| {
        dynamic_placeholder(producing.as_path_ref(), "out", further).expect("a derivation")
    };
    let parse = |base_name: &str| {
        let text = files.0.get(base_name).expect("it is there");
        Derivation::parse(&StoreDir::NIX, text).expect("a derivation")
    };
    let variable = |derivation: &Derivation<'_>, name: &str| {
        let value = derivation.environment.get(name.as_bytes());
        String::from_utf8_lossy(value.expect("it is set")).into_owned()
    };
    let wrapper = parse("m2vp9jwjkpms2010bvsam4x33lj4dff1-wrapper.drv");
    assert_eq!(variable(&wrapper, "input"), placeholder(&["out"]));
    assert_eq!(*wrapper.arguments[0], *placeholder(&[]).as_bytes());
    let twice = parse("h72jfr1x3fb4chfd4z0mvj9bycal6pg9-twice.drv");
    assert_eq!(variable(&twice, "input"), placeholder(&["a", "b"]));
    assert_eq!(variable(&twice, "more"), placeholder(&["lib"]));

    // Once all is built, the derivation that was made among it.
    let made = "5vyvaa3nvh4p7b3v1kyyii5dqyhfx6y3-producing.drv";
    let resolved = wrapper.resolve_placeholders(&StoreDir::NIX, "wrapper", |input, output| {
        let path = match (input.base_name(), output) {
            ("8zd0ck4kmdaf3hzbmvkmvrvpbi100dqg-plain.drv", "out") => {
                "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain"
            }
            (input, "out") if input == producing.base_name() => made,
            (input, "out") if input == made => "3bh680apgd0c8s24wybxbrz4lgmiwyj7-made",
            _ => return None,
        };
        path.parse().ok()
    });
    let resolved = Derivation::from(resolved.expect("every output is known"));
    assert_eq!(
        variable(&resolved, "input"),
        "/nix/store/3bh680apgd0c8s24wybxbrz4lgmiwyj7-made"
    );
    assert_eq!(
        *resolved.arguments[0],
        *format!("/nix/store/{made}").as_bytes()
    );
    let sources: Vec<_> = resolved
        .input_sources
        .iter()
        .map(|path| path.as_path_ref().name().to_owned())
        .collect();
    assert_eq!(sources, ["made", "producing.drv", "plain"]);
}

/// What `guix` 1.5.0 made of `data/guix.scm`.
#[test]
fn derivations_of_guix() {
    let files = Files::read(&data("guix-1.5.0"));
    assert_eq!(files.0.len(), 7);
    files.check(&StoreDir::GUIX);
    assert!(
        files
            .0
            .values()
            .all(|text| Derivation::parse(&StoreDir::NIX, text).is_err())
    );
}

/// A deferred derivation, and what `nix` 2.8.0 made of it once its floating input was built.
#[test]
fn placeholders_give_way_to_paths() {
    let files = Files::read(&data("resolved"));
    files.check(&StoreDir::NIX);
    let text = |base_name: &str| files.0.get(base_name).expect("it is there");
    let deferred = Derivation::parse(
        &StoreDir::NIX,
        text("0437vpvp7q5zqs6na5mk71vm357n97fd-deferred.drv"),
    )
    .expect("a derivation");
    let resolved = deferred.resolve_placeholders(&StoreDir::NIX, "deferred", |input, output| {
        let made = match (derivation_name(input)?, output) {
            ("floating", "out") => "3bh680apgd0c8s24wybxbrz4lgmiwyj7-floating",
            ("floating", "bin") => "5vyvaa3nvh4p7b3v1kyyii5dqyhfx6y3-floating-bin",
            ("plain", "out") => "mb3qwppfv3dqqhk2qvirzzzind3dqmhp-plain",
            _ => return None,
        };
        made.parse().ok()
    });
    let resolved = Derivation::from(resolved.expect("every output is known")).print(&StoreDir::NIX);
    let expected = text("1hcs6msqji6sqc9r9w8d1xi28k41r9hx-deferred.drv");
    assert_eq!(
        String::from_utf8_lossy(&resolved),
        String::from_utf8_lossy(expected)
    );
    let floating = Derivation::parse(
        &StoreDir::NIX,
        text("nwqwqbs1x2l4gn8sfb30c95dy75bv1n3-floating.drv"),
    )
    .expect("a derivation");
    assert_eq!(
        floating.environment.get(&b"bin"[..]).map(|value| &**value),
        Some(output_placeholder("bin").as_bytes())
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
