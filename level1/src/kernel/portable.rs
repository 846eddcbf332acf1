//! The kernel for any processor: lanes in plain arrays, which the compiler turns into whatever
//! vector instructions the target is sure to have.

use super::lanes::{CHUNK_ROWS, LaneRows, lane_scanner};
use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;

const WIDTH: usize = 4;
type Lanes = [u32; WIDTH];

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
}

lane_scanner!(groups = 2);

#[inline(always)]
fn load(from: &[u32; CHUNK_ROWS], at: usize) -> Lanes {
    std::array::from_fn(|lane| from[at + lane])
}

#[inline(always)]
fn splat(word: u32) -> Lanes {
    [word; WIDTH]
}

#[inline(always)]
fn add(x: Lanes, y: Lanes) -> Lanes {
    std::array::from_fn(|lane| x[lane].wrapping_add(y[lane]))
}

#[inline(always)]
fn rotate_5(x: Lanes) -> Lanes {
    x.map(|word| word.rotate_left(5))
}

#[inline(always)]
fn rotate_30(x: Lanes) -> Lanes {
    x.map(|word| word.rotate_left(30))
}

#[inline(always)]
fn choose(b: Lanes, c: Lanes, d: Lanes) -> Lanes {
    std::array::from_fn(|lane| d[lane] ^ (b[lane] & (c[lane] ^ d[lane])))
}

#[inline(always)]
fn parity(b: Lanes, c: Lanes, d: Lanes) -> Lanes {
    std::array::from_fn(|lane| b[lane] ^ c[lane] ^ d[lane])
}

#[inline(always)]
fn majority(b: Lanes, c: Lanes, d: Lanes) -> Lanes {
    std::array::from_fn(|lane| (b[lane] & c[lane]) ^ (d[lane] & (b[lane] ^ c[lane])))
}

#[inline(always)]
fn at_most(x: Lanes, bound: Lanes) -> u32 {
    (0..WIDTH).fold(0, |mask, lane| mask | u32::from(x[lane] <= bound[lane]) << lane)
}
