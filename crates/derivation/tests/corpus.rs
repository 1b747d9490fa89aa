//! Every input that fuzzing kept, through the same oracles.

use std::path::Path;

fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in folder
        .read_dir()
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        oracle(
            &std::fs::read(&path)
                .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display())),
        );
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn derivation_parse() {
    replay("derivation_parse", derivation::testing::identity);
}

#[test]
fn derivation_structured_attributes() {
    replay(
        "derivation_structured_attributes",
        derivation::testing::structured_attributes,
    );
}

#[test]
fn derivation_json() {
    replay("derivation_json", derivation::testing::json);
}
