//! Chunked bodies: one content, wherever the input is cut.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run chunks` in `level2`. What is checked is in `tests/oracle`, which
//! `tests/second_reading.rs` calls as well. The first byte chooses how.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((cut, input)) = data.split_first() {
        oracle::check_chunks(input, usize::from(*cut));
    }
});
