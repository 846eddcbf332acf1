//! The walk over a batch that all processor kernels share.
//!
//! Rows are prepared once for the batch; then, column by column, the message schedule is computed
//! once and a [`ColumnScanner`] runs the remaining rounds for all rows. What varies between
//! instruction sets is that inner part and how it likes its rows laid out.

use super::rows::Row;
use super::schedule::{Column, Schedule};
use super::wide::{self, WideColumn, WideRows};
use super::{Batch, Kernel, Sink, Work};
use crate::hash::HashFunction;
use crate::nonce::Nonce;
use std::ops::ControlFlow;

/// One instruction set's inner loop.
pub(super) trait ColumnScanner: Send {
    /// How many rows to prepare at once: many, so that a column's schedule costs little beside
    /// them, but no more than the nearest cache holds.
    const ROWS: u64;

    /// Lays the rows out for scanning. `last_block` is the last block with any column's W13.
    fn pack(&mut self, rows: &[Row], last_block: &[u32; 16]);

    /// Hashes one column for all rows packed, and pushes the index of each row where the first
    /// word of the id, less the filter's base, is at most `span`. An index past the packed rows
    /// may appear too (lanes that were left over); the caller drops it.
    fn scan_column(&self, column: &Column, span: u32, hits: &mut Vec<u32>);

    /// The first round that [`Self::scan_wide`] does: no digit of a column stands in the words of
    /// earlier ones.
    fn first_round(hash: HashFunction) -> usize {
        match hash {
            HashFunction::Sha1 => 10,
            HashFunction::Sha256 => 8,
        }
    }

    /// The same for a commit of another shape: see [`wide`].
    fn scan_wide(&self, rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>);
}

/// A kernel made of a column scanner.
pub(super) struct TwoLevel<S> {
    scanner: S,
    rows: Vec<Row>,
    wide_rows: WideRows,
    hits: Vec<u32>,
}

impl<S: ColumnScanner> TwoLevel<S> {
    pub fn new(scanner: S) -> Self {
        Self {
            scanner,
            rows: Vec::new(),
            wide_rows: WideRows::default(),
            hits: Vec::new(),
        }
    }
}

impl<S: ColumnScanner> Kernel for TwoLevel<S> {
    fn rows_per_batch(&self) -> u64 {
        S::ROWS
    }

    fn scan(&mut self, work: &Work, batch: &Batch, sink: &mut dyn Sink) -> ControlFlow<()> {
        batch.assert_valid();
        if !work.tail.is_plain() {
            let (scanner, first_round) = (&self.scanner, S::first_round(work.tail.hash()));
            let scan_column = |rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>| {
                scanner.scan_wide(rows, column, hits);
            };
            let rows = &mut self.wide_rows;
            return wide::scan(rows, work, batch, sink, first_round, &scan_column);
        }
        let last_block = work.tail.nonce_block(0);
        let mut schedule = Schedule::new(&work.tail);
        let mut first_row = batch.rows.start;
        while first_row < batch.rows.end {
            let last_row = batch.rows.end.min(first_row + S::ROWS);
            self.rows.clear();
            self.rows
                .extend((first_row..last_row).map(|row| Row::new(&work.tail, row, work.filter)));
            self.scanner.pack(&self.rows, &last_block);
            for column in batch.columns.clone() {
                let made = schedule.column(column);
                self.scanner
                    .scan_column(&made, work.filter.span, &mut self.hits);
                for hit in self.hits.drain(..) {
                    if (hit as usize) < self.rows.len() {
                        sink.candidate(Nonce::at(first_row + u64::from(hit), column))?;
                    }
                }
                sink.progress(self.rows.len() as u64)?;
            }
            first_row = last_row;
        }
        ControlFlow::Continue(())
    }
}
