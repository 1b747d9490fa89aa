#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker_protocol::testing::serve_session(data));
