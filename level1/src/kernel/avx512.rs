//! AVX-512: 16 rows to a vector, four vectors at a time.
//!
//! Every function of a round is one instruction (ternary logic, rotation), and the 32 registers
//! hold the five variables of four groups with room to spare. A round takes six instructions:
//! three additions, one ternary logic, two rotations; a hash about 393 sixteenths.

#![allow(unsafe_code)]

use super::lanes::{CHUNK_ROWS, LaneRows, lane_scanner, round, spread};
use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRows, wide_scanner};
use crate::hash::HashFunction;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_cmple_epu32_mask, _mm512_loadu_si512, _mm512_min_epu32,
    _mm512_rol_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_ternarylogic_epi32,
};

const WIDTH: usize = 16;

/// Exists only where the processor has AVX-512F.
pub(super) struct Avx512Scanner {
    rows: LaneRows,
}

impl Avx512Scanner {
    /// `None` without AVX-512F.
    pub fn new() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then(|| Self {
            rows: LaneRows::default(),
        })
    }
}

impl ColumnScanner for Avx512Scanner {
    const ROWS: u64 = 1536;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.rows.pack(rows, last_block);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        // SAFETY: `new` made `self` only because the processor has AVX-512F.
        unsafe { scan_column(&self.rows, column, span, hits) }
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

lane_scanner!(
    #[target_feature(enable = "avx512f")]
    groups = 4
);
wide_scanner!(
    #[target_feature(enable = "avx512f")]
    groups = 4
);

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u32; CHUNK_ROWS], at: usize) -> __m512i {
    let lanes = &from[at..at + WIDTH];
    // SAFETY: `lanes` is 64 readable bytes; the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_5(x: __m512i) -> __m512i {
    _mm512_rol_epi32::<5>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_30(x: __m512i) -> __m512i {
    _mm512_rol_epi32::<30>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_right<const N: i32, const LEFT: i32>(x: __m512i) -> __m512i {
    _mm512_ror_epi32::<N>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn parity(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn min(x: __m512i, y: __m512i) -> __m512i {
    _mm512_min_epu32(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn at_most(x: __m512i, bound: __m512i) -> u32 {
    u32::from(_mm512_cmple_epu32_mask(x, bound))
}
