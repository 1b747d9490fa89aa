#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guix_signature::testing::acl_identity(data));
