//! Chunks: cutting a file into runs of whole lines, and sets of chunks of a segment.

/// Bytes at which a chunk ends, unless a line is longer: small enough that a candidate costs
/// microseconds to verify, large enough that the posting lists stay under a fifth of the text.
const CHUNK_BYTES: usize = 16 << 10;

/// Chunks that one segment can hold, so that chunk numbers fit 16 bits.
pub(crate) const MAX_CHUNKS: usize = 1 << 16;

/// Cuts `text` into chunks. Each ends behind a newline or at the end of the text.
pub(crate) fn cut(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if rest.len() <= CHUNK_BYTES {
            rest.len()
        } else if let Some(newline) = memchr::memrchr(b'\n', &rest[..CHUNK_BYTES]) {
            newline + 1
        } else {
            memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1)
        };
        let (chunk, after) = rest.split_at(end);
        rest = after;
        Some(chunk)
    })
}

/// A set of the chunks of one segment, as a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    chunks: usize,
}

impl ChunkSet {
    /// No chunk of a segment with `chunks` chunks.
    pub fn none(chunks: usize) -> Self {
        Self {
            words: vec![0; chunks.div_ceil(64)],
            chunks,
        }
    }

    /// Every chunk of a segment with `chunks` chunks.
    pub fn all(chunks: usize) -> Self {
        let mut words = vec![u64::MAX; chunks.div_ceil(64)];
        if let (Some(last), odd @ 1..) = (words.last_mut(), chunks % 64) {
            *last = (1 << odd) - 1;
        }
        Self { words, chunks }
    }

    /// How many chunks the segment has.
    pub fn universe(&self) -> usize {
        self.chunks
    }

    /// Adds a chunk, which must be one of the segment's.
    pub fn insert(&mut self, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        self.words[chunk / 64] |= 1 << (chunk % 64);
    }

    /// Whether a chunk is in the set.
    pub fn contains(&self, chunk: usize) -> bool {
        let word = self.words.get(chunk / 64);
        word.is_some_and(|word| word & 1 << (chunk % 64) != 0)
    }

    /// Keeps what is in both sets.
    pub fn intersect(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    /// Adds what is in the other set.
    pub fn unite(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Removes what is in the other set.
    pub fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
    }

    /// How many chunks are in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no chunk is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The chunks of the set in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                (left != 0).then(|| {
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }

    /// The bits as bytes, least significant first.
    pub(crate) fn to_bytes(&self) -> impl Iterator<Item = u8> {
        let bytes = self.chunks.div_ceil(8);
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .take(bytes)
    }

    /// The set with these bits, or `None` if they are too many or name chunks beyond the last.
    pub(crate) fn from_bytes(bytes: &[u8], chunks: usize) -> Option<Self> {
        if bytes.len() != chunks.div_ceil(8) {
            return None;
        }
        let mut set = Self::none(chunks);
        for (word, part) in set.words.iter_mut().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..part.len()].copy_from_slice(part);
            *word = u64::from_le_bytes(padded);
        }
        let mut beyond = set.clone();
        beyond.subtract(&Self::all(chunks));
        beyond.is_empty().then_some(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_are_whole_lines_and_add_up(lines in prop::collection::vec(0..40_000_usize, 0..6), last in 0..40_000_usize) {
            let mut text = Vec::new();
            for bytes in lines {
                text.resize(text.len() + bytes, b'x');
                text.push(b'\n');
            }
            text.resize(text.len() + last, b'y');
            let chunks: Vec<_> = cut(&text).collect();
            prop_assert_eq!(&chunks.concat(), &text);
            for pair in chunks.windows(2) {
                prop_assert_eq!(pair[0].last(), Some(&b'\n'));
            }
            for chunk in chunks {
                prop_assert!(!chunk.is_empty());
                let lines = memchr::memchr_iter(b'\n', chunk).count();
                prop_assert!(chunk.len() <= CHUNK_BYTES || lines <= 1);
            }
        }

        #[test]
        fn sets_behave_like_sets(a in prop::collection::btree_set(0..130_usize, 0..40), b in prop::collection::btree_set(0..130_usize, 0..40)) {
            let build = |members: &std::collections::BTreeSet<usize>| {
                let mut set = ChunkSet::none(130);
                for &chunk in members {
                    set.insert(chunk);
                }
                set
            };
            let (left, right) = (build(&a), build(&b));
            let mut both = left.clone();
            both.intersect(&right);
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), a.intersection(&b).copied().collect::<Vec<_>>());
            let mut either = left.clone();
            either.unite(&right);
            prop_assert_eq!(either.len(), a.union(&b).count());
            let mut less = left.clone();
            less.subtract(&right);
            prop_assert_eq!(less.iter().collect::<Vec<_>>(), a.difference(&b).copied().collect::<Vec<_>>());
            let bytes: Vec<_> = left.to_bytes().collect();
            prop_assert_eq!(ChunkSet::from_bytes(&bytes, 130), Some(left));
        }
    }

    #[test]
    fn every_chunk_is_in_the_full_set_and_none_beyond() {
        for chunks in [0, 1, 63, 64, 65, 128] {
            assert_eq!(
                ChunkSet::all(chunks).iter().collect::<Vec<_>>(),
                (0..chunks).collect::<Vec<_>>()
            );
        }
        assert_eq!(ChunkSet::from_bytes(&[0b100], 2), None);
    }
}
