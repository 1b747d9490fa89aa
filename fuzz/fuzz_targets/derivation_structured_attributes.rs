#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| derivation::testing::structured_attributes(data));
