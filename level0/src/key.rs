//! Words as 128-bit numbers, so that comparing two short words is one comparison.
//!
//! A word of at most 15 bytes is folded to lower case, filled up with zeros, and its length is put
//! into the sixteenth byte. Two words are equal exactly if their keys are: without the length,
//! `a` and `a` followed by a NUL byte would be the same. The key of the empty word is zero. The key
//! of a longer word is a digest, which tells where to look for it; up to 31 bytes a [`LongKey`] holds it.

use crate::sixteen::Sixteen;

/// Longest word in bytes that a key can hold whole.
pub(crate) const KEY_BYTES: usize = 15;

/// A folded word of at most `KEY_BYTES` bytes, or the digest of a longer one.
#[derive(Clone, Copy)]
pub(crate) struct Key(Sixteen);

impl Key {
    /// The key of the word `text[start..end]`, which may have any length.
    ///
    /// Of a word of more than `KEY_BYTES` bytes the key is only a digest: different words may have
    /// the same one, but never one of a short word.
    #[inline]
    pub(crate) fn of(text: &[u8], start: usize, end: usize) -> Self {
        let len = end - start;
        if len <= KEY_BYTES {
            return Self(folded(text, start, len).or(Sixteen::new(LENGTHS[len])));
        }
        let (low, high) = folded(text, start, 16).halves();
        let (last_low, last_high) = folded(text, end - 16, 16).halves();
        let high = high ^ last_high.rotate_left(29) ^ len as u64;
        let low = low ^ last_low.rotate_left(29);
        let digest = u128::from(high | LONG << 56) << 64 | u128::from(low);
        Self(Sixteen::new(digest.to_le_bytes()))
    }

    /// A number whose upper bits are well mixed, for choosing a bucket.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        let (low, high) = self.0.halves();
        // Odd constants without structure (digits of π); one widening multiplication mixes all.
        let low = u128::from(low ^ 0x2437_f6a8_885a_308d);
        let high = u128::from(high ^ 0x1319_8a2e_0370_7345);
        let product = low * high;
        product as u64 ^ (product >> 64) as u64
    }

    /// The key as it lies in memory.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let (low, high) = self.0.halves();
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }

    /// Whether this is the key that lies in memory.
    #[inline]
    pub(crate) fn is(self, bytes: &[u8; 16]) -> bool {
        self.0.is(Sixteen::new(*bytes))
    }
}

impl Default for Key {
    /// The key of the empty word.
    fn default() -> Self {
        Self(Sixteen::new([0; 16]))
    }
}

/// Whether these bytes are the key of the empty word, which also marks a free place in a table.
#[inline]
pub(crate) fn is_empty(key: &[u8; 16]) -> bool {
    key[KEY_BYTES] == 0
}

/// Stands for the length in the key of a word that has none of its own.
const LONG: u64 = 0xFF;

/// Longest word in bytes that a long key can hold whole.
pub(crate) const LONG_KEY_BYTES: usize = 31;

/// A folded word of 16 to 31 bytes; the last byte is its length.
#[derive(Clone, Copy)]
pub(crate) struct LongKey([Sixteen; 2]);

impl LongKey {
    /// The key of the word of `len` bytes, 16 to 31, from `start` on.
    #[inline]
    pub(crate) fn of(text: &[u8], start: usize, len: usize) -> Self {
        let rest = folded(text, start + 16, len - 16);
        let mut length = [0; 16];
        length[15] = len as u8;
        Self([folded(text, start, 16), rest.or(Sixteen::new(length))])
    }

    /// The key as it lies in memory.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, half) in bytes.as_chunks_mut::<16>().0.iter_mut().zip(self.0) {
            *place = Key(half).to_bytes();
        }
        bytes
    }

    /// Whether this is the key that lies in memory.
    #[inline]
    pub(crate) fn is(self, bytes: &[u8; 32]) -> bool {
        let halves = bytes.as_chunks::<16>().0;
        self.0[0].is(Sixteen::new(halves[0])) && self.0[1].is(Sixteen::new(halves[1]))
    }

    /// Whether these bytes are no key, which marks a free place in a table.
    #[inline]
    pub(crate) fn is_empty(key: &[u8; 32]) -> bool {
        key[LONG_KEY_BYTES] == 0
    }
}

/// For each length of a short word, what is added to its bytes.
const LENGTHS: [[u8; 16]; 16] = {
    let mut lengths = [[0; 16]; 16];
    let mut len = 0;
    while len < 16 {
        lengths[len][KEY_BYTES] = len as u8;
        len += 1;
    }
    lengths
};

/// For each length, which of sixteen bytes belong to the word.
const MASKS: [[u8; 16]; 17] = {
    let mut masks = [[0; 16]; 17];
    let mut len = 1;
    while len <= 16 {
        masks[len] = masks[len - 1];
        masks[len][len - 1] = 0xFF;
        len += 1;
    }
    masks
};

/// The `len` bytes from `start` on, at most 16, in lower case; then zeros.
#[inline]
pub(crate) fn folded(text: &[u8], start: usize, len: usize) -> Sixteen {
    let bytes = Sixteen::new(sixteen_from(text, start)).and(Sixteen::new(MASKS[len]));
    let case = bytes
        .within(b'A', b'Z')
        .and(Sixteen::new([b'a' - b'A'; 16]));
    bytes.or(case)
}

/// Sixteen bytes from `start` on, zeros behind the end of the text.
#[inline]
fn sixteen_from(text: &[u8], start: usize) -> [u8; 16] {
    let from_start = &text[start..];
    from_start.first_chunk::<16>().copied().unwrap_or_else(|| {
        let mut padded = [0; 16];
        padded[..from_start.len()].copy_from_slice(from_start);
        padded
    })
}

#[cfg(test)]
mod tests {
    use super::{KEY_BYTES, Key, folded, is_empty};
    use proptest::prelude::*;

    #[test]
    fn folding_lowers_ascii_letters_only() {
        for byte in 0..=255_u8 {
            let eight = [byte, b'A', 0xFF, byte, b'z', b'Z', 0, byte];
            let expected = u64::from_le_bytes(eight.map(|byte| byte.to_ascii_lowercase()));
            assert_eq!(folded(&eight, 0, 8).halves(), (expected, 0));
            let two = [eight, eight].concat();
            assert_eq!(folded(&two, 0, 16).halves(), (expected, expected));
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
            let is_same = one_key.is(&other_key.to_bytes());
            prop_assert_eq!(is_same, one.eq_ignore_ascii_case(&other));
            prop_assert_eq!(is_empty(&one_key.to_bytes()), one.is_empty());
        }

        #[test]
        fn the_key_of_a_long_word_is_that_of_its_folded_self_and_of_no_short_word(
            word in prop::collection::vec(any::<u8>(), 16..60),
            before in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = [&before[..], &word].concat();
            let key = Key::of(&text, before.len(), text.len());
            let same = Key::of(&word.to_ascii_lowercase(), 0, word.len());
            prop_assert!(key.is(&same.to_bytes()));
            for len in 0..=KEY_BYTES {
                prop_assert!(!key.is(&Key::of(&word, 0, len).to_bytes()));
            }
        }
    }
}
