//! SHA-NI: four rounds of SHA-1 to an instruction, several rows interleaved ([`super::streams`]);
//! two rounds of SHA-256.
//!
//! The instructions add the rounds' constants themselves, and want the first word on top.

#![allow(unsafe_code)]

use super::rows::{K, Row};
use super::schedule::Column;
use super::streams::{self, PackedRow, stream_scanner};
use super::two_level::ColumnScanner;
use super::wide::{Rounds, WideColumn, WideRow, WideRows};
use crate::hash::{HashFunction, State};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_loadu_si128, _mm_min_epu32, _mm_set_epi32,
    _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_sha256rnds2_epu32,
};

/// Rows in flight. Two registers each is more than there are; what is read from the stack instead
/// costs less than instructions that wait.
const STREAMS: usize = 8;

/// Rows in flight in the loops for other shapes.
const WIDE_STREAMS: usize = 4;

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
        streams::pack(&mut self.rows, rows, last_block, register);
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

stream_scanner!(#[target_feature(enable = "sha,sse4.1")]);

fn register([first, second, third, fourth]: [u32; 4]) -> [u32; 4] {
    [fourth, third, second, first]
}

fn message(keyed: u32, key: u32) -> u32 {
    keyed.wrapping_sub(key)
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn load(words: &[u32; 4]) -> __m128i {
    // SAFETY: `words` is 16 readable bytes; the instruction asks for no alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn first(abcd: __m128i, e: __m128i, message: __m128i) -> __m128i {
    _mm_sha1rnds4_epu32::<0>(abcd, _mm_add_epi32(e, message))
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn four<const FUNCTION: i32>(abcd: __m128i, earlier: __m128i, message: __m128i) -> __m128i {
    _mm_sha1rnds4_epu32::<FUNCTION>(abcd, _mm_sha1nexte_epu32(earlier, message))
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn add(x: __m128i, y: __m128i) -> __m128i {
    _mm_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn min(x: __m128i, y: __m128i) -> __m128i {
    _mm_min_epu32(x, y)
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn a_of(abcd: __m128i) -> u32 {
    _mm_extract_epi32::<3>(abcd) as u32
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
