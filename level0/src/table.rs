//! An exact set of words that answers from one cache line.
//!
//! Words of up to 15 bytes, nearly all there are, lie as [`Key`]s in buckets of four, a cache line
//! each; a full bucket overflows into the next. The word itself is what is compared, so a match
//! needs no second look elsewhere, and a miss needs none either. Which line a word needs is known
//! long before it is used, so it is prefetched. Words of 16 to 31 bytes lie likewise in buckets of two.
//! Longer ones are in an ordinary hash set.

use crate::key::{KEY_BYTES, Key, LONG_KEY_BYTES, LongKey, is_empty};
use crate::simd::{is_separator, prefetch};
use memmap2::MmapMut;
use rustc_hash::FxHashSet;
use std::alloc::{Layout, handle_alloc_error};

/// Bytes of a bucket: a cache line.
const BUCKET_BYTES: usize = 64;

/// A bucket's places for words of up to 15 bytes; what is not used is zero.
type Bucket = [[u8; 16]; BUCKET_KEYS];

/// Keys to a bucket.
const BUCKET_KEYS: usize = BUCKET_BYTES / 16;

/// A bucket's places for words of 16 to 31 bytes; what is not used is zero.
type LongBucket = [[u8; 32]; LONG_BUCKET_KEYS];

/// Keys of long words to a bucket.
const LONG_BUCKET_KEYS: usize = BUCKET_BYTES / 32;

/// Keys to a bucket on average. Fewer would make the table leave the cache, more would make
/// buckets overflow; between one and a half and three it hardly matters.
const MEAN_BUCKET_KEYS: usize = 2;

/// How many words ahead of its use a table line is requested: enough to hide a cache miss, fewer
/// than a core can wait for at once.
const AHEAD: usize = 16;

/// Collects entries for a [`Table`].
#[derive(Default)]
pub(crate) struct TableBuilder {
    keys: Vec<Key>,
    long_keys: Vec<(Key, LongKey)>,
    longer: FxHashSet<Box<[u8]>>,
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
        let key = Key::of(entry, 0, entry.len());
        match entry.len() {
            0..=KEY_BYTES => self.keys.push(key),
            16..=LONG_KEY_BYTES => {
                let long_key = LongKey::of(entry, 0, entry.len());
                self.long_keys.push((key, long_key));
            }
            _ => {
                self.longer.insert(entry.into());
            }
        }
    }

    /// Adds a word, of ASCII, in whatever case, unless no word can match it.
    pub(crate) fn add_folded(&mut self, word: &[u8]) {
        if word.len() > KEY_BYTES {
            self.add(&word.to_ascii_lowercase());
        } else if !word.is_empty() && !word.iter().any(|&byte| is_separator(byte)) {
            self.longest = self.longest.max(word.len());
            self.keys.push(Key::of(word, 0, word.len()));
        }
    }

    pub(crate) fn build(self) -> Table {
        let mut memory = allocate((self.keys.len() / MEAN_BUCKET_KEYS + 1) * BUCKET_BYTES);
        let buckets = buckets_mut(&mut memory);
        for key in self.keys {
            let is_free = |place: &[u8; 16]| is_empty(place) || key.is(place);
            put(buckets, key, key.to_bytes(), is_free);
        }
        let mut long_memory = allocate((self.long_keys.len() + 1) * BUCKET_BYTES);
        let buckets = long_buckets_mut(&mut long_memory);
        for (key, long_key) in self.long_keys {
            let is_free = |place: &[u8; 32]| LongKey::is_empty(place) || long_key.is(place);
            put(buckets, key, long_key.to_bytes(), is_free);
        }
        Table {
            memory,
            long_memory,
            longer: self.longer,
            longest: self.longest,
        }
    }
}

/// Puts `bytes` at the first free place from the bucket of `key` on. There are more places than keys, so
/// there is one.
fn put<const BYTES: usize, const KEYS: usize>(
    buckets: &mut [[[u8; BYTES]; KEYS]],
    key: Key,
    bytes: [u8; BYTES],
    is_free: impl Fn(&[u8; BYTES]) -> bool,
) {
    let mut index = bucket_of(key, buckets.len());
    loop {
        if let Some(place) = buckets[index].iter_mut().find(|place| is_free(place)) {
            *place = bytes;
            return;
        }
        index = following(index, buckets.len());
    }
}

/// Zeros in whole pages: large ones, where the system has them, of which the processor finds each word's
/// without walking through tables of small ones.
fn allocate(bytes: usize) -> MmapMut {
    const LARGE_PAGE: usize = 2 * 1024 * 1024;
    let bytes = if bytes < LARGE_PAGE {
        bytes
    } else {
        bytes.next_multiple_of(LARGE_PAGE)
    };
    let Ok(memory) = MmapMut::map_anon(bytes) else {
        // What any other allocation does that fails.
        let layout = Layout::from_size_align(bytes, BUCKET_BYTES);
        handle_alloc_error(layout.unwrap_or(Layout::new::<Bucket>()));
    };
    #[cfg(target_os = "linux")]
    if bytes >= LARGE_PAGE {
        // Without it small pages do.
        let _ = memory.advise(memmap2::Advice::HugePage);
    }
    memory
}

fn buckets_mut(memory: &mut [u8]) -> &mut [Bucket] {
    let (keys, _) = memory.as_chunks_mut::<16>();
    keys.as_chunks_mut::<BUCKET_KEYS>().0
}

fn buckets(memory: &[u8]) -> &[Bucket] {
    let (keys, _) = memory.as_chunks::<16>();
    keys.as_chunks::<BUCKET_KEYS>().0
}

fn long_buckets_mut(memory: &mut [u8]) -> &mut [LongBucket] {
    let (keys, _) = memory.as_chunks_mut::<32>();
    keys.as_chunks_mut::<LONG_BUCKET_KEYS>().0
}

fn long_buckets(memory: &[u8]) -> &[LongBucket] {
    let (keys, _) = memory.as_chunks::<32>();
    keys.as_chunks::<LONG_BUCKET_KEYS>().0
}

/// A set of dictionary entries, made for long documents.
pub(crate) struct Table {
    /// The buckets. A page begins with one, so that each lies in one cache line.
    memory: MmapMut,
    /// Those of words of 16 to 31 bytes, one for each entry.
    long_memory: MmapMut,
    /// Entries of more bytes.
    longer: FxHashSet<Box<[u8]>>,
    longest: usize,
}

impl Table {
    /// Length in bytes of the longest entry that a word can match.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether the table holds a word of any length.
    pub(crate) fn knows(&self, word: &[u8]) -> bool {
        let request = self.request(word, 0, word.len());
        !word.is_empty() && self.answer(request, word, 0, word.len())
    }

    /// Looks up `count` words of `text`, of which `place` gives the beginning and the end; tells
    /// `answer` of each in order whether the table holds it. The empty word counts as held.
    ///
    /// Word by word, the line of one is requested and the line of an earlier one used: requests then
    /// come no faster than the memory can take them.
    #[inline]
    pub(crate) fn look_up(
        &self,
        text: &[u8],
        count: usize,
        place: impl Fn(usize) -> (usize, usize),
        mut answer: impl FnMut(usize, bool),
    ) {
        let request = |index| {
            let (start, end) = place(index);
            self.request(text, start, end)
        };
        let mut answer = |index, request| {
            let (start, end) = place(index);
            answer(index, self.answer(request, text, start, end));
        };
        let mut requests = [Request::default(); AHEAD];
        for (index, first) in requests.iter_mut().enumerate().take(count) {
            *first = request(index);
        }
        for index in AHEAD..count {
            let next = request(index);
            answer(
                index - AHEAD,
                std::mem::replace(&mut requests[index % AHEAD], next),
            );
        }
        for index in count.saturating_sub(AHEAD)..count {
            answer(index, requests[index % AHEAD]);
        }
    }

    /// Begins to look up the word `text[start..end]`: asks the memory for its bucket.
    #[inline]
    pub(crate) fn request(&self, text: &[u8], start: usize, end: usize) -> Request {
        let key = Key::of(text, start, end);
        let bucket = if end - start <= KEY_BYTES {
            let buckets = buckets(&self.memory);
            let bucket = bucket_of(key, buckets.len());
            prefetch(buckets, bucket);
            bucket
        } else {
            let buckets = long_buckets(&self.long_memory);
            let bucket = bucket_of(key, buckets.len());
            prefetch(buckets, bucket);
            bucket
        };
        Request { key, bucket }
    }

    /// Whether the table holds the word `text[start..end]`, which was requested. The empty word counts
    /// as held.
    #[expect(clippy::inline_always, reason = "the loops around it are the program")]
    #[inline(always)]
    pub(crate) fn answer(&self, request: Request, text: &[u8], start: usize, end: usize) -> bool {
        if end - start <= KEY_BYTES {
            self.holds(request)
        } else {
            self.holds_long(request.bucket, text, start, end)
        }
    }

    #[expect(clippy::inline_always, reason = "the loops around it are the program")]
    #[inline(always)]
    fn holds(&self, Request { key, mut bucket }: Request) -> bool {
        let buckets = buckets(&self.memory);
        loop {
            let places = &buckets[bucket];
            // Whether a word is found is hard to predict, so no branch may depend on it alone.
            let found = places
                .iter()
                .map(|place| usize::from(key.is(place)))
                .sum::<usize>();
            let ended = usize::from(is_empty(&places[BUCKET_KEYS - 1]));
            if found + ended > 0 {
                return found > 0;
            }
            bucket = following(bucket, buckets.len());
        }
    }

    /// Whether the table holds the word `text[start..end]` of more than `KEY_BYTES` bytes.
    #[inline(never)]
    fn holds_long(&self, mut bucket: usize, text: &[u8], start: usize, end: usize) -> bool {
        if end - start > self.longest {
            return false;
        }
        if end - start > LONG_KEY_BYTES {
            let word = text[start..end].to_ascii_lowercase();
            return self.longer.contains(word.as_slice());
        }
        let key = LongKey::of(text, start, end - start);
        let buckets = long_buckets(&self.long_memory);
        loop {
            let places = &buckets[bucket];
            if places.iter().any(|place| key.is(place)) {
                return true;
            }
            if LongKey::is_empty(&places[LONG_BUCKET_KEYS - 1]) {
                return false;
            }
            bucket = following(bucket, buckets.len());
        }
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
            entries in prop::collection::vec("[a-d]{0,5}|a{14,18}|[ab]{14,17}|[b]{14,15}[ab]{15,18}|\\PC{0,6}", 0..300),
            others in prop::collection::vec("[a-dA-D]{0,5}|[aA]{14,18}|[aB]{14,17}|[bB]{14,15}[ab]{15,18}|\\PC{0,6}", 0..100),
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
