#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offload::machines::testing::machines_toml(data));
