//! AVX2: 8 rows to a vector, four vectors at a time.
//!
//! Sixteen registers cannot hold the variables of four groups, but the compiler keeps the rest on
//! the stack and reads them as operands of other instructions, which costs less than the waiting
//! times of two groups.
//!
//! A rotation takes three instructions here and the round functions two to four, so a hash takes
//! about twice as many instructions a lane as with AVX-512, and has half the lanes.

#![allow(unsafe_code)]

use super::lanes::{CHUNK_ROWS, LaneRows, lane_scanner};
use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRows, wide_scanner};
use crate::hash::HashFunction;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
    _mm256_loadu_si256, _mm256_min_epu32, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi32,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_xor_si256,
};

const WIDTH: usize = 8;

/// Exists only where the processor has AVX2.
pub(super) struct Avx2Scanner {
    rows: LaneRows,
}

impl Avx2Scanner {
    /// `None` without AVX2.
    pub fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then(|| Self {
            rows: LaneRows::default(),
        })
    }
}

impl ColumnScanner for Avx2Scanner {
    const ROWS: u64 = 1024;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.rows.pack(rows, last_block);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        // SAFETY: `new` made `self` only because the processor has AVX2.
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

/// [`super::lanes::round`] for sixteen registers: the sums grow one by one and the rotation comes
/// last, so that few values are alive at the same time.
macro_rules! round {
    ($f:ident, $keyed:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
        for g in 0..$a.len() {
            let function = $f($b[g], $c[g], $d[g]);
            let sum = add(add($e[g], $keyed), function);
            $b[g] = rotate_30($b[g]);
            $e[g] = add(sum, rotate_5($a[g]));
        }
    };
}

lane_scanner!(
    #[target_feature(enable = "avx2")]
    groups = 4
);
wide_scanner!(
    #[target_feature(enable = "avx2")]
    groups = 4
);

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[u32; CHUNK_ROWS], at: usize) -> __m256i {
    let lanes = &from[at..at + WIDTH];
    // SAFETY: `lanes` is 32 readable bytes; the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(x: __m256i, y: __m256i) -> __m256i {
    _mm256_add_epi32(x, y)
}

/// Vectors in memory are operands of an addition; words would have to be loaded first, into a
/// register that is not free.
#[inline]
#[target_feature(enable = "avx2")]
fn spread<const N: usize>(words: &[u32; N]) -> [__m256i; N] {
    let mut vectors = [splat(0); N];
    for (vector, &word) in vectors.iter_mut().zip(words) {
        *vector = splat(word);
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_5(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<5>(x), _mm256_srli_epi32::<27>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_30(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<30>(x), _mm256_srli_epi32::<2>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_right<const N: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<N>(x), _mm256_slli_epi32::<LEFT>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn parity(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(b, _mm256_xor_si256(c, d))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    // The two terms share no bits, so that either sum or exclusive or joins them.
    let both = _mm256_and_si256(c, d);
    _mm256_xor_si256(both, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn min(x: __m256i, y: __m256i) -> __m256i {
    _mm256_min_epu32(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
fn at_most(x: __m256i, bound: __m256i) -> u32 {
    let not_above = _mm256_cmpeq_epi32(min(x, bound), x);
    _mm256_movemask_ps(_mm256_castsi256_ps(not_above)) as u32
}
