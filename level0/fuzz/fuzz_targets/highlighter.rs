//! The contest's highlighter beside the oracle, on any bytes, cut anywhere.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run highlighter` in `level0`. What is checked is in `tests/oracle`,
//! which `tests/properties.rs` calls as well.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: (&[u8], u16, &[u8])| {
    let (entries, cut, document) = input;
    let expected = oracle::Oracle::new(entries).judge(document);
    let dictionary = level0::Dictionary::from_lines(entries);
    oracle::check_highlighter(&dictionary, &expected, document, &[usize::from(cut).min(document.len())]);
});
