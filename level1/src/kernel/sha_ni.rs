//! SHA-NI: four rounds to an instruction, several rows interleaved.
//!
//! The instruction's latency is several times the interval at which it can start, so that many
//! independent rows are in flight. As the schedule is computed once a column, nothing but
//! `sha1rnds4` and `sha1nexte` is left for each of the last 17 groups of four rounds.

#![allow(unsafe_code)]

use super::rows::{K, Row};
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRow, WideRows};
use crate::hash::HashFunction;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_sha1nexte_epu32,
    _mm_sha1rnds4_epu32, _mm_sha256rnds2_epu32,
};

/// Rows in flight: two registers each, and one for the message.
const STREAMS: usize = 6;

/// A row as the instructions take it.
#[derive(Clone, Copy, Default)]
struct PackedRow {
    /// The variables a … d before round 12.
    abcd: [u32; 4],
    /// The variable e of round 12 with W12.
    e: u32,
    /// See [`Row::filter_offset`].
    filter_offset: u32,
}

/// Exists only where the processor has SHA-NI and SSE4.1.
pub(super) struct ShaNiScanner {
    rows: Vec<[PackedRow; STREAMS]>,
}

impl ShaNiScanner {
    /// `None` without the instructions.
    pub fn new() -> Option<Self> {
        let supported = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        supported.then(|| Self { rows: Vec::new() })
    }
}

impl ColumnScanner for ShaNiScanner {
    const ROWS: u64 = 1200;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.rows.clear();
        for rows in rows.chunks(STREAMS) {
            let mut packed = [PackedRow::default(); STREAMS];
            for (packed, row) in packed.iter_mut().zip(rows) {
                let [a, b, c, d, e] = row.before_12;
                packed.abcd = [a, b, c, d];
                packed.e = e.wrapping_add(last_block[12]);
                packed.filter_offset = row.filter_offset;
            }
            self.rows.push(packed);
        }
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        // SAFETY: `new` made `self` only because the processor has SHA-NI and SSE4.1.
        unsafe { scan_column(&self.rows, column, span, hits) }
    }

    /// The instructions do four rounds at a time.
    fn first_round(_hash: HashFunction) -> usize {
        8
    }

    fn scan_wide(&self, rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
        // SAFETY: as above.
        unsafe {
            match column.hash {
                HashFunction::Sha1 => wide_sha1(rows, column, hits),
                HashFunction::Sha256 => wide_sha256(rows, column, hits),
            }
        }
    }
}

#[target_feature(enable = "sha,sse4.1")]
fn scan_column(rows: &[[PackedRow; STREAMS]], column: &Column, span: u32, hits: &mut Vec<u32>) {
    // Words go into a register with the earliest on top.
    let words = |w: [u32; 4]| _mm_set_epi32(w[0] as i32, w[1] as i32, w[2] as i32, w[3] as i32);
    let [w13, w14, w15] = [column.block[13], column.block[14], column.block[15]];
    let group_12 = words([0, w13, w14, w15]);
    let mut groups = [group_12; 16];
    for (group, chunk) in groups.iter_mut().zip(column.expanded.as_chunks::<4>().0) {
        *group = words(*chunk);
    }

    for (index, rows) in rows.iter().enumerate() {
        let mut abcd = [group_12; STREAMS];
        let mut earlier = abcd;
        for s in 0..STREAMS {
            let row = &rows[s];
            let before = words(row.abcd);
            let message = _mm_add_epi32(_mm_set_epi32(row.e as i32, 0, 0, 0), group_12);
            earlier[s] = before;
            abcd[s] = _mm_sha1rnds4_epu32::<0>(before, message);
        }
        // Four rounds for all streams; the variable e comes from the state four rounds earlier.
        macro_rules! four_rounds {
            ($function:literal, $groups:expr) => {
                for group in $groups {
                    for s in 0..STREAMS {
                        let message = _mm_sha1nexte_epu32(earlier[s], *group);
                        earlier[s] = abcd[s];
                        abcd[s] = _mm_sha1rnds4_epu32::<$function>(abcd[s], message);
                    }
                }
            };
        }
        four_rounds!(0, &groups[..1]);
        four_rounds!(1, &groups[1..6]);
        four_rounds!(2, &groups[6..11]);
        four_rounds!(3, &groups[11..]);
        for s in 0..STREAMS {
            let a = _mm_extract_epi32::<3>(abcd[s]) as u32;
            if a.wrapping_add(rows[s].filter_offset) <= span {
                hits.push((index * STREAMS + s) as u32);
            }
        }
    }
}

/// Rows in flight in the loops for other shapes.
const WIDE_STREAMS: usize = 4;

#[target_feature(enable = "sha,sse4.1")]
fn wide_sha1(rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
    let reversed = |w: &[u32]| _mm_set_epi32(w[0] as i32, w[1] as i32, w[2] as i32, w[3] as i32);
    // The instructions add the constants themselves.
    let groups = |rounds: &[u32; 80]| -> [__m128i; 20] {
        std::array::from_fn(|group| {
            let key = K[group / 5];
            let words: [u32; 4] =
                std::array::from_fn(|at| rounds[4 * group + at].wrapping_sub(key));
            reversed(&words)
        })
    };
    let nonce = groups(&column.nonce.0);
    let suffix: Vec<[__m128i; 20]> = column.suffix.iter().map(|block| groups(&block.0)).collect();
    for (index, rows) in rows.rows.chunks(WIDE_STREAMS).enumerate() {
        let row = |s: usize| -> &WideRow { &rows[s.min(rows.len() - 1)] };
        let mut state: [__m128i; WIDE_STREAMS] =
            std::array::from_fn(|s| reversed(&row(s).midstate[..4]));
        let mut state_e: [u32; WIDE_STREAMS] = std::array::from_fn(|s| row(s).midstate[4]);
        let mut abcd: [__m128i; WIDE_STREAMS] =
            std::array::from_fn(|s| reversed(&row(s).before[..4]));
        let mut e: [__m128i; WIDE_STREAMS] =
            std::array::from_fn(|s| _mm_set_epi32(row(s).before[4] as i32, 0, 0, 0));
        let (mut block, mut first, mut left) = (&nonce, 2, suffix.iter());
        loop {
            // The first group takes the variable e as it is; later ones rotate an earlier a.
            let mut earlier = abcd;
            for s in 0..WIDE_STREAMS {
                let message = _mm_add_epi32(e[s], block[first]);
                abcd[s] = _mm_sha1rnds4_epu32::<0>(abcd[s], message);
            }
            macro_rules! four_rounds {
                ($function:literal, $groups:expr) => {
                    for group in $groups {
                        for s in 0..WIDE_STREAMS {
                            let message = _mm_sha1nexte_epu32(earlier[s], *group);
                            earlier[s] = abcd[s];
                            abcd[s] = _mm_sha1rnds4_epu32::<$function>(abcd[s], message);
                        }
                    }
                };
            }
            four_rounds!(0, &block[first + 1..5]);
            four_rounds!(1, &block[5..10]);
            four_rounds!(2, &block[10..15]);
            four_rounds!(3, &block[15..]);
            for s in 0..WIDE_STREAMS {
                // The last e is an a of four rounds before, rotated.
                let last_e = (_mm_extract_epi32::<3>(earlier[s]) as u32).rotate_left(30);
                abcd[s] = _mm_add_epi32(abcd[s], state[s]);
                state[s] = abcd[s];
                state_e[s] = state_e[s].wrapping_add(last_e);
                e[s] = _mm_set_epi32(state_e[s] as i32, 0, 0, 0);
            }
            let Some(next) = left.next() else { break };
            (block, first) = (next, 0);
        }
        for (s, abcd) in abcd.iter().enumerate().take(rows.len()) {
            let a = _mm_extract_epi32::<3>(*abcd) as u32;
            if a.wrapping_sub(column.base) <= column.span {
                hits.push((index * WIDE_STREAMS + s) as u32);
            }
        }
    }
}

#[target_feature(enable = "sha,sse4.1")]
fn wide_sha256(rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
    // The instructions want the variables as a, b, e, f and c, d, g, h, the first on top; and two
    // message words, the earlier one below.
    let abef = |v: &[u32; 8]| _mm_set_epi32(v[0] as i32, v[1] as i32, v[4] as i32, v[5] as i32);
    let cdgh = |v: &[u32; 8]| _mm_set_epi32(v[2] as i32, v[3] as i32, v[6] as i32, v[7] as i32);
    let pairs = |rounds: &[u32; 80]| -> [__m128i; 32] {
        std::array::from_fn(|pair| {
            _mm_set_epi32(0, 0, rounds[2 * pair + 1] as i32, rounds[2 * pair] as i32)
        })
    };
    let nonce = pairs(&column.nonce.0);
    let suffix: Vec<[__m128i; 32]> = column.suffix.iter().map(|block| pairs(&block.0)).collect();
    for (index, rows) in rows.rows.chunks(WIDE_STREAMS).enumerate() {
        let row = |s: usize| -> &WideRow { &rows[s.min(rows.len() - 1)] };
        let mut state: [[__m128i; 2]; WIDE_STREAMS] = std::array::from_fn(|s| {
            let midstate = &row(s).midstate;
            [abef(midstate), cdgh(midstate)]
        });
        let mut x: [__m128i; WIDE_STREAMS] = std::array::from_fn(|s| abef(&row(s).before));
        let mut y: [__m128i; WIDE_STREAMS] = std::array::from_fn(|s| cdgh(&row(s).before));
        let (mut block, mut left) = (&nonce[4..], suffix.iter());
        loop {
            // Two instructions bring every name back to its place.
            for pair in block.as_chunks::<2>().0 {
                for s in 0..WIDE_STREAMS {
                    y[s] = _mm_sha256rnds2_epu32(y[s], x[s], pair[0]);
                }
                for s in 0..WIDE_STREAMS {
                    x[s] = _mm_sha256rnds2_epu32(x[s], y[s], pair[1]);
                }
            }
            for s in 0..WIDE_STREAMS {
                x[s] = _mm_add_epi32(x[s], state[s][0]);
                y[s] = _mm_add_epi32(y[s], state[s][1]);
                state[s] = [x[s], y[s]];
            }
            let Some(next) = left.next() else { break };
            block = &next[..];
        }
        for (s, x) in x.iter().enumerate().take(rows.len()) {
            let a = _mm_extract_epi32::<3>(*x) as u32;
            if a.wrapping_sub(column.base) <= column.span {
                hits.push((index * WIDE_STREAMS + s) as u32);
            }
        }
    }
}
