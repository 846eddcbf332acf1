//! Two-level hashing in the lanes of a vector: the same rounds for many rows at once.
//!
//! [`LaneRows`] lays the rows out in structures of 64, one array for each value, so that a vector
//! of any width loads neighbouring rows. The macro `lane_scanner!` writes the inner loop out for
//! one instruction set, because functions for different instruction sets cannot be generic over
//! them: each must carry its own `target_feature`.

use super::rows::{K, Row, choose};

/// Rows in one [`Chunk`]: the widest vector (16 lanes) times four groups.
pub(super) const CHUNK_ROWS: usize = 64;

/// What the rounds from 13 on need of 64 rows. Names follow the variables of the round they help:
/// `a_n` is the variable `a` after `n` rounds.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Chunk {
    /// All of `a_14` but W13.
    pub round_13: [u32; CHUNK_ROWS],
    /// All of `a_15` but the rotated `a_14`.
    pub round_14: [u32; CHUNK_ROWS],
    /// `e` of round 15 with its constant and W15.
    pub round_15: [u32; CHUNK_ROWS],
    /// `a_13` rotated left by 30: `c` of round 15.
    pub c_15: [u32; CHUNK_ROWS],
    /// `a_12` rotated left by 30: `d` of round 15.
    pub d_15: [u32; CHUNK_ROWS],
    /// See [`Row::filter_offset`].
    pub filter_offset: [u32; CHUNK_ROWS],
}

/// Rows laid out for lanes. What is left over in the last chunk is zero.
#[derive(Default)]
pub(super) struct LaneRows {
    pub chunks: Vec<Chunk>,
}

impl LaneRows {
    pub fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.chunks.clear();
        for rows in rows.chunks(CHUNK_ROWS) {
            let zero = [0; CHUNK_ROWS];
            let mut chunk = Chunk {
                round_13: zero,
                round_14: zero,
                round_15: zero,
                c_15: zero,
                d_15: zero,
                filter_offset: zero,
            };
            for (lane, row) in rows.iter().enumerate() {
                chunk.set(lane, row, last_block);
            }
            self.chunks.push(chunk);
        }
    }
}

impl Chunk {
    fn set(&mut self, lane: usize, row: &Row, last_block: &[u32; 16]) {
        let [a, b, c, d, e] = super::rows::first_rounds_step(row.before_12, last_block[12]);
        let sum = |terms: [u32; 4]| terms.into_iter().fold(K[0], u32::wrapping_add);
        self.round_13[lane] = sum([a.rotate_left(5), choose(b, c, d), e, 0]);
        let b_14 = b.rotate_left(30);
        self.round_14[lane] = sum([choose(a, b_14, c), d, last_block[14], 0]);
        self.round_15[lane] = sum([c, last_block[15], 0, 0]);
        self.c_15[lane] = a.rotate_left(30);
        self.d_15[lane] = b_14;
        self.filter_offset[lane] = row.filter_offset;
    }
}

/// A round of SHA-1 for some vectors, with a word of [`spread`]. The caller permutes the names
/// instead of moving values.
macro_rules! round {
    ($f:ident, $keyed:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
        let keyed = splat($keyed);
        for g in 0..$a.len() {
            let mixed = add(rotate_5($a[g]), $f($b[g], $c[g], $d[g]));
            $e[g] = add(add($e[g], keyed), mixed);
            $b[g] = rotate_30($b[g]);
        }
    };
}
pub(super) use round;

/// A schedule as [`round`] takes it: where there are registers enough, as it is.
pub(super) fn spread<const N: usize>(words: &[u32; N]) -> &[u32; N] {
    words
}

/// Five rounds bring every name back to its place.
macro_rules! five_rounds {
    ($f:ident, $keyed:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
        round!($f, $keyed[0], $a, $b, $c, $d, $e);
        round!($f, $keyed[1], $e, $a, $b, $c, $d);
        round!($f, $keyed[2], $d, $e, $a, $b, $c);
        round!($f, $keyed[3], $c, $d, $e, $a, $b);
        round!($f, $keyed[4], $b, $c, $d, $e, $a);
    };
}
pub(super) use five_rounds;

/// Pushes the rows of a mask's lanes, of which the first is `row`.
pub(super) fn push_passed(mut passed: u32, row: usize, hits: &mut Vec<u32>) {
    while passed != 0 {
        hits.push(row as u32 + passed.trailing_zeros());
        passed &= passed - 1;
    }
}

/// Defines `scan_column(rows, column, span, hits)`: rounds 13 … 79 of one column for all rows, in
/// `$groups` independent vectors at a time, whose instructions fill one another's waiting times.
///
/// It expects in scope: `WIDTH` and the functions `load`, `splat`, `add`, `rotate_5`, `rotate_30`,
/// `choose`, `parity`, `majority`, `min` (of unsigned words), `at_most`, a bit mask of the lanes
/// that are no greater than the other argument's; and [`round`] and [`spread`], these or others that
/// suit the instruction set better.
macro_rules! lane_scanner {
    ($(#[$attribute:meta])* groups = $groups:literal) => {
        $(#[$attribute])*
        fn scan_column(
            rows: &$crate::kernel::lanes::LaneRows,
            column: &$crate::kernel::schedule::Column,
            span: u32,
            hits: &mut Vec<u32>,
        ) {
            use $crate::kernel::lanes::{CHUNK_ROWS, five_rounds, push_passed};
            const GROUPS: usize = $groups;
            let w13 = splat(column.block[13]);
            let span = splat(span);
            let keyed = spread(&column.keyed);
            let (first_four, rest) = keyed.split_at(4);
            let fives = rest.as_chunks::<5>().0;

            for (index, chunk) in rows.chunks.iter().enumerate() {
                for lane in (0..CHUNK_ROWS).step_by(WIDTH * GROUPS) {
                    let mut a = [splat(0); GROUPS];
                    let (mut b, mut c, mut d, mut e) = (a, a, a, a);
                    // Rounds 13 … 15 by what was prepared, then the variables before round 16.
                    for g in 0..GROUPS {
                        let at = lane + g * WIDTH;
                        let a_14 = add(load(&chunk.round_13, at), w13);
                        let a_15 = add(rotate_5(a_14), load(&chunk.round_14, at));
                        let (c_15, d_15) = (load(&chunk.c_15, at), load(&chunk.d_15, at));
                        let mixed = add(rotate_5(a_15), choose(a_14, c_15, d_15));
                        a[g] = add(mixed, load(&chunk.round_15, at));
                        b[g] = a_15;
                        c[g] = rotate_30(a_14);
                        d[g] = c_15;
                        e[g] = d_15;
                    }
                    round!(choose, first_four[0], a, b, c, d, e);
                    round!(choose, first_four[1], e, a, b, c, d);
                    round!(choose, first_four[2], d, e, a, b, c);
                    round!(choose, first_four[3], c, d, e, a, b);
                    // Here the variable `a` of the standard is in `b`, and so on.
                    for keyed in &fives[..4] {
                        five_rounds!(parity, keyed, b, c, d, e, a);
                    }
                    for keyed in &fives[4..8] {
                        five_rounds!(majority, keyed, b, c, d, e, a);
                    }
                    for keyed in &fives[8..11] {
                        five_rounds!(parity, keyed, b, c, d, e, a);
                    }
                    // Out of the loop, because the compiler then drops what only later rounds use.
                    five_rounds!(parity, fives[11], b, c, d, e, a);

                    for g in 0..GROUPS {
                        b[g] = add(b[g], load(&chunk.filter_offset, lane + g * WIDTH));
                    }
                    // One comparison for all groups; only a candidate costs more.
                    let least = b[1..].iter().fold(b[0], |least, &word| min(least, word));
                    if at_most(least, span) == 0 {
                        continue;
                    }
                    for (g, &words) in b.iter().enumerate() {
                        let at = lane + g * WIDTH;
                        push_passed(at_most(words, span), index * CHUNK_ROWS + at, hits);
                    }
                }
            }
        }
    };
}
pub(super) use lane_scanner;
