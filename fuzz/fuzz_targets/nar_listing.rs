//! `nar::testing::listing`: see there what it claims.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nar::testing::listing(data));
