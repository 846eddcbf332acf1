//! Highlights the words of a document that a dictionary does not know.

mod compact;
#[cfg(test)]
mod encode;
mod front_coding;

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
        let digest = Sha1::digest(WORDS);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6b898d7c48630be05b72b3ae07c5be6617f90d8e");
        assert_eq!(WORDS.len(), 2_486_824);
    }
}
