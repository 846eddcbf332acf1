//! Any bytes as the list of the chunks that a gram is in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u16, &[u8])| {
    level3::checks::posting_list(input.1, input.0.into());
});
