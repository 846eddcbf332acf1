//! Any expression: planned in few steps, and true of every line that it matches.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| level3::checks::pattern(input.0, input.1));
