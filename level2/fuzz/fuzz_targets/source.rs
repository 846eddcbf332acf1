//! The PROXY protocol's header: the proxy's reading beside the slow one, wherever it is cut.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run source` in `level2`. What is checked is in `tests/oracle`, which
//! `tests/second_reading.rs` calls as well.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::source::check_source(data));
