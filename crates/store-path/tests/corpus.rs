//! Every input that fuzzing kept, through the same oracles.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn store_path_parse() {
    replay("store_path_parse", store_path::testing::store_path_identity);
}

#[test]
fn base32_decode() {
    replay("base32_decode", store_path::testing::base32_identity);
}
