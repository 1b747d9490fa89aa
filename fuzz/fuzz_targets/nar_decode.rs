//! `nar::testing::identity`: see there what it claims.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nar::testing::identity(data));
