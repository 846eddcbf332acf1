//! Makes a small dictionary of just the words that one document needs.
//!
//! For a thousand words it takes longer to build a table of a dictionary file than to run the file
//! past the document's words. Of the 235,000 lines nearly all are refused by a Bloom filter with a
//! single hash function: one look at a bit array that fits the first-level cache.

use crate::dictionary::{Dictionary, DictionaryBuilder};
use crate::lines::for_each_line;
use crate::simd::is_separator;
use rustc_hash::FxHashMap;
use std::io::{self, Read};

/// Bits of the array for each distinct word: so few are set that one line in 64 passes by chance.
const BITS_PER_WORD: usize = 64;

/// Bounds for the number of bits: 8 KiB, and 512 KiB.
const BITS: (usize, usize) = (1 << 16, 1 << 22);

/// The distinct folded words of a document, and which of them the dictionary has been seen to hold.
pub(crate) struct Wanted<'t> {
    words: FxHashMap<&'t [u8], bool>,
    filter: Filter,
    longest: usize,
}

impl<'t> Wanted<'t> {
    /// The words of `folded`, a document in lower case.
    pub(crate) fn words_of(folded: &'t [u8]) -> Self {
        let mut words = FxHashMap::default();
        for word in folded
            .split(|&byte| is_separator(byte))
            .filter(|word| !word.is_empty())
        {
            words.insert(word, false);
        }
        let mut filter = Filter::with_room_for(words.len());
        for word in words.keys() {
            filter.insert(word);
        }
        let longest = words.keys().map(|word| word.len()).max().unwrap_or(0);
        Self {
            words,
            filter,
            longest,
        }
    }

    /// Looks at each line of a dictionary.
    pub(crate) fn read(&mut self, source: impl Read) -> io::Result<()> {
        for_each_line(source, self.longest, |line| {
            if self.filter.may_hold(line)
                && let Some(seen) = self.words.get_mut(line)
            {
                *seen = true;
            }
        })
    }

    /// The dictionary of those entries that are words of the document.
    pub(crate) fn into_dictionary(self) -> Dictionary {
        let mut builder = DictionaryBuilder::default();
        for (word, _) in self.words.iter().filter(|&(_, &seen)| seen) {
            builder.add(word);
        }
        builder.build()
    }
}

/// A Bloom filter (Bloom, 1970) of one hash function: says "no" for certain, "yes" perhaps.
///
/// One bit a word is enough where there are 64 bits for each; a second would cost each line a second
/// look to save one comparison in 64.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn with_room_for(words: usize) -> Self {
        let bits = (words * BITS_PER_WORD)
            .next_power_of_two()
            .clamp(BITS.0, BITS.1);
        Self {
            bits: vec![0; bits / 64],
            shift: 64 - bits.ilog2(),
        }
    }

    fn insert(&mut self, word: &[u8]) {
        let bit = self.bit(word);
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    #[inline]
    fn may_hold(&self, word: &[u8]) -> bool {
        let bit = self.bit(word);
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The bit of a word: chosen by its length and its first and last eight bytes.
    #[inline]
    fn bit(&self, word: &[u8]) -> usize {
        let ends = if let Some((first, last)) = both_ends::<8>(word) {
            u64::from_le_bytes(first) ^ u64::from_le_bytes(last).rotate_left(29)
        } else if let Some((first, last)) = both_ends::<4>(word) {
            u64::from(u32::from_le_bytes(first)) | u64::from(u32::from_le_bytes(last)) << 32
        } else {
            word.iter()
                .fold(0, |bytes, &byte| bytes << 8 | u64::from(byte))
        };
        // An odd constant without structure (the golden ratio); its product's top bits are mixed.
        let mixed = (ends ^ word.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> self.shift) as usize
    }
}

/// The first and the last `N` bytes of a word, which overlap if it is short.
#[inline]
fn both_ends<const N: usize>(word: &[u8]) -> Option<([u8; N], [u8; N])> {
    Some((*word.first_chunk()?, *word.last_chunk()?))
}
