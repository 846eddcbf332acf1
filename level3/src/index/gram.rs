//! Grams: the one, two and three byte keys of the index.
//!
//! Trigrams do the pruning. Bigrams and single bytes are indexed too, because a needle that short
//! has no trigram, and their posting lists are few. No gram contains a newline: needles never do.

/// One to three bytes as an integer: the bytes big-endian in the low 24 bits, the length less one
/// above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gram(pub(crate) u32);

impl Gram {
    /// Length of the longest gram in bytes.
    pub const MAX_BYTES: usize = 3;

    /// The gram of the first one to three bytes of `bytes`, or `None` if there are none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self(match *bytes {
            [] => return None,
            [a] => u32::from(a),
            [a, b] => 1 << 24 | u32::from(a) << 8 | u32::from(b),
            [a, b, c, ..] => 2 << 24 | u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c),
        }))
    }
}

const NEWLINE: u32 = b'\n' as u32;

/// Finds the distinct grams of a chunk. Keeps its bit sets between chunks.
pub(crate) struct GramScanner {
    /// One bit for each possible trigram: 2 MiB, of which ordinary text touches a few pages.
    trigrams: Box<[u64]>,
    /// One bit for each possible bigram.
    bigrams: Box<[u64]>,
    /// Trigrams of the chunk, newlines included.
    found: Vec<u32>,
}

impl GramScanner {
    pub(crate) fn new() -> Self {
        Self {
            trigrams: vec![0; 1 << 18].into_boxed_slice(),
            bigrams: vec![0; 1 << 10].into_boxed_slice(),
            found: Vec::new(),
        }
    }

    /// Calls `each` once for every distinct gram of `text`, in no particular order.
    pub(crate) fn scan(&mut self, text: &[u8], mut each: impl FnMut(Gram)) {
        let count = self.distinct_trigrams(text);
        let mut bytes = [0_u64; 4];
        let pair = |bigrams: &mut [u64], pair: u32| {
            let (first, second) = (pair >> 8, pair & 0xff);
            if first == NEWLINE || second == NEWLINE || !set(bigrams, pair) {
                return None;
            }
            Some(Gram(1 << 24 | pair))
        };
        for &trigram in &self.found[..count] {
            let (front, back) = (trigram >> 8, trigram & 0xffff);
            let newline =
                front >> 8 == NEWLINE || front & 0xff == NEWLINE || back & 0xff == NEWLINE;
            if !newline {
                each(Gram(2 << 24 | trigram));
            }
            pair(&mut self.bigrams, front)
                .into_iter()
                .for_each(&mut each);
            pair(&mut self.bigrams, back)
                .into_iter()
                .for_each(&mut each);
            for byte in [trigram >> 16, front & 0xff, back & 0xff] {
                if byte != NEWLINE && set(&mut bytes, byte) {
                    each(Gram(byte));
                }
            }
        }
        if let &[a, b] = text {
            let both = u32::from(a) << 8 | u32::from(b);
            pair(&mut self.bigrams, both)
                .into_iter()
                .for_each(&mut each);
        }
        if text.len() < Gram::MAX_BYTES {
            for &byte in text {
                if u32::from(byte) != NEWLINE && set(&mut bytes, u32::from(byte)) {
                    each(Gram(u32::from(byte)));
                }
            }
        }
        self.bigrams.fill(0);
        for &trigram in &self.found[..count] {
            self.trigrams[trigram as usize >> 6] = 0;
        }
    }

    /// Leaves the distinct trigrams at the start of `found` and returns how many there are.
    fn distinct_trigrams(&mut self, text: &[u8]) -> usize {
        let &[a, b, ref rest @ ..] = text else {
            return 0;
        };
        if self.found.len() < rest.len() {
            self.found.resize(rest.len(), 0);
        }
        let mut count = 0;
        let mut trigram = u32::from(a) << 8 | u32::from(b);
        for &byte in rest {
            trigram = (trigram << 8 | u32::from(byte)) & 0xff_ffff;
            // Written always and counted only if new: whether a trigram is new is a coin toss to
            // the branch predictor.
            self.found[count] = trigram;
            count += usize::from(set(&mut self.trigrams, trigram));
        }
        count
    }
}

/// Entries in a page of a [`GramTable`]: one that has small letters often has no others.
const PAGE: usize = 64;

/// A number for each gram, 0 until it is set.
///
/// Grams that differ in the last bits only share a page, and a page is there once one of its grams is.
/// So a number is two reads away, without hashing, and the grams come in their order. The worst text
/// fills 64 MiB of pages, source code a few.
#[derive(Default)]
pub(crate) struct GramTable {
    /// One more than the place of each page in `pages`, or 0 while it is not there.
    places: Box<[u32]>,
    pages: Vec<[u32; PAGE]>,
}

impl GramTable {
    pub(crate) fn new() -> Self {
        Self {
            // The length of a gram is in two bits above its three bytes.
            places: vec![0; (Gram::MAX_BYTES << 24) / PAGE].into_boxed_slice(),
            pages: Vec::new(),
        }
    }

    /// The number of a gram.
    #[inline]
    pub(crate) fn of(&mut self, gram: Gram) -> &mut u32 {
        let (page, at) = (gram.0 as usize / PAGE, gram.0 as usize % PAGE);
        let place = match self.places[page] {
            0 => self.add(page),
            place => place,
        };
        &mut self.pages[place as usize - 1][at]
    }

    #[cold]
    fn add(&mut self, page: usize) -> u32 {
        self.pages.push([0; PAGE]);
        self.places[page] = self.pages.len() as u32;
        self.places[page]
    }

    /// Calls `each` for all grams whose number is not 0, in their order.
    pub(crate) fn each_mut(&mut self, mut each: impl FnMut(Gram, &mut u32)) {
        for (page, &place) in (0_u32..).zip(&self.places) {
            let Some(place) = place.checked_sub(1) else {
                continue;
            };
            let numbers = &mut self.pages[place as usize];
            for (at, number) in (0_u32..).zip(numbers) {
                if *number != 0 {
                    each(Gram(page * PAGE as u32 + at), number);
                }
            }
        }
    }
}

/// Sets a bit and says whether it was clear.
#[inline]
fn set(bits: &mut [u64], at: u32) -> bool {
    let word = &mut bits[at as usize >> 6];
    let bit = 1 << (at & 63);
    let new = *word & bit == 0;
    *word |= bit;
    new
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn plain(text: &[u8]) -> BTreeSet<Gram> {
        (1..=3)
            .flat_map(|len| text.windows(len))
            .filter(|window| !window.contains(&b'\n'))
            .filter_map(Gram::of)
            .collect()
    }

    proptest! {
        #[test]
        fn scanning_finds_each_gram_once(texts in prop::collection::vec("[ab\n\u{e9}]{0,12}", 1..6)) {
            let mut scanner = GramScanner::new();
            for text in texts {
                let mut found = Vec::new();
                scanner.scan(text.as_bytes(), |gram| found.push(gram));
                let distinct: BTreeSet<_> = found.iter().copied().collect();
                prop_assert_eq!(found.len(), distinct.len());
                prop_assert_eq!(distinct, plain(text.as_bytes()));
            }
        }
    }
    proptest! {
        #[test]
        fn a_table_is_a_map_in_order(bytes in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![0_u8, 1, b'a', 254, 255]), 1..=3), 0..40)) {
            let (mut table, mut map) = (GramTable::new(), BTreeMap::new());
            for gram in bytes.iter().filter_map(|bytes| Gram::of(bytes)) {
                *table.of(gram) += 1;
                *map.entry(gram).or_insert(0) += 1;
            }
            let mut counted = Vec::new();
            table.each_mut(|gram, number| counted.push((gram, *number)));
            prop_assert_eq!(counted, map.into_iter().collect::<Vec<_>>());
        }
    }
}
