#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker_protocol::testing::wire_identity(data));
