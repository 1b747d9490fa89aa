//! `nar::testing::readers_agree`: see there what it claims.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nar::testing::readers_agree(data));
