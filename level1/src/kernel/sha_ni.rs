//! SHA-NI: four rounds to an instruction, several rows interleaved.
//!
//! The instruction's latency is several times the interval at which it can start, so that many
//! independent rows are in flight. As the schedule is computed once a column, nothing but
//! `sha1rnds4` and `sha1nexte` is left for each of the last 17 groups of four rounds.

#![allow(unsafe_code)]

use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;
use std::arch::x86_64::{
    _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
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
