#![no_main]

libfuzzer_sys::fuzz_target!(
    |data: &[u8]| guix_signature::testing::signatures_cannot_be_forged(data)
);
