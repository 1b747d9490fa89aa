//! Every input that fuzzing kept, through the same oracles.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

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
