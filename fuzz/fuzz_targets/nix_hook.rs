#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| offload::hook::testing::nix_conversation(data));
