//! Finding bytes in blocks of 64, as bits, and prefetching.
//!
//! Separators are found for `scan.rs` and `highlighter.rs`, line ends for `lines.rs`, classes of bytes
//! for `prose/classes.rs`; `scan.rs`, `compact.rs` and `prose/vocabulary.rs` prefetch what they look up
//! next.
//!
//! `sixteen.rs` has what the processor does. Prefetching has no safe or portable form; where
//! there is none it does nothing, and the program is slower but right.

use crate::sixteen::Sixteen;

/// Bytes that `separators` looks at in one call: as many as the answer has bits.
pub(crate) const BLOCK: usize = 64;

/// Whether a byte ends a word: a space or a newline, and nothing else.
pub(crate) const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n')
}

/// A bit for each byte of the block, the first one lowest: set where the byte is a separator.
#[inline]
pub(crate) fn separators(block: &[u8; BLOCK]) -> u64 {
    occurrences(block, b' ') | occurrences(block, b'\n')
}

/// A bit for each byte of the block, the first one lowest: set where it equals `wanted`.
#[inline]
pub(crate) fn occurrences(block: &[u8; BLOCK], wanted: u8) -> u64 {
    mask_of(block, |bytes| bytes.equal_to(wanted))
}

/// A bit for each byte of the block, the first one lowest: the highest bit of what `map` makes of it.
#[inline]
pub(crate) fn mask_of(block: &[u8; BLOCK], map: impl Fn(Sixteen) -> Sixteen) -> u64 {
    let (quarters, _) = block.as_chunks::<16>();
    let mut bits = 0;
    for (index, quarter) in quarters.iter().enumerate() {
        bits |= u64::from(map(Sixteen::new(*quarter)).mask()) << (16 * index);
    }
    bits
}

/// Starts loading an element of a slice into the first-level cache and does not wait for it.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE belongs to every x86-64 processor; a prefetch changes no value and cannot
        // fault, and the address is that of a borrowed element anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}

/// The place of the first separator in `text`.
pub(crate) fn first_separator(text: &[u8]) -> Option<usize> {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        let bits = separators(block);
        if bits != 0 {
            return Some(index * BLOCK + bits.trailing_zeros() as usize);
        }
    }
    rest.iter()
        .position(|&byte| is_separator(byte))
        .map(|at| text.len() - rest.len() + at)
}

/// The place of the last separator in `text`.
pub(crate) fn last_separator(text: &[u8]) -> Option<usize> {
    let (rest, blocks) = text.as_rchunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate().rev() {
        let bits = separators(block);
        if bits != 0 {
            return Some(rest.len() + index * BLOCK + BLOCK - 1 - bits.leading_zeros() as usize);
        }
    }
    rest.iter().rposition(|&byte| is_separator(byte))
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, first_separator, is_separator, last_separator, occurrences, separators};
    use proptest::prelude::*;

    fn byte_near_a_separator() -> impl Strategy<Value = u8> {
        prop_oneof![
            Just(b' '),
            Just(b'\n'),
            any::<u8>(),
            Just(b'a'),
            Just(b'\x0B'),
            Just(0x8A)
        ]
    }

    proptest! {
        #[test]
        fn separators_are_found_as_byte_by_byte(
            bytes in prop::collection::vec(byte_near_a_separator(), BLOCK)
        ) {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&bytes);
            for wanted in [b' ', b'\n', b'\x8A'] {
                let found = (0..BLOCK).filter(|index| occurrences(&block, wanted) >> index & 1 == 1);
                prop_assert!(found.eq((0..BLOCK).filter(|&index| block[index] == wanted)));
            }
            let found = (0..BLOCK).filter(|index| separators(&block) >> index & 1 == 1);
            let expected = (0..BLOCK).filter(|&index| is_separator(block[index]));
            prop_assert!(found.eq(expected));
        }

        #[test]
        fn first_and_last_separator_are_found_anywhere(
            before in 0_usize..200, between in 0_usize..200, after in 0_usize..200,
        ) {
            let mut text = vec![b'x'; before + between + after + 2];
            prop_assert_eq!(first_separator(&text), None);
            prop_assert_eq!(last_separator(&text), None);
            text[before] = b'\n';
            text[before + 1 + between] = b' ';
            prop_assert_eq!(first_separator(&text), text.iter().position(|&b| is_separator(b)));
            prop_assert_eq!(last_separator(&text), text.iter().rposition(|&b| is_separator(b)));
        }
    }
}
