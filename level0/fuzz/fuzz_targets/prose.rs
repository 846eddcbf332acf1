//! Any text: what is found stands where it is said to, and is what a slow reader finds.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run prose` in `level0`. What is checked is in `tests/oracle`, which
//! `tests/properties.rs` calls as well.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| oracle::check_prose(input.0, input.1));
