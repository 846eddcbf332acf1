//! Fields after a body: what goes out came in, and means nothing but itself.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run trailers` in `level2`. What is checked is in `tests/oracle`, which
//! `tests/second_reading.rs` calls as well.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check_trailers(data));
