#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store_path::testing::base32_identity(data));
