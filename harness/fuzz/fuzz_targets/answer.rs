//! HTTP answers of solutions, read in pieces whose size is the first byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((size, bytes)) = bytes.split_first() {
        let _ = harness::http::fuzz::answer_in_pieces(bytes, usize::from(*size));
    }
});
