#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offload::link::testing::known_hosts(data));
