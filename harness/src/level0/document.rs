//! Documents in the style of the originals: dictionary words, some of them with letters changed
//! or appended in either case, full stops and newlines here and there.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every how many words a sentence ends, on average.
const WORDS_PER_SENTENCE: u32 = 20;

/// The longest tail that is appended to a word; the originals go up to seven letters.
const LONGEST_TAIL: usize = 7;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A document of `words` words, a function of its arguments alone.
///
/// `mutate` is the share of words that are changed, 0 to 1.
pub(super) fn generate(seed: u64, words: usize, mutate: f64) -> Vec<u8> {
    let mut writer = Writer::new(seed, mutate);
    let mut document = Vec::new();
    for _ in 0..words {
        writer.word(&mut document);
    }
    // The last word is followed by a newline instead of a space.
    if let Some(last @ b' ') = document.last_mut() {
        *last = b'\n';
    }
    document
}

/// An endless document, written word by word.
pub(super) struct Writer {
    rng: ChaCha8Rng,
    mutate: f64,
    dictionary: Vec<&'static [u8]>,
}

impl Writer {
    pub(super) fn new(seed: u64, mutate: f64) -> Self {
        let words = level0::WORDS
            .split(|byte| *byte == b'\n')
            .filter(|word| !word.is_empty());
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            mutate,
            dictionary: words.collect(),
        }
    }

    /// Appends a word and what separates it from the next.
    pub(super) fn word(&mut self, document: &mut Vec<u8>) {
        let start = document.len();
        let index = self.rng.random_range(0..self.dictionary.len());
        document.extend_from_slice(self.dictionary[index]);
        if self.rng.random_bool(self.mutate) {
            if self.rng.random_bool(0.5) {
                self.change(&mut document[start..]);
            } else {
                for _ in 0..self.rng.random_range(1..=LONGEST_TAIL) {
                    document.push(self.letter());
                }
            }
        }
        if self.rng.next_u32().is_multiple_of(WORDS_PER_SENTENCE) {
            document.extend_from_slice(b".\n");
        } else {
            document.push(b' ');
        }
    }

    fn change(&mut self, word: &mut [u8]) {
        for _ in 0..self.rng.random_range(1..=2) {
            let at = self.rng.random_range(0..word.len());
            word[at] = self.letter();
        }
    }

    fn letter(&mut self) -> u8 {
        LETTERS[self.rng.random_range(0..LETTERS.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_document() {
        assert_eq!(generate(7, 500, 0.3), generate(7, 500, 0.3));
        assert_ne!(generate(7, 500, 0.3), generate(8, 500, 0.3));
    }

    #[test]
    fn it_has_the_asked_number_of_words_and_the_originals_texture() {
        let text = String::from_utf8(generate(1, 1000, 0.1)).unwrap();
        assert_eq!(text.split_ascii_whitespace().count(), 1000);
        assert!(text.ends_with('\n'));
        let stops = text.matches(".\n").count();
        assert!((20..100).contains(&stops), "{stops} sentences");
        // The originals are about 11 KB for a thousand words.
        assert!(
            (9_000..13_000).contains(&text.len()),
            "{} bytes",
            text.len()
        );
    }

    #[test]
    fn without_mutation_every_word_is_an_entry() {
        let entries: std::collections::HashSet<_> =
            level0::WORDS.split(|byte| *byte == b'\n').collect();
        let document = generate(3, 1000, 0.0);
        let text = String::from_utf8(document).unwrap();
        let mut words = text
            .split_ascii_whitespace()
            .map(|word| word.trim_end_matches('.'));
        assert!(words.all(|word| entries.contains(word.as_bytes())));
    }
}
