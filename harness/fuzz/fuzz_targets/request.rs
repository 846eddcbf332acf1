//! HTTP requests that a proxy sends to the backends of the level 2 simulation.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::http::fuzz::request(bytes));
