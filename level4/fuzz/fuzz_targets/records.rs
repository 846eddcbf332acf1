//! Whatever a segment of the log may hold.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run records` in level4; the property tests in `src/decoders.rs` call the
//! same function.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| level4::decoders::records(bytes));
