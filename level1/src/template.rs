//! Where the nonce goes: a commit object laid out for two-level hashing.
//!
//! SHA-1 works on blocks of 64 bytes. A template ends the message with one line of base-32 digits,
//! of such a length that the object, header included, is 55 bytes longer than a multiple of 64:
//!
//! ```text
//!            block before the last                         last block
//! ┌──────────────────────────────┬────────────┬────────────────────┬───────┬────┬──────────┐
//! │ … message, "Nonce: ", filler │ row digits │ filler             │column │0x80│bit length│
//! └──────────────────────────────┴────────────┴────────────────────┴───────┴────┴──────────┘
//!                                 54 … 63      0 … 51 (W0 … W12)    52…54   55   56 … 63
//! ```
//!
//! A nonce is a *row* (upper 49 bits, ten digits) and a *column* (lower 15 bits, three digits).
//! The row decides the midstate before the last block; the column is the upper three bytes of the
//! one word W13. Many rows are prepared at once, each carried through the rounds 0 … 12 that W13
//! does not reach; then every column's message schedule is computed once for all of them.
//! The filler comes from a seed, so that two miners of the same commit try different objects.

use crate::commit::Commit;
use crate::nonce::{
    BLOCK, COLUMN_DIGITS, DIGITS, LAST_BLOCK_USED, LINE_DIGITS_MAX, LINE_DIGITS_MIN, NONCE_LABEL,
    Nonce, ROW_DIGITS, write_digits,
};
use crate::object_id::ObjectId;
use sha1::block_api::compress;

/// SHA-1's initial hash value (RFC 3174, section 6.1).
const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// A commit object with room for a nonce, hashed as far as the nonce allows.
#[derive(Clone, Debug)]
pub struct CommitTemplate {
    /// Header and content, with the digits of nonce 0 in place.
    object: Vec<u8>,
    /// Length of the header `commit SIZE\0` in bytes.
    header: usize,
    tail: Tail,
}

/// What kernels need of a template: the last two blocks and the state before them.
#[derive(Clone, Debug)]
pub struct Tail {
    before: [u32; 5],
    row_block: [u8; BLOCK],
    last_block: [u32; 16],
}

impl CommitTemplate {
    /// Lays out `commit` with filler digits drawn from `seed`.
    pub fn new(commit: &Commit, seed: u64) -> Self {
        let text = commit.text();
        let fixed = text.len() + NONCE_LABEL.len();
        // The header's length depends on the number of digits of the content's length. A line
        // one block longer than the least is only needed where that number changes.
        let (header, digits) = (LINE_DIGITS_MIN..=LINE_DIGITS_MAX)
            .map(|digits| (format!("commit {}\0", fixed + digits), digits))
            .find(|(header, digits)| (header.len() + fixed + digits) % BLOCK == LAST_BLOCK_USED)
            .unwrap_or_else(|| unreachable!("of 65 lengths one fits"));

        let mut object = header.clone().into_bytes();
        object.extend_from_slice(text);
        object.extend_from_slice(NONCE_LABEL.as_bytes());
        object.extend(filler(seed).take(digits));
        let last = object.len() - LAST_BLOCK_USED;
        write_digits(&mut object[last - ROW_DIGITS..last], 0);
        let column = object.len() - COLUMN_DIGITS;
        write_digits(&mut object[column..], 0);

        let tail = Tail::new(&object);
        Self {
            object,
            header: header.len(),
            tail,
        }
    }

    /// The part that kernels work on.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The content of the commit object (without its header) that has `nonce`.
    pub fn commit(&self, nonce: Nonce) -> Vec<u8> {
        let mut content = self.object[self.header..].to_vec();
        let end = content.len();
        let last = end - LAST_BLOCK_USED;
        write_digits(&mut content[last - ROW_DIGITS..last], nonce.row());
        write_digits(
            &mut content[end - COLUMN_DIGITS..],
            u64::from(nonce.column()),
        );
        content
    }

    /// The id of [`Self::commit`], computed from the whole object by the `sha1` crate.
    pub fn id(&self, nonce: Nonce) -> ObjectId {
        ObjectId::of("commit", &self.commit(nonce))
    }
}

impl Tail {
    fn new(object: &[u8]) -> Self {
        let (blocks, rest) = object.as_chunks::<BLOCK>();
        let mut padded = [0; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
        let bits = 8 * object.len() as u64;
        padded[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());

        let Some((row_block, blocks)) = blocks.split_last() else {
            unreachable!("the nonce line alone is longer than a block")
        };
        let mut before = INITIAL;
        compress(&mut before, blocks);
        let mut last_block = [0; 16];
        for (word, bytes) in last_block.iter_mut().zip(padded.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        last_block[13] = column_word(0);
        Self {
            before,
            row_block: *row_block,
            last_block,
        }
    }

    /// The state before the last block, for `row`.
    pub fn midstate(&self, row: u64) -> [u32; 5] {
        let mut block = self.row_block;
        write_digits(&mut block[BLOCK - ROW_DIGITS..], row);
        let mut state = self.before;
        compress(&mut state, &[block]);
        state
    }

    /// The words of the last block, padding included, with the digits of column 0 in W13.
    pub fn last_block(&self) -> &[u32; 16] {
        &self.last_block
    }
}

/// W13 of the last block for `column`: its three digits and the first byte of the padding.
pub fn column_word(column: u32) -> u32 {
    let mut bytes = [0, 0, 0, 0x80];
    write_digits(&mut bytes[..COLUMN_DIGITS], u64::from(column));
    u32::from_be_bytes(bytes)
}

/// Endless digits from a seed: the SplitMix64 sequence, its top five bits at a time.
fn filler(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        DIGITS[((mixed ^ (mixed >> 31)) >> 59) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonce::{ROWS, is_nonce_line};
    use std::collections::HashSet;

    fn commit(message: &str) -> Commit {
        let headers = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                       author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n";
        Commit::parse(format!("{headers}{message}").as_bytes()).unwrap()
    }

    /// The id by way of midstate and last block, which is the way kernels go.
    fn id_by_tail(template: &CommitTemplate, nonce: Nonce) -> ObjectId {
        let mut state = template.tail().midstate(nonce.row());
        let mut words = *template.tail().last_block();
        words[13] = column_word(nonce.column());
        let mut block = [0; BLOCK];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_be_bytes();
        }
        compress(&mut state, &[block]);
        ObjectId(state)
    }

    #[test]
    fn every_message_length_is_laid_out() {
        // 0 … 1200 covers each remainder many times, and the step from three to four digits.
        for length in 0..1200 {
            let template = CommitTemplate::new(&commit(&"x".repeat(length)), length as u64);
            let nonce = Nonce(0x0123_4567_89ab_cdef ^ length as u64);
            let content = template.commit(nonce);
            assert_eq!(
                template.id(nonce),
                id_by_tail(&template, nonce),
                "length {length}"
            );
            let line = content.rsplit(|&byte| byte == b'\n').next().unwrap();
            assert!(is_nonce_line(line), "length {length}");
        }
    }

    #[test]
    fn nonces_make_different_commits_and_differ_in_nothing_else() {
        let template = CommitTemplate::new(&commit("Title\n"), 1);
        let row = |row: u64| (0..1000).map(move |column| Nonce::at(row, column));
        let nonces: Vec<Nonce> = [0, 1, ROWS - 1].into_iter().flat_map(row).collect();
        let commits: HashSet<_> = nonces.iter().map(|&nonce| template.commit(nonce)).collect();
        assert_eq!(commits.len(), nonces.len());
        let stripped: HashSet<_> = commits
            .iter()
            .map(|text| Commit::parse(text).unwrap())
            .collect::<HashSet<_>>();
        assert_eq!(stripped.len(), 1);
    }

    #[test]
    fn seeds_separate_miners() {
        let one = CommitTemplate::new(&commit("Title\n"), 1);
        let two = CommitTemplate::new(&commit("Title\n"), 2);
        assert_ne!(one.commit(Nonce(0)), two.commit(Nonce(0)));
    }
}
