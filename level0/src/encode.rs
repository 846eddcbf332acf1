//! Packs a sorted word list by front coding; the build script's half of `compact.rs`.
//!
//! The vocabulary in which the words' rests are written is found by byte-pair encoding: begin with
//! the letters and join the most frequent pair of neighbours until 256 tokens are known. Only the
//! build script and the tests include this file.

use crate::front_coding::{COUNT_FOLLOWS, LONGEST, head, prefix_index};
use std::collections::HashMap;

/// Entries after which a block ends, as soon as the head of the next word differs.
///
/// A block then takes about one cache line, and scanning half of it costs what fetching it costs.
const BLOCK_ENTRIES: usize = 8;

/// Longest token in bytes: a token is compared as one 64-bit word.
const TOKEN_BYTES: usize = 8;

/// A front-coded word list in the arrays that `compact::FrontCoded` reads.
pub struct Encoded {
    /// `head` of each block's first word, ascending.
    pub heads: Vec<u64>,
    /// Where each block's entries begin in `body`, and at last the length of `body`.
    pub starts: Vec<u32>,
    /// The entries of all blocks.
    pub body: Vec<u8>,
    /// The vocabulary: a token's bytes (the first one lowest, zeros behind) and their number.
    pub tokens: Vec<(u64, u8)>,
    /// For each `prefix_index`, how many heads belong to a smaller one; and at last their number.
    pub prefixes: Vec<u16>,
}

/// Packs `words`, which must be sorted, distinct, of letters `a` to `z` and 1 to `LONGEST` long.
pub fn encode(words: &[&[u8]]) -> Encoded {
    assert!(
        words.is_sorted_by(|one, next| one < next),
        "the words must be sorted and distinct"
    );
    assert!(
        words
            .iter()
            .all(|word| (1..=LONGEST).contains(&word.len())
                && word.iter().all(u8::is_ascii_lowercase)),
        "the words must be of lower-case letters and 1 to {LONGEST} bytes long"
    );
    let blocks = cut_into_blocks(words);
    let texts = blocks
        .iter()
        .flat_map(|block| rests(block))
        .map(|(_, rest)| rest);
    let vocabulary = Vocabulary::learn(texts);

    let mut encoded = Encoded {
        heads: blocks.iter().map(|block| head(block[0])).collect(),
        starts: Vec::new(),
        body: Vec::new(),
        tokens: vocabulary.packed(),
        prefixes: Vec::new(),
    };
    for block in &blocks {
        encoded.starts.push(encoded.body.len() as u32);
        for (shared, rest) in rests(block) {
            let tokens = &vocabulary.spellings[rest];
            let count = tokens.len() as u8;
            encoded
                .body
                .push((shared as u8) << 3 | count.min(COUNT_FOLLOWS));
            if count >= COUNT_FOLLOWS {
                encoded.body.push(count);
            }
            encoded.body.extend_from_slice(tokens);
        }
    }
    encoded.starts.push(encoded.body.len() as u32);
    encoded.prefixes = (0..=27 * 27)
        .map(|index| {
            encoded
                .heads
                .partition_point(|&head| prefix_index(head) < Some(index)) as u16
        })
        .collect();
    encoded
}

/// Cuts the list so that no two blocks have the same head: the right block is then known by it.
fn cut_into_blocks<'w>(words: &'w [&'w [u8]]) -> Vec<&'w [&'w [u8]]> {
    let mut blocks = Vec::new();
    let mut start = 0;
    for next in 1..=words.len() {
        let full = next - start >= BLOCK_ENTRIES;
        if next == words.len() || full && head(words[next]) != head(words[next - 1]) {
            blocks.push(&words[start..next]);
            start = next;
        }
    }
    blocks
}

/// How much each word of a block shares with what is known before it, and its remaining bytes.
fn rests<'w>(block: &[&'w [u8]]) -> Vec<(usize, &'w [u8])> {
    let mut known = &block[0][..block[0].len().min(8)];
    let mut rests = Vec::with_capacity(block.len());
    for &word in block {
        let shared = known
            .iter()
            .zip(word)
            .take_while(|(one, other)| one == other)
            .count();
        rests.push((shared, &word[shared..]));
        known = word;
    }
    rests
}

/// A vocabulary of byte sequences and how each known text is spelt in it.
struct Vocabulary<'w> {
    tokens: Vec<Vec<u8>>,
    spellings: HashMap<&'w [u8], Vec<u8>>,
}

impl<'w> Vocabulary<'w> {
    /// Begins with single letters and joins the most frequent pair until 256 tokens are known.
    fn learn(texts: impl Iterator<Item = &'w [u8]>) -> Self {
        let mut counts: HashMap<&[u8], u32> = HashMap::new();
        texts.for_each(|text| *counts.entry(text).or_default() += 1);
        let mut tokens: Vec<Vec<u8>> = (b'a'..=b'z').map(|letter| vec![letter]).collect();
        let mut spelt: Vec<(&[u8], u32, Vec<u8>)> = counts
            .into_iter()
            .map(|(text, count)| (text, count, text.iter().map(|byte| byte - b'a').collect()))
            .collect();
        while tokens.len() < 256 {
            let Some((left, right)) = most_frequent_pair(&spelt, &tokens) else {
                break;
            };
            let joined = tokens.len() as u8;
            tokens.push([&tokens[usize::from(left)][..], &tokens[usize::from(right)]].concat());
            for (_, _, spelling) in &mut spelt {
                join(spelling, left, right, joined);
            }
        }
        let spellings = spelt
            .into_iter()
            .map(|(text, _, spelling)| (text, spelling))
            .collect();
        Self { tokens, spellings }
    }

    fn packed(&self) -> Vec<(u64, u8)> {
        let pack = |token: &Vec<u8>| (head(token).swap_bytes(), token.len() as u8);
        self.tokens.iter().map(pack).collect()
    }
}

/// The pair of neighbouring tokens seen most often (the smallest of equals, so that builds repeat).
fn most_frequent_pair(spelt: &[(&[u8], u32, Vec<u8>)], tokens: &[Vec<u8>]) -> Option<(u8, u8)> {
    let mut seen = vec![0_u32; 1 << 16];
    for (_, count, spelling) in spelt {
        for pair in spelling.windows(2) {
            seen[usize::from(pair[0]) << 8 | usize::from(pair[1])] += count;
        }
    }
    let bytes = |token: usize| tokens.get(token).map_or(0, Vec::len);
    let (pair, &count) = seen
        .iter()
        .enumerate()
        .filter(|&(pair, _)| bytes(pair >> 8) + bytes(pair & 0xFF) <= TOKEN_BYTES)
        .max_by_key(|&(pair, &count)| (count, usize::MAX - pair))?;
    (count > 0).then_some(((pair >> 8) as u8, pair as u8))
}

/// Replaces each `left right` in `spelling` by `joined`.
fn join(spelling: &mut Vec<u8>, left: u8, right: u8, joined: u8) {
    let mut kept = 0;
    let mut next = 0;
    while next < spelling.len() {
        let pair = spelling[next] == left && spelling.get(next + 1) == Some(&right);
        spelling[kept] = if pair { joined } else { spelling[next] };
        kept += 1;
        next += if pair { 2 } else { 1 };
    }
    spelling.truncate(kept);
}
