//! The SHA extensions of ARMv8: four rounds of SHA-1 to an instruction, several rows interleaved
//! ([`super::streams`]).
//!
//! SHA-256 is left to its crate, which has the same instructions.

#![allow(unsafe_code)]

use super::rows::{K, Row};
use super::schedule::Column;
use super::streams::{self, PackedRow, stream_scanner};
use super::two_level::ColumnScanner;
use super::wide::{Rounds, WideColumn, WideRows, scan_with_crates};
use crate::hash::{HashFunction, State};
use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vgetq_lane_u32, vld1q_u32, vminq_u32, vsha1cq_u32, vsha1h_u32,
    vsha1mq_u32, vsha1pq_u32,
};
use std::arch::is_aarch64_feature_detected;

/// Rows in flight: two registers each.
const STREAMS: usize = 8;

/// Rows in flight in the loop for other shapes, which have more to remember.
const WIDE_STREAMS: usize = 4;

/// Exists only where the processor has the extensions.
pub(super) struct ShaArmv8Scanner {
    rows: Vec<[PackedRow; STREAMS]>,
}

impl ShaArmv8Scanner {
    /// `None` without the extensions.
    pub fn new() -> Option<Self> {
        // Rust's name for both, SHA-1's and SHA-256's.
        is_aarch64_feature_detected!("sha2").then(|| Self { rows: Vec::new() })
    }
}

impl ColumnScanner for ShaArmv8Scanner {
    const ROWS: u64 = 1200;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        streams::pack(&mut self.rows, rows, last_block, register);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        // SAFETY: `new` made `self` only because the processor has the extensions.
        unsafe { scan_column(&self.rows, column, span, hits) }
    }

    /// The instructions do four rounds at a time.
    fn first_round(_hash: HashFunction) -> usize {
        8
    }

    fn scan_wide(&self, rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
        match column.hash {
            // SAFETY: as above.
            HashFunction::Sha1 => unsafe { wide_sha1(rows, column, hits) },
            HashFunction::Sha256 => scan_with_crates(rows, column, hits),
        }
    }
}

stream_scanner!(#[target_feature(enable = "sha2")]);

fn register(words: [u32; 4]) -> [u32; 4] {
    words
}

fn message(keyed: u32, _key: u32) -> u32 {
    keyed
}

#[inline]
#[target_feature(enable = "sha2")]
fn load(words: &[u32; 4]) -> uint32x4_t {
    // SAFETY: `words` is 16 readable bytes.
    unsafe { vld1q_u32(words.as_ptr()) }
}

#[inline]
#[target_feature(enable = "sha2")]
fn first(abcd: uint32x4_t, e: uint32x4_t, message: uint32x4_t) -> uint32x4_t {
    vsha1cq_u32(abcd, a_of(e), message)
}

#[inline]
#[target_feature(enable = "sha2")]
fn four<const FUNCTION: u8>(
    abcd: uint32x4_t,
    earlier: uint32x4_t,
    message: uint32x4_t,
) -> uint32x4_t {
    let e = vsha1h_u32(a_of(earlier));
    match FUNCTION {
        0 => vsha1cq_u32(abcd, e, message),
        2 => vsha1mq_u32(abcd, e, message),
        _ => vsha1pq_u32(abcd, e, message),
    }
}

#[inline]
#[target_feature(enable = "sha2")]
fn add(x: uint32x4_t, y: uint32x4_t) -> uint32x4_t {
    vaddq_u32(x, y)
}

#[inline]
#[target_feature(enable = "sha2")]
fn min(x: uint32x4_t, y: uint32x4_t) -> uint32x4_t {
    vminq_u32(x, y)
}

#[inline]
#[target_feature(enable = "sha2")]
fn a_of(abcd: uint32x4_t) -> u32 {
    vgetq_lane_u32::<0>(abcd)
}
