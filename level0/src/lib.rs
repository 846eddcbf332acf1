//! Highlights the words of a document that a dictionary does not know, at memory speed.
//!
//! - [`Dictionary`] says which words are known: the built-in Webster's Second, or word lists.
//! - [`Highlighter`] takes a document in chunks and writes it with its unknown words marked, or
//!   counts or lists them: see [`Report`].
//! - [`WORDS`] is the built-in list as data.
//! - [`Job`] and [`run`] are the program: files in, files out.
//! - [`prose`] checks the spelling of texts as people write them, by other rules than these:
//!
//! A *word* is a run of bytes other than space and newline. Nothing else separates words, and no
//! byte is too strange to belong to one. A word is *known* if its bytes, with ASCII letters turned
//! to lower case, equal an entry of the dictionary.
//!
//! Two ways lead through the crate. A short document meets the dictionary where it lies
//! (`compact.rs` for the built-in one, `wanted.rs` for a file), because start-up is all that counts.
//! A long one is cut into pieces for all cores (`highlighter.rs`), split and looked up in batches
//! (`scan.rs`) in a table that answers from one cache line (`table.rs`), and put together in order.

mod compact;
mod dictionary;
mod distinct;
#[cfg(test)]
mod encode;
mod error;
mod files;
mod front_coding;
mod highlighter;
mod job;
mod key;
mod lines;
pub mod prose;
mod report;
mod scan;
mod simd;
mod sixteen;
mod table;
mod wanted;

pub use dictionary::{Dictionary, DictionaryBuilder};
pub use distinct::LISTED_BYTES;
pub use error::RunError;
pub use highlighter::Highlighter;
pub use job::{Job, run};
pub use report::{Markers, Report, Tally};

/// Webster's Second, one word a line: the built-in dictionary as raw bytes.
///
/// 234,937 lines, 2,486,824 bytes; `data/README.md` tells where the list comes from.
pub static WORDS: &[u8] = include_bytes!("../data/web2");

#[cfg(test)]
mod tests {
    use super::WORDS;
    use sha1::{Digest, Sha1};

    #[test]
    fn the_built_in_words_are_the_classic_file() {
        let digest: [u8; 20] = Sha1::digest(WORDS).into();
        let expected = 0x6b89_8d7c_4863_0be0_5b72_b3ae_07c5_be66_u128.to_be_bytes();
        assert_eq!(digest[..16], expected);
        assert_eq!(digest[16..], 0x17f9_0d8e_u32.to_be_bytes());
        assert_eq!(WORDS.len(), 2_486_824);
    }
}
