//! Any bytes as the manifest of a shard.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| level3::checks::manifest(bytes));
