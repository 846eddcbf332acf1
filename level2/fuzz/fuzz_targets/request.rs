//! Request heads: the proxy's reading beside the slow one.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run request` in `level2`. What is checked is in `tests/oracle`, which
//! `tests/second_reading.rs` calls as well. The first byte chooses how.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((flags, input)) = data.split_first() {
        oracle::check_request(input, flags & 1 == 1);
    }
});
