//! Traces that somebody else's program wrote: read, written again, drawn.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| octopus::trace::fuzz(bytes));
