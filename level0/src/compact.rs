//! Looks words up in a front-coded list without unpacking it.
//!
//! The built-in dictionary is searched as it lies in the program file: nothing is built at start,
//! and of the 0.7 MB only what the document's words touch is read. `front_coding.rs` explains the
//! format and writes it at build time. For long documents `table.rs` is several times faster.

use crate::front_coding::{COUNT_FOLLOWS, LONGEST, head, prefix_index};
use crate::key::folded;
use crate::simd::prefetch;
use std::hint::select_unpredictable;

#[allow(clippy::unreadable_literal, reason = "generated")]
mod built_in {
    use super::FrontCoded;

    include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

    pub(super) static BUILT_IN: FrontCoded<'static> = FrontCoded {
        heads: &HEADS,
        starts: &STARTS,
        body: include_bytes!(concat!(env!("OUT_DIR"), "/body.bin")),
        tokens: &TOKENS,
        prefixes: &PREFIXES,
    };

    /// Length in bytes of the longest lower-case entry of the built-in list.
    pub(crate) const LONGEST_ENTRY: usize = LONGEST_BUILT_IN;
}

pub(crate) use built_in::LONGEST_ENTRY;

/// Whether the built-in dictionary knows the word `text[start..end]`, folded.
pub(crate) fn built_in_knows(text: &[u8], start: usize, end: usize) -> bool {
    let [search] = begin_searches(text, [Some((start, end))]);
    search.is_some_and(|search| search.finds())
}

/// Begins to look words up in the built-in dictionary, each given by its beginning and its end; nothing
/// if it is certainly unknown.
pub(crate) fn begin_searches<const N: usize>(
    text: &[u8],
    words: [Option<(usize, usize)>; N],
) -> [Option<Search<'static>>; N] {
    built_in::BUILT_IN.begin_searches(text, words)
}

/// A look-up that knows which block to look into, and has requested it from memory.
pub(crate) struct Search<'a> {
    list: &'a FrontCoded<'a>,
    target: Target,
    target_head: u64,
    /// Heads before this one are not beyond the target's, and those `unsure` from it on may be.
    beyond: usize,
    unsure: usize,
}

impl Search<'_> {
    /// Halves the heads that the search is unsure of.
    #[inline]
    fn step(&mut self) {
        let half = self.unsure / 2;
        if let Some(&head) = self.list.heads.get(self.beyond + half)
            && self.unsure > 0
        {
            // Nobody can predict it, and a wrong guess would hold up the other searches.
            let is_before = head <= self.target_head;
            let behind = (self.beyond + half + 1, self.unsure - half - 1);
            (self.beyond, self.unsure) =
                select_unpredictable(is_before, behind, (self.beyond, half));
        }
    }

    /// Whether the list holds the word.
    pub(crate) fn finds(&self) -> bool {
        self.beyond.checked_sub(1).is_some_and(|block| {
            let list = self.list;
            list.block_holds(block, self.target_head, &self.target)
        })
    }
}

/// A front-coded list; the fields are those of `encode::Encoded`.
pub(crate) struct FrontCoded<'a> {
    heads: &'a [u64],
    starts: &'a [u32],
    body: &'a [u8],
    tokens: &'a [(u64, u8)],
    prefixes: &'a [u16],
}

/// The word looked for, folded, with zeros behind so that eight bytes can be read anywhere in it.
struct Target {
    bytes: [u8; LONGEST + 9],
    len: usize,
}

impl Target {
    /// The word `text[start..end]`, which is at most `LONGEST` long.
    fn fold(text: &[u8], start: usize, end: usize) -> Self {
        let len = end - start;
        let mut bytes = [0; LONGEST + 9];
        let mut put = |at: usize, (low, high): (u64, u64)| {
            bytes[at..at + 8].copy_from_slice(&low.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&high.to_le_bytes());
        };
        put(0, folded(text, start, len.min(16)).halves());
        if len > 16 {
            put(16, folded(text, start + 16, len - 16).halves());
        }
        Self { bytes, len }
    }

    /// The eight bytes from `position` on, the first one lowest.
    fn eight_from(&self, position: usize) -> u64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&self.bytes[position..position + 8]);
        u64::from_le_bytes(eight)
    }
}

impl FrontCoded<'_> {
    /// Begins to look words up. Each step of all searches comes before the next step of the first, so
    /// that they wait for memory together: a list that nobody has used lately is far away.
    fn begin_searches<const N: usize>(
        &self,
        text: &[u8],
        words: [Option<(usize, usize)>; N],
    ) -> [Option<Search<'_>>; N] {
        let mut searches = words.map(|word| word.and_then(|word| self.begin_search(text, word)));
        let most = searches.iter().flatten().map(|search| search.unsure).max();
        // Each step leaves less than half of what it is unsure of.
        for _ in 0..most.map_or(0, |most| usize::BITS - most.leading_zeros()) {
            searches.iter_mut().flatten().for_each(Search::step);
        }
        for search in searches.iter().flatten() {
            let start = search.beyond.checked_sub(1).map(|block| self.starts[block]);
            prefetch(self.body, start.map_or(0, |start| start as usize));
        }
        searches
    }

    /// Begins with the heads that have the word's first two letters.
    fn begin_search(&self, text: &[u8], (start, end): (usize, usize)) -> Option<Search<'_>> {
        if start == end || end - start > LONGEST {
            return None;
        }
        let target = Target::fold(text, start, end);
        let target_head = head(&target.bytes);
        let prefix = prefix_index(target_head)?;
        let first = usize::from(self.prefixes[prefix]);
        let end = usize::from(self.prefixes[prefix + 1]);
        prefetch(self.heads, first + (end - first) / 2);
        Some(Search {
            list: self,
            target,
            target_head,
            beyond: first,
            unsure: end - first,
        })
    }

    /// Walks a block's entries; `matched` is how many bytes the target shares with the last one.
    ///
    /// All entries before the present one are smaller than the target. So an entry that shares
    /// more with its predecessor than the target does is smaller too and is skipped unread; one
    /// that shares less is already beyond the target.
    fn block_holds(&self, block: usize, target_head: u64, target: &Target) -> bool {
        let mut entries = &self.body[self.starts[block] as usize..self.starts[block + 1] as usize];
        let same_bits = (self.heads[block] ^ target_head).leading_zeros();
        let mut matched = (same_bits / 8) as usize;
        let mut first = true;
        while let [control, rest @ ..] = entries {
            let shared = usize::from(control >> 3);
            let (count, rest) = match (control & 7, rest) {
                (COUNT_FOLLOWS, [count, rest @ ..]) => (*count, rest),
                (count, rest) => (count, rest),
            };
            let (tokens, rest) = rest.split_at(usize::from(count));
            entries = rest;
            if first {
                // A head shorter than eight bytes is filled with zeros, as is a short target.
                matched = matched.min(shared);
                first = false;
            }
            if shared < matched {
                return false;
            }
            if shared == matched {
                match self.compare(target, matched, tokens) {
                    Step::Found => return true,
                    Step::Beyond => return false,
                    Step::Matched(bytes) => matched = bytes,
                }
            }
        }
        false
    }

    /// Compares the target from `position` on with the rest of an entry.
    fn compare(&self, target: &Target, mut position: usize, tokens: &[u8]) -> Step {
        for &token in tokens {
            let (bytes, len) = self.tokens[usize::from(token)];
            let differing = target.eight_from(position) ^ bytes;
            let same = (differing.trailing_zeros() / 8) as usize;
            if same < usize::from(len) {
                let entry_byte = bytes.to_le_bytes()[same];
                position += same;
                return if target.bytes[position] < entry_byte {
                    Step::Beyond
                } else {
                    Step::Matched(position)
                };
            }
            position += usize::from(len);
        }
        if position == target.len {
            Step::Found
        } else {
            Step::Matched(position)
        }
    }
}

/// What comparing the target with one entry says.
enum Step {
    Found,
    /// The entry sorts after the target, and so do all that follow.
    Beyond,
    /// The entry sorts before the target, with which it shares so many bytes.
    Matched(usize),
}

#[cfg(test)]
mod tests {
    use super::{FrontCoded, LONGEST_ENTRY};
    use crate::WORDS;
    use crate::encode::encode;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};

    fn built_in_knows(word: &[u8]) -> bool {
        super::built_in_knows(word, 0, word.len())
    }

    #[test]
    fn the_built_in_list_knows_exactly_its_entries() {
        let words: HashSet<&[u8]> = WORDS
            .split(|&byte| byte == b'\n')
            .filter(|word| !word.iter().any(u8::is_ascii_uppercase) && !word.is_empty())
            .collect();
        assert_eq!(
            words.iter().map(|word| word.len()).max(),
            Some(LONGEST_ENTRY)
        );
        for &word in &words {
            assert!(built_in_knows(word), "{}", String::from_utf8_lossy(word));
            // Neighbours: one byte less, one more, one changed.
            let mut longer = word.to_vec();
            longer.push(b's');
            let mut changed = word.to_vec();
            changed[word.len() / 2] = b'e';
            for other in [&word[..word.len() - 1], &longer, &changed] {
                assert_eq!(
                    built_in_knows(other),
                    words.contains(other),
                    "{}",
                    String::from_utf8_lossy(other)
                );
            }
        }
    }

    #[test]
    fn words_are_folded_and_other_bytes_are_strangers() {
        assert!(built_in_knows(b"a") && built_in_knows(b"Zymurgy") && built_in_knows(b"SOLIFUGE"));
        assert!(
            !built_in_knows(b"zyzzogeton"),
            "the list has it with a capital letter only"
        );
        for word in [
            &b""[..],
            b"a\0",
            b"\0",
            b"a.",
            b"\xFFa",
            b"`a",
            b"a{",
            b"na\xC3\xAFve",
            b"a\0\0\0\0\0\0\0\0",
        ] {
            assert!(!built_in_knows(word), "{word:?}");
        }
        assert!(!built_in_knows(&[b'a'; 1000]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_list_knows_exactly_its_words(
            words in prop::collection::btree_set("[a-c]{1,12}|[a-z]{1,31}", 1..200),
            others in prop::collection::vec("[a-c]{1,12}|[a-z]{1,31}", 0..50),
        ) {
            let sorted: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let encoded = encode(&sorted);
            let list = FrontCoded {
                heads: &encoded.heads,
                starts: &encoded.starts,
                body: &encoded.body,
                tokens: &encoded.tokens,
                prefixes: &encoded.prefixes,
            };
            let set: BTreeSet<&[u8]> = sorted.iter().copied().collect();
            for word in sorted.iter().copied().chain(others.iter().map(String::as_bytes)) {
                let [search] = list.begin_searches(word, [Some((0, word.len()))]);
                prop_assert_eq!(search.is_some_and(|search| search.finds()), set.contains(word));
            }
        }
    }
}
