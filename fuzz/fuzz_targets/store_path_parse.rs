#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store_path::testing::store_path_identity(data));
