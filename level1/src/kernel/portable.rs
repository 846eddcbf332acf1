//! The kernel for any processor: the vector kernels' loop with one lane, in plain safe code.

use super::lanes::{CHUNK_ROWS, LaneRows, lane_scanner, round, spread};
use super::rows::{Row, choose};
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRows, wide_scanner};
use crate::hash::HashFunction;

/// One row at a time: compilers do not turn rounds over arrays into vector instructions.
const WIDTH: usize = 1;

#[derive(Default)]
pub(super) struct PortableScanner {
    rows: LaneRows,
}

impl ColumnScanner for PortableScanner {
    const ROWS: u64 = 1024;

    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]) {
        self.rows.pack(rows, last_block);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        scan_column(&self.rows, column, span, hits);
    }

    fn scan_wide(&self, rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
        match column.hash {
            HashFunction::Sha1 => wide_sha1(rows, column, hits),
            HashFunction::Sha256 => wide_sha256(rows, column, hits),
        }
    }
}

lane_scanner!(groups = 1);
wide_scanner!(groups = 1);

fn load(from: &[u32; CHUNK_ROWS], at: usize) -> u32 {
    from[at]
}

fn splat(word: u32) -> u32 {
    word
}

fn add(x: u32, y: u32) -> u32 {
    x.wrapping_add(y)
}

fn rotate_5(x: u32) -> u32 {
    x.rotate_left(5)
}

fn rotate_30(x: u32) -> u32 {
    x.rotate_left(30)
}

fn rotate_right<const N: u32, const LEFT: u32>(x: u32) -> u32 {
    x.rotate_right(N)
}

fn parity(b: u32, c: u32, d: u32) -> u32 {
    b ^ c ^ d
}

fn majority(b: u32, c: u32, d: u32) -> u32 {
    (b & c) ^ (d & (b ^ c))
}

fn min(x: u32, y: u32) -> u32 {
    x.min(y)
}

fn at_most(x: u32, bound: u32) -> u32 {
    u32::from(x <= bound)
}
