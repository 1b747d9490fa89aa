#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offload::machines::scheme::testing::machine_file(data));
