//! The message schedule of the last block, column by column.
//!
//! The schedule (RFC 3174, section 6.1, step b) is linear over the bits of the sixteen words: the
//! schedule of a sum (exclusive or) is the sum of the schedules. So the share of each digit in
//! each place is tabulated once, and a column's schedule is the fixed words' share plus three
//! table entries. Neighbouring columns differ in their last digit only.

use super::rows::K;
use crate::template::Tail;

/// The words of rounds 16 … 79.
pub(super) type Expanded = [u32; 64];

/// A column's message words.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// W0 … W15.
    pub block: [u32; 16],
    /// W16 … W79.
    pub expanded: Expanded,
    /// W16 … W79, each with the round's constant added.
    pub keyed: Expanded,
}

/// Makes the schedules of one work's columns.
pub(super) struct Schedule {
    /// What a digit in a place changes in W13, against the first digit.
    digits: [[u32; 32]; 3],
    /// What that changes in the words behind the block's.
    shares: Vec<[Expanded; 32]>,
    block: [u32; 16],
    /// Share of everything but the column's digits.
    fixed: Expanded,
    /// The column's upper digits for which `upper` holds, and their share with `fixed`.
    upper_digits: Option<u32>,
    upper: Expanded,
}

impl Schedule {
    pub fn new(tail: &Tail) -> Self {
        let block = tail.nonce_block(0);
        let mut digits = [[0; 32]; 3];
        let mut shares = vec![[[0; 64]; 32]; 3];
        for (place, entries) in shares.iter_mut().enumerate() {
            for (digit, entry) in entries.iter_mut().enumerate() {
                let shift = 5 * (2 - place);
                // Against the first digit's word, the other two places cancel out.
                let mut only = [0; 16];
                only[13] = tail.nonce_block((digit << shift) as u32)[13] ^ block[13];
                digits[place][digit] = only[13];
                *entry = expand(&only);
            }
        }
        let fixed = expand(&block);
        Self {
            digits,
            shares,
            block,
            fixed,
            upper_digits: None,
            upper: fixed,
        }
    }

    pub fn column(&mut self, column: u32) -> Column {
        let upper_digits = column >> 5;
        if self.upper_digits != Some(upper_digits) {
            let first = &self.shares[0][upper_digits as usize >> 5];
            let second = &self.shares[1][upper_digits as usize & 31];
            for t in 0..64 {
                self.upper[t] = self.fixed[t] ^ first[t] ^ second[t];
            }
            self.upper_digits = Some(upper_digits);
        }
        let last = &self.shares[2][column as usize & 31];
        let mut made = Column {
            block: self.block,
            expanded: [0; 64],
            keyed: [0; 64],
        };
        made.block[13] ^= self.digits[0][upper_digits as usize >> 5]
            ^ self.digits[1][upper_digits as usize & 31]
            ^ self.digits[2][column as usize & 31];
        for t in 0..64 {
            made.expanded[t] = self.upper[t] ^ last[t];
            made.keyed[t] = made.expanded[t].wrapping_add(KEYS[t]);
        }
        made
    }
}

/// The constants of rounds 16 … 79.
const KEYS: Expanded = {
    let mut keys = [0; 64];
    let mut t = 0;
    while t < 64 {
        keys[t] = K[(t + 16) / 20];
        t += 1;
    }
    keys
};

fn expand(block: &[u32; 16]) -> Expanded {
    let mut words = [0; 80];
    words[..16].copy_from_slice(block);
    for t in 16..80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
    }
    let mut expanded = [0; 64];
    expanded.copy_from_slice(&words[16..]);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashFunction;
    use crate::nonce::{Alphabet, COLUMNS};
    use crate::placement::Placement;
    use crate::template::CommitTemplate;

    #[test]
    fn shares_add_up_to_the_schedule() {
        let placement = Placement {
            hash: HashFunction::Sha1,
            before: b"tree\n\nTitle\n".to_vec(),
            alphabet: Alphabet::Base32,
            after: Vec::new(),
        };
        let template = CommitTemplate::new(&placement, 3);
        let mut schedule = Schedule::new(template.tail());
        // A stride that is no power of two visits every digit in every place, in jumps.
        for column in (0..COLUMNS).step_by(37).chain([0, COLUMNS - 1]) {
            let block = template.tail().nonce_block(column);
            let made = schedule.column(column);
            assert_eq!(made.block, block);
            assert_eq!(made.expanded, expand(&block), "column {column}");
        }
    }
}
