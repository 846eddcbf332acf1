//! A plain search for a coin, for the bots: one thread, the `sha1` crate, nothing clever.
//!
//! It shares no code with the miner that the game judges. The nonce is 16 hex digits in a block
//! of its own at the message's end; everything before it is hashed once.

use sha1::block_api::compress;

use super::{difficulty::Difficulty, object::ObjectId};

/// The hash's state before the first block (FIPS 180-4, 5.3.1).
const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// SHA-1's block size in bytes.
const BLOCK: usize = 64;

/// The nonce's length in hex digits.
const NONCE: usize = 16;

/// A search for a commit with a small id.
#[derive(Debug, Clone)]
pub struct Search {
    /// The commit's content up to the nonce.
    before: Vec<u8>,
    midstate: [u32; 5],
    /// The last block: nonce, newline, padding.
    last: [u8; BLOCK],
}

impl Search {
    /// A search for a successor of `parent`; `person` is `Name <mail> SECONDS +0000`.
    pub fn new(tree: ObjectId, parent: ObjectId, person: &str, first_nonce: u64) -> Self {
        let mut text = format!(
            "tree {tree}\nparent {parent}\nauthor {person}\ncommitter {person}\n\n\
             Mine a gitcoin\n\n"
        );
        // Fill up so that the nonce begins a block; the size's digits count too.
        let header = loop {
            let header = format!("commit {}\0", text.len() + NONCE + 1);
            if (header.len() + text.len()).is_multiple_of(BLOCK) {
                break header;
            }
            text.push('.');
        };
        let hashed = [header.as_bytes(), text.as_bytes()].concat();
        let (blocks, _) = hashed.as_chunks::<BLOCK>();
        let mut midstate = INITIAL;
        compress(&mut midstate, blocks);
        let mut last = [0; BLOCK];
        last[..NONCE].copy_from_slice(format!("{first_nonce:016x}").as_bytes());
        last[NONCE] = b'\n';
        last[NONCE + 1] = 0x80;
        let bits = 8 * (hashed.len() + NONCE + 1) as u64;
        last[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        Self {
            before: text.into_bytes(),
            midstate,
            last,
        }
    }

    /// Tries this many nonces; returns the content of the first commit that is a coin.
    pub fn run(&mut self, difficulty: &Difficulty, nonces: u64) -> Option<Vec<u8>> {
        let first_word_max = difficulty.first_word_max();
        for _ in 0..nonces {
            let mut state = self.midstate;
            compress(&mut state, std::slice::from_ref(&self.last));
            let found = (state[0] <= first_word_max).then(|| self.content());
            increment(&mut self.last[..NONCE]);
            if let Some(content) = found
                && difficulty.accepts(&ObjectId::of("commit", &content))
            {
                return Some(content);
            }
        }
        None
    }

    /// The commit's content with the current nonce.
    fn content(&self) -> Vec<u8> {
        [&self.before, &self.last[..=NONCE]].concat()
    }
}

/// The next number in lower-case hex digits; after the largest comes zero.
fn increment(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = match *digit {
            b'9' => b'a',
            b'f' => b'0',
            other => other + 1,
        };
        if *digit != b'0' {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level1::object::Commit;

    fn search(name: &str) -> Search {
        let (tree, parent) = (ObjectId::of("tree", b""), ObjectId::of("commit", b""));
        Search::new(tree, parent, &format!("{name} <m> 1700000000 +0000"), 0xfff)
    }

    #[test]
    fn a_find_has_the_promised_id_whatever_the_lengths() {
        let difficulty: Difficulty = "01".parse().unwrap();
        for length in 1..140 {
            let mut search = search(&"x".repeat(length));
            let content = search.run(&difficulty, 1 << 20).unwrap();
            assert!(difficulty.accepts(&ObjectId::of("commit", &content)));
            assert!(Commit::parse(&content).is_ok());
        }
    }

    #[test]
    fn no_nonce_is_skipped() {
        // The slow way, with the difficulty's own comparison.
        let difficulty: Difficulty = "08".parse().unwrap();
        let mut fast = search("a");
        let mut slow = fast.clone();
        let expected = loop {
            let content = slow.content();
            if difficulty.accepts(&ObjectId::of("commit", &content)) {
                break content;
            }
            increment(&mut slow.last[..NONCE]);
        };
        assert_eq!(fast.run(&difficulty, 1 << 20), Some(expected));
    }

    #[test]
    fn hex_digits_carry() {
        let next = |digits: &str| {
            let mut digits = digits.as_bytes().to_vec();
            increment(&mut digits);
            String::from_utf8(digits).unwrap()
        };
        assert_eq!(next("0009"), "000a");
        assert_eq!(next("00ff"), "0100");
        assert_eq!(next("ffff"), "0000");
    }
}
