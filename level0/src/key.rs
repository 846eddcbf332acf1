//! Words as 128-bit numbers, so that comparing two short words is one comparison.
//!
//! A word of at most 15 bytes is folded to lower case, filled up with zeros, and its length is put
//! into the sixteenth byte. Two words are equal exactly if their keys are: without the length,
//! `a` and `a` followed by a NUL byte would be the same. The key of the empty word is zero. The key
//! of a longer word is a digest, which can tell that a word is unknown but not that it is known.

/// Longest word in bytes that a key can hold whole.
pub(crate) const KEY_BYTES: usize = 15;

/// A folded word of at most `KEY_BYTES` bytes, or the digest of a longer one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    low: u64,
    high: u64,
}

impl Key {
    /// The key of the word `text[start..end]`, which may have any length.
    ///
    /// Of a word of more than `KEY_BYTES` bytes the key is only a digest: different words may have
    /// the same one, but never one of a short word.
    #[inline]
    pub(crate) fn of(text: &[u8], start: usize, end: usize) -> Self {
        let len = end - start;
        let (low, high) = folded(text, start, len.min(16));
        if len <= KEY_BYTES {
            return Self {
                low,
                high: high | (len as u64) << 56,
            };
        }
        let (last_low, last_high) = folded(text, end - 16, 16);
        let high = high ^ last_high.rotate_left(29) ^ len as u64;
        Self {
            low: low ^ last_low.rotate_left(29),
            high: high | LONG << 56,
        }
    }

    /// A number whose upper bits are well mixed, for choosing a bucket.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        // Odd constants without structure (digits of π); one widening multiplication mixes all.
        let low = u128::from(self.low ^ 0x2437_f6a8_885a_308d);
        let high = u128::from(self.high ^ 0x1319_8a2e_0370_7345);
        let product = low * high;
        product as u64 ^ (product >> 64) as u64
    }

    /// Whether this is the key of the empty word, which also marks a free place in a table.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.high == 0
    }
}

/// Stands for the length in the key of a word that has none of its own.
const LONG: u64 = 0xFF;

/// For each length, which bits of sixteen bytes belong to the word.
const MASKS: [(u64, u64); 17] = {
    let mut masks = [(0, 0); 17];
    let mut len = 1;
    while len <= 16 {
        let mask = u128::MAX >> (128 - 8 * len);
        masks[len] = (mask as u64, (mask >> 64) as u64);
        len += 1;
    }
    masks
};

/// The `len` bytes from `start` on, at most 16, in lower case; the first one lowest, then zeros.
#[inline]
pub(crate) fn folded(text: &[u8], start: usize, len: usize) -> (u64, u64) {
    let (low, high) = sixteen_from(text, start);
    let (low_mask, high_mask) = MASKS[len];
    (fold(low & low_mask), fold(high & high_mask))
}

/// Sixteen bytes from `start` on, the first one lowest, zeros behind the end of the text.
#[inline]
fn sixteen_from(text: &[u8], start: usize) -> (u64, u64) {
    let from_start = &text[start..];
    let sixteen = from_start.first_chunk::<16>().copied().unwrap_or_else(|| {
        let mut padded = [0; 16];
        padded[..from_start.len()].copy_from_slice(from_start);
        padded
    });
    let all = u128::from_le_bytes(sixteen);
    (all as u64, (all >> 64) as u64)
}

/// Turns the letters `A` to `Z` among eight bytes to lower case.
#[inline]
const fn fold(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * ONES;
    // Without the bytes' high bits no addition carries into the next byte; the sums' high bits then
    // say "at least A" and "beyond Z".
    let low_bits = bytes & !HIGH_BITS;
    let from_a = low_bits + (0x80 - b'A' as u64) * ONES;
    let beyond_z = low_bits + (0x80 - (b'Z' as u64 + 1)) * ONES;
    let upper = (from_a & !beyond_z) & !bytes & HIGH_BITS;
    bytes | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::{KEY_BYTES, Key, fold};
    use proptest::prelude::*;

    #[test]
    fn folding_lowers_ascii_letters_only() {
        for byte in 0..=255_u8 {
            let eight = [byte, b'A', 0xFF, byte, b'z', b'Z', 0, byte];
            let folded = fold(u64::from_le_bytes(eight)).to_le_bytes();
            assert_eq!(folded, eight.map(|byte| byte.to_ascii_lowercase()));
        }
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_if_the_folded_words_are(
            one in prop::collection::vec(prop::sample::select(&b"aAbB\0\xC1"[..]), 0..=KEY_BYTES),
            other in prop::collection::vec(prop::sample::select(&b"aAbB\0\xC1"[..]), 0..=KEY_BYTES),
            around in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = [&around[..], &one, &around, &other].concat();
            let one_key = Key::of(&text, around.len(), around.len() + one.len());
            let other_key = Key::of(&text, text.len() - other.len(), text.len());
            prop_assert_eq!(one_key == other_key, one.eq_ignore_ascii_case(&other));
            prop_assert_eq!(one_key.is_empty(), one.is_empty());
        }

        #[test]
        fn the_key_of_a_long_word_is_that_of_its_folded_self_and_of_no_short_word(
            word in prop::collection::vec(any::<u8>(), 16..60),
            before in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = [&before[..], &word].concat();
            let key = Key::of(&text, before.len(), text.len());
            prop_assert_eq!(key, Key::of(&word.to_ascii_lowercase(), 0, word.len()));
            for len in 0..=KEY_BYTES {
                prop_assert_ne!(key, Key::of(&word, 0, len));
            }
        }
    }
}
