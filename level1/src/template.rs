//! Where the nonce goes: a commit object laid out for two-level hashing.
//!
//! SHA-1 and SHA-256 work on blocks of 64 bytes. A template stretches the nonce with filler, so
//! that its row ends one block and its column ends at byte 55 of the next. Where nothing follows,
//! as with a nonce line at the message's end, that is the last block:
//!
//! ```text
//!               row block                            nonce block
//! ┌──────────────────────────────┬────────────┬────────────────────┬───────┬────┬──────────┐
//! │ … message, "Nonce: ", filler │ row digits │ filler             │column │0x80│bit length│
//! └──────────────────────────────┴────────────┴────────────────────┴───────┴────┴──────────┘
//!                                 54 … 63      0 … 51 (W0 … W12)    52…54   55   56 … 63
//! ```
//!
//! A nonce is a *row* (upper 49 bits, ten digits) and a *column* (lower 15 bits, three digits).
//! The row decides the state before the nonce block; the column is the upper three bytes of the
//! one word W13. Many rows are prepared at once, each carried through the rounds 0 … 12 that W13
//! does not reach; then every column's message schedule is computed once for all of them.
//! The filler comes from a seed, so that two miners of the same commit try different objects.
//!
//! In white space a digit is a bit: a row has 49 digits (bytes 15 … 63) and a column 15 (bytes
//! 40 … 54, in W10 … W13). What follows the nonce (the message, for a nonce in a header) fills the
//! nonce block up and makes more blocks, the *suffix*, whose schedules never change.

use crate::hash::{HashFunction, State};
use crate::nonce::{Alphabet, BLOCK, NONCE_END, Nonce};
use crate::object_id::ObjectId;
use crate::placement::Placement;

/// A commit object with room for a nonce, hashed as far as the nonce allows.
#[derive(Clone, Debug)]
pub struct CommitTemplate {
    /// Header and content, with the digits of nonce 0 in place.
    object: Vec<u8>,
    /// Length of the header `commit SIZE\0` in bytes.
    header: usize,
    /// Where in the object the column's digits end.
    nonce_end: usize,
    tail: Tail,
}

/// What kernels need of a template: the blocks from the row's on, and the state before them.
#[derive(Clone, Debug)]
pub struct Tail {
    hash: HashFunction,
    alphabet: Alphabet,
    before: State,
    row_block: [u8; BLOCK],
    nonce_block: [u8; BLOCK],
    suffix: Vec<[u32; 16]>,
}

impl CommitTemplate {
    /// Lays out a commit with filler digits drawn from `seed`.
    pub fn new(placement: &Placement, seed: u64) -> Self {
        let Placement {
            hash,
            before,
            alphabet,
            after,
        } = placement;
        let fixed = before.len() + after.len();
        // The header's length depends on the number of digits of the content's length, which skips
        // one length where it changes.
        let (header, digits) = (alphabet.length_min()..=alphabet.length_max())
            .map(|digits| (format!("commit {}\0", fixed + digits), digits))
            .find(|(header, digits)| (header.len() + before.len() + digits) % BLOCK == NONCE_END)
            .unwrap_or_else(|| unreachable!("of two blocks of lengths one fits"));

        let mut object = header.clone().into_bytes();
        object.extend_from_slice(before);
        object.extend(alphabet.filler(seed).take(digits));
        let nonce_end = object.len();
        object.extend_from_slice(after);
        write_nonce(&mut object[..nonce_end], *alphabet, Nonce(0));
        let tail = Tail::new(*hash, *alphabet, &object, nonce_end);
        Self {
            object,
            header: header.len(),
            nonce_end,
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
        let end = self.nonce_end - self.header;
        write_nonce(&mut content[..end], self.tail.alphabet, nonce);
        content
    }

    /// The id of [`Self::commit`], computed from the whole object by the `sha1` or `sha2` crate.
    pub fn id(&self, nonce: Nonce) -> ObjectId {
        ObjectId::of_with(self.tail.hash, "commit", &self.commit(nonce))
    }
}

/// Writes the digits into a text that ends with them.
fn write_nonce(text: &mut [u8], alphabet: Alphabet, nonce: Nonce) {
    let end = text.len();
    let row_end = end - NONCE_END;
    alphabet.write(
        &mut text[row_end - alphabet.row_digits()..row_end],
        nonce.row(),
    );
    let column = u64::from(nonce.column());
    alphabet.write(&mut text[end - alphabet.column_digits()..], column);
}

impl Tail {
    fn new(hash: HashFunction, alphabet: Alphabet, object: &[u8], nonce_end: usize) -> Self {
        let mut padded = object.to_vec();
        padded.push(0x80);
        let length = (padded.len() + 8).next_multiple_of(BLOCK) - 8;
        padded.resize(length, 0);
        padded.extend_from_slice(&(8 * object.len() as u64).to_be_bytes());

        let (blocks, _) = padded.as_chunks::<BLOCK>();
        let nonce_at = nonce_end / BLOCK;
        let mut before = hash.initial();
        hash.compress(&mut before, &blocks[..nonce_at - 1]);
        Self {
            hash,
            alphabet,
            before,
            row_block: blocks[nonce_at - 1],
            nonce_block: blocks[nonce_at],
            suffix: blocks[nonce_at + 1..].iter().map(words).collect(),
        }
    }

    /// Which function names the object.
    pub fn hash(&self) -> HashFunction {
        self.hash
    }

    /// Whether this is the layout of a nonce line at the end of a SHA-1 object, for which every
    /// kernel has its shortest loop.
    pub fn is_plain(&self) -> bool {
        let shape = (self.hash, self.alphabet);
        shape == (HashFunction::Sha1, Alphabet::Base32) && self.suffix.is_empty()
    }

    /// The state before the nonce block, for `row`.
    pub fn midstate(&self, row: u64) -> State {
        let mut block = self.row_block;
        let digits = self.alphabet.row_digits();
        self.alphabet.write(&mut block[BLOCK - digits..], row);
        let mut state = self.before;
        self.hash.compress(&mut state, &[block]);
        state
    }

    /// The state before the row's block, and that block with the digits of some row.
    #[cfg_attr(
        not(feature = "gpu"),
        expect(dead_code, reason = "a device prepares rows itself")
    )]
    pub(crate) fn before_row(&self) -> (State, [u32; 16]) {
        (self.before, words(&self.row_block))
    }

    /// The words of the nonce block for `column`, padding included.
    pub fn nonce_block(&self, column: u32) -> [u32; 16] {
        let mut block = self.nonce_block;
        let digits = self.alphabet.column_digits();
        let place = &mut block[NONCE_END - digits..NONCE_END];
        self.alphabet.write(place, u64::from(column));
        words(&block)
    }

    /// The blocks behind the nonce's, the last one's padding included.
    pub fn suffix(&self) -> &[[u32; 16]] {
        &self.suffix
    }
}

/// A block as words.
fn words(block: &[u8; BLOCK]) -> [u32; 16] {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonce::{COLUMNS, ROWS};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn placement(before: usize, after: usize, hash: HashFunction, alphabet: Alphabet) -> Placement {
        Placement {
            hash,
            before: vec![b'x'; before],
            alphabet,
            after: vec![b'y'; after],
        }
    }

    /// The id by way of midstate, nonce block and suffix, which is the way kernels go.
    fn id_by_tail(template: &CommitTemplate, nonce: Nonce) -> ObjectId {
        let tail = template.tail();
        let mut state = tail.midstate(nonce.row());
        let nonce_block = tail.nonce_block(nonce.column());
        for words in [nonce_block].iter().chain(tail.suffix()) {
            let mut block = [0; BLOCK];
            for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_be_bytes();
            }
            tail.hash.compress(&mut state, &[block]);
        }
        ObjectId::from_state(tail.hash, state)
    }

    #[test]
    fn every_length_is_laid_out() {
        // 0 … 1200 covers each remainder many times, and the step from three to four digits.
        for length in 0..1200 {
            for (alphabet, hash, after) in [
                (Alphabet::Base32, HashFunction::Sha1, 0),
                (Alphabet::Blank, HashFunction::Sha1, 0),
                (Alphabet::Base32, HashFunction::Sha256, length % 130),
                (Alphabet::Blank, HashFunction::Sha1, length % 131),
            ] {
                let placement = placement(length, after, hash, alphabet);
                let template = CommitTemplate::new(&placement, length as u64);
                let nonce = Nonce(0x0123_4567_89ab_cdef ^ length as u64);
                let content = template.commit(nonce);
                assert_eq!(template.id(nonce), id_by_tail(&template, nonce));
                assert!(content.starts_with(&placement.before));
                assert!(content.ends_with(&placement.after));
                let digits = &content[length..content.len() - after];
                assert!(alphabet.is_nonce(digits), "length {length}");
                let plain = (alphabet, hash, after) == (Alphabet::Base32, HashFunction::Sha1, 0);
                assert_eq!(template.tail().is_plain(), plain);
            }
        }
    }

    #[test]
    fn nonces_make_different_commits() {
        for alphabet in [Alphabet::Base32, Alphabet::Blank] {
            let placement = placement(200, 0, HashFunction::Sha1, alphabet);
            let template = CommitTemplate::new(&placement, 1);
            let row = |row: u64| {
                let columns = (0..COLUMNS).step_by(31);
                columns.map(move |column| Nonce::at(row, column))
            };
            let nonces: Vec<Nonce> = [0, 1, ROWS - 1].into_iter().flat_map(row).collect();
            let commits: HashSet<_> = nonces.iter().map(|&nonce| template.commit(nonce)).collect();
            assert_eq!(commits.len(), nonces.len());
        }
    }

    #[test]
    fn seeds_separate_miners() {
        let placement = placement(200, 0, HashFunction::Sha1, Alphabet::Base32);
        let one = CommitTemplate::new(&placement, 1);
        let two = CommitTemplate::new(&placement, 2);
        assert_ne!(one.commit(Nonce(0)), two.commit(Nonce(0)));
    }

    proptest! {
        #[test]
        fn the_way_of_kernels_leads_to_the_crates_id(
            before in 0usize..400, after in 0usize..400, seed: u64, nonce: u64,
            is_sha256: bool, is_blank: bool,
        ) {
            let hash = if is_sha256 { HashFunction::Sha256 } else { HashFunction::Sha1 };
            let alphabet = if is_blank { Alphabet::Blank } else { Alphabet::Base32 };
            let template = CommitTemplate::new(&placement(before, after, hash, alphabet), seed);
            prop_assert_eq!(template.id(Nonce(nonce)), id_by_tail(&template, Nonce(nonce)));
        }
    }
}
