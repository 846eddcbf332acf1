//! The kernel that leaves the last block to the `sha1` crate.
//!
//! It is what benchmarks compare with, and the choice on processors for which the crate has
//! hardware code and this crate has none.

use super::rows::Row;
use super::schedule::Column;
use super::two_level::ColumnScanner;
use super::wide::{WideColumn, WideRows, scan_with_crates};
use sha1::block_api::compress;

#[derive(Default)]
pub(super) struct CrateScanner {
    rows: Vec<Row>,
}

impl ColumnScanner for CrateScanner {
    const ROWS: u64 = 512;

    fn pack(&mut self, rows: &[Row], _last_block: &[u32; 16]) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
    }

    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>) {
        let mut block = [0; 64];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(column.block) {
            *bytes = word.to_be_bytes();
        }
        for (index, row) in (0..).zip(&self.rows) {
            let mut state = row.midstate;
            compress(&mut state, &[block]);
            let without_midstate = state[0].wrapping_sub(row.midstate[0]);
            if without_midstate.wrapping_add(row.filter_offset) <= span {
                hits.push(index);
            }
        }
    }

    fn scan_wide(&self, rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
        scan_with_crates(rows, column, hits);
    }
}
