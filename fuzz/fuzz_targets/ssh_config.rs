#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offload::link::testing::ssh_config(data));
