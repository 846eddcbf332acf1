//! A row's share of the work: its midstate, carried through the rounds no column reaches.
//!
//! The column's digits are in W13, so rounds 0 … 12 of the last block depend on the row alone.

use crate::target::Filter;
use crate::template::Tail;

/// SHA-1's four round constants (RFC 3174, section 5), each for 20 rounds.
pub(super) const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// What all columns of a row share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The state before the last block.
    pub midstate: [u32; 5],
    /// The variables a … e before round 12 of the last block.
    pub before_12: [u32; 5],
    /// The midstate's first word less the filter's base: added to the last `a`, it gives what the
    /// filter compares with its span.
    pub filter_offset: u32,
}

impl Row {
    pub fn new(tail: &Tail, row: u64, filter: Filter) -> Self {
        let state = tail.midstate(row);
        let midstate = [state[0], state[1], state[2], state[3], state[4]];
        let before_12 = tail.nonce_block(0)[..12]
            .iter()
            .copied()
            .fold(midstate, first_rounds_step);
        Self {
            midstate,
            before_12,
            filter_offset: midstate[0].wrapping_sub(filter.base),
        }
    }
}

/// One of the rounds 0 … 19 with message word `word`.
pub(super) fn first_rounds_step([a, b, c, d, e]: [u32; 5], word: u32) -> [u32; 5] {
    let next = a
        .rotate_left(5)
        .wrapping_add(choose(b, c, d))
        .wrapping_add(e)
        .wrapping_add(K[0])
        .wrapping_add(word);
    [next, a, b.rotate_left(30), c, d]
}

/// `f` of the rounds 0 … 19: the bits of `c` where `b` is set, else those of `d`.
pub(super) fn choose(b: u32, c: u32, d: u32) -> u32 {
    d ^ (b & (c ^ d))
}
