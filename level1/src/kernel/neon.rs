//! NEON: 4 rows to a vector, four vectors at a time.
//!
//! The 32 registers hold the five variables of four groups. A rotation takes two instructions (a
//! shift, and a shift that inserts), the choice between two words one, a majority two.

#![allow(unsafe_code)]

use super::lanes::{CHUNK_ROWS, LaneRows, lane_scanner, round, spread};
use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRows, wide_scanner};
use crate::hash::HashFunction;
use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vaddvq_u32, vandq_u32, vbslq_u32, vcleq_u32, vdupq_n_u32, veorq_u32,
    vld1q_u32, vminq_u32, vshlq_n_u32, vsriq_n_u32,
};
use std::arch::is_aarch64_feature_detected;

const WIDTH: usize = 4;

/// Exists only where the processor has NEON.
pub(super) struct NeonScanner {
    rows: LaneRows,
}

impl NeonScanner {
    /// `None` without NEON.
    pub fn new() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then(|| Self {
            rows: LaneRows::default(),
        })
    }
}

impl ColumnScanner for NeonScanner {
    const ROWS: u64 = 1024;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.rows.pack(rows, last_block);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        // SAFETY: `new` made `self` only because the processor has NEON.
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
    #[target_feature(enable = "neon")]
    groups = 4
);
wide_scanner!(
    #[target_feature(enable = "neon")]
    groups = 4
);

#[inline]
#[target_feature(enable = "neon")]
fn load(from: &[u32; CHUNK_ROWS], at: usize) -> uint32x4_t {
    let lanes = &from[at..at + WIDTH];
    // SAFETY: `lanes` is 16 readable bytes.
    unsafe { vld1q_u32(lanes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn splat(word: u32) -> uint32x4_t {
    vdupq_n_u32(word)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(x: uint32x4_t, y: uint32x4_t) -> uint32x4_t {
    vaddq_u32(x, y)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate_5(x: uint32x4_t) -> uint32x4_t {
    rotate_right::<27, 5>(x)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate_30(x: uint32x4_t) -> uint32x4_t {
    rotate_right::<2, 30>(x)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate_right<const N: i32, const LEFT: i32>(x: uint32x4_t) -> uint32x4_t {
    vsriq_n_u32::<N>(vshlq_n_u32::<LEFT>(x), x)
}

#[inline]
#[target_feature(enable = "neon")]
fn choose(b: uint32x4_t, c: uint32x4_t, d: uint32x4_t) -> uint32x4_t {
    vbslq_u32(b, c, d)
}

#[inline]
#[target_feature(enable = "neon")]
fn parity(b: uint32x4_t, c: uint32x4_t, d: uint32x4_t) -> uint32x4_t {
    veorq_u32(b, veorq_u32(c, d))
}

#[inline]
#[target_feature(enable = "neon")]
fn majority(b: uint32x4_t, c: uint32x4_t, d: uint32x4_t) -> uint32x4_t {
    // Where two differ, the third decides.
    vbslq_u32(veorq_u32(b, c), d, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn min(x: uint32x4_t, y: uint32x4_t) -> uint32x4_t {
    vminq_u32(x, y)
}

#[inline]
#[target_feature(enable = "neon")]
fn at_most(x: uint32x4_t, bound: uint32x4_t) -> u32 {
    const BITS: [u32; WIDTH] = [1, 2, 4, 8];
    // SAFETY: `BITS` is 16 readable bytes.
    let bits = unsafe { vld1q_u32(BITS.as_ptr()) };
    vaddvq_u32(vandq_u32(vcleq_u32(x, bound), bits))
}
