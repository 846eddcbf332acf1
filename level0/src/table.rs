//! An exact set of words that answers from one cache line.
//!
//! Words of up to 15 bytes, nearly all there are, lie as [`Key`]s in buckets of four, a cache line
//! each; a full bucket overflows into the next. The word itself is what is compared, so a match
//! needs no second look elsewhere, and a miss needs none either. Which line a word needs is known
//! long before it is used, so it can be prefetched: see `scan.rs`. Of a longer word the table holds
//! a digest, which refuses nearly all unknown ones; the few that are left are looked up in an
//! ordinary hash set.

use crate::key::{KEY_BYTES, Key};
use crate::simd::{is_separator, prefetch};
use rustc_hash::FxHashSet;

/// Keys to a bucket: as many as a cache line of 64 bytes holds.
const BUCKET_KEYS: usize = 4;

/// Keys to a bucket on average. Fewer would make the table leave the cache, more would make
/// buckets overflow; between one and a half and three it hardly matters.
const MEAN_BUCKET_KEYS: usize = 2;

/// A longer word than this is folded on the heap.
const STACK_BYTES: usize = 64;

/// Collects entries for a [`Table`].
#[derive(Default)]
pub(crate) struct TableBuilder {
    keys: Vec<Key>,
    long: FxHashSet<Box<[u8]>>,
    longest: usize,
}

impl TableBuilder {
    /// Adds an entry, unless no word can ever match it.
    pub(crate) fn add(&mut self, entry: &[u8]) {
        // Words are folded before they are looked up and hold no separator.
        if entry.is_empty()
            || entry
                .iter()
                .any(|&byte| byte.is_ascii_uppercase() || is_separator(byte))
        {
            return;
        }
        self.longest = self.longest.max(entry.len());
        if entry.len() > KEY_BYTES {
            self.long.insert(entry.into());
        }
        self.keys.push(Key::of(entry, 0, entry.len()));
    }

    pub(crate) fn build(self) -> Table {
        let count = self.keys.len() / MEAN_BUCKET_KEYS + 1;
        let mut buckets = vec![Bucket::default(); count];
        for key in self.keys {
            let mut index = bucket_of(key, count);
            // There are more places than keys, so a free one is found.
            loop {
                let free = buckets[index]
                    .0
                    .iter_mut()
                    .find(|place| place.is_empty() || **place == key);
                if let Some(place) = free {
                    *place = key;
                    break;
                }
                index = following(index, count);
            }
        }
        Table {
            buckets,
            long: self.long,
            longest: self.longest,
        }
    }
}

#[derive(Clone, Default)]
#[repr(align(64))]
struct Bucket([Key; BUCKET_KEYS]);

/// A set of dictionary entries, made for long documents.
pub(crate) struct Table {
    buckets: Vec<Bucket>,
    long: FxHashSet<Box<[u8]>>,
    longest: usize,
}

impl Table {
    /// Length in bytes of the longest entry that a word can match.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The bucket in which the search for a key begins.
    #[inline]
    pub(crate) fn bucket(&self, key: Key) -> usize {
        bucket_of(key, self.buckets.len())
    }

    /// Starts loading a bucket.
    #[inline]
    pub(crate) fn prefetch(&self, bucket: usize) {
        prefetch(&self.buckets, bucket);
    }

    /// Whether the table holds the key, whose `bucket` is known; the empty word counts as held.
    #[inline]
    pub(crate) fn holds(&self, key: Key, mut bucket: usize) -> bool {
        loop {
            let places = &self.buckets[bucket].0;
            // Whether a word is found is hard to predict, so no branch may depend on it alone.
            let found = places
                .iter()
                .map(|place| usize::from(*place == key))
                .sum::<usize>();
            let ended = usize::from(places[BUCKET_KEYS - 1].is_empty());
            if found + ended > 0 {
                return found > 0;
            }
            bucket = following(bucket, self.buckets.len());
        }
    }

    /// Whether the table holds a word of more than `KEY_BYTES` bytes whose key it holds.
    pub(crate) fn holds_long(&self, word: &[u8]) -> bool {
        if word.len() > self.longest {
            return false;
        }
        if word.len() > STACK_BYTES {
            return self.long.contains(word.to_ascii_lowercase().as_slice());
        }
        let mut folded = [0; STACK_BYTES];
        let folded = &mut folded[..word.len()];
        folded.copy_from_slice(word);
        folded.make_ascii_lowercase();
        self.long.contains(&*folded)
    }

    /// Whether the table holds a word of any length.
    pub(crate) fn knows(&self, word: &[u8]) -> bool {
        self.answer(self.request(word, 0, word.len()), word, 0, word.len())
    }

    /// Begins to look up the word `text[start..end]`: asks the memory for its bucket.
    #[inline]
    pub(crate) fn request(&self, text: &[u8], start: usize, end: usize) -> Request {
        let key = Key::of(text, start, end);
        let bucket = self.bucket(key);
        self.prefetch(bucket);
        Request { key, bucket }
    }

    /// Whether the table holds the word `text[start..end]`, which was requested.
    #[inline]
    pub(crate) fn answer(&self, request: Request, text: &[u8], start: usize, end: usize) -> bool {
        start < end
            && self.holds(request.key, request.bucket)
            && (end - start <= KEY_BYTES || self.holds_long(&text[start..end]))
    }
}

/// A look-up that has been begun.
#[derive(Clone, Copy, Default)]
pub(crate) struct Request {
    key: Key,
    bucket: usize,
}

#[inline]
fn bucket_of(key: Key, count: usize) -> usize {
    // The upper half of hash × count spreads the hash over the buckets without a division.
    ((u128::from(key.hash()) * count as u128) >> 64) as usize
}

#[inline]
fn following(bucket: usize, count: usize) -> usize {
    if bucket + 1 == count { 0 } else { bucket + 1 }
}

#[cfg(test)]
mod tests {
    use super::TableBuilder;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
            #[test]
            fn a_table_knows_exactly_its_entries(
                entries in prop::collection::vec("[a-d]{0,5}|[a-c]{14,18}|[a-b]{62,66}|\\PC{0,6}", 0..300),
                others in prop::collection::vec("[a-dA-D]{0,5}|[a-cC]{14,18}|[aA]{62,66}|\\PC{0,6}", 0..100),
            ) {
                let mut builder = TableBuilder::default();
                for entry in &entries {
     builder.add(entry.as_bytes());
    }
                let table = builder.build();
                let set: HashSet<&str> = entries.iter().map(String::as_str).collect();
                for word in entries.iter().chain(&others) {
                    let expected = !word.is_empty()
                        && !word.contains(' ')
                        && set.contains(word.to_ascii_lowercase().as_str());
                    prop_assert_eq!(table.knows(word.as_bytes()), expected, "{:?}", word);
                }
            }
        }
}
