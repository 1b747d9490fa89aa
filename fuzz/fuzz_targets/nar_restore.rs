//! `nar::testing::restore_stays_inside`: see there what it claims.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nar::testing::restore_stays_inside(data));
