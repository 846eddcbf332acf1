//! Any bytes as the tables of a segment, behind checksums that are right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| level3::checks::segment(bytes));
