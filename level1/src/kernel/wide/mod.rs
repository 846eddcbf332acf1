//! The walk for commits of other shapes than the plain one: nonces in white space, objects that
//! go on behind the nonce, SHA-256.
//!
//! It is the two-level scheme again. A row is carried as far as a round that no digit of a column
//! reaches; a column's message schedule, constants added, is computed once for all rows, and the
//! suffix's schedules once for all columns. The rounds themselves come from each instruction set.

mod lanes;
mod rounds;

pub(super) use lanes::wide_scanner;
pub(super) use rounds::Rounds;

use super::lanes::CHUNK_ROWS;
use super::{Batch, Sink, Work};
use crate::hash::{HashFunction, State};
use crate::nonce::Nonce;
use std::ops::ControlFlow;

/// Rows that are prepared at once: what the nearest caches hold.
pub(super) const ROWS: u64 = 512;

/// What all columns of a row share.
#[derive(Clone, Copy, Debug)]
pub(super) struct WideRow {
    /// The state before the nonce block.
    pub midstate: State,
    /// The variables before the first round that is left.
    pub before: State,
}

/// Sixty-four rows, value by value.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct WideChunk {
    pub midstate: [[u32; CHUNK_ROWS]; 8],
    pub before: [[u32; CHUNK_ROWS]; 8],
}

/// Rows in both layouts: one by one, and for lanes. What is left over in the last chunk is zero.
#[derive(Default)]
pub(super) struct WideRows {
    pub rows: Vec<WideRow>,
    pub chunks: Vec<WideChunk>,
}

/// A column, and what all columns share.
pub(super) struct WideColumn<'a> {
    pub hash: HashFunction,
    /// The nonce block's words.
    pub block: [u32; 16],
    /// Its schedule, with the rounds' constants.
    pub nonce: Rounds,
    /// The blocks behind it, and their schedules.
    pub suffix_blocks: &'a [[u32; 16]],
    pub suffix: &'a [Rounds],
    /// What is taken from the first word of an id before it is compared with the span.
    pub base: u32,
    pub span: u32,
}

impl WideRows {
    fn prepare(&mut self, work: &Work, first_row: u64, last_row: u64, first_round: usize) {
        let tail = &work.tail;
        // No digit of a column stands in the words of the rounds before the first.
        let words = tail.nonce_block(0);
        let made = (first_row..last_row).map(|row| {
            let midstate = tail.midstate(row);
            let before = rounds::carried(tail.hash(), midstate, &words[..first_round]);
            WideRow { midstate, before }
        });
        self.rows.clear();
        self.rows.extend(made);
        self.chunks.clear();
        for rows in self.rows.chunks(CHUNK_ROWS) {
            let zero = [[0; CHUNK_ROWS]; 8];
            let (mut midstate, mut before) = (zero, zero);
            for (lane, row) in rows.iter().enumerate() {
                for word in 0..8 {
                    midstate[word][lane] = row.midstate[word];
                    before[word][lane] = row.before[word];
                }
            }
            self.chunks.push(WideChunk { midstate, before });
        }
    }
}

/// Tries a batch. `first_round` is where `scan_column` takes a row up; it pushes the index of each
/// row whose id passes the filter, and perhaps of lanes that were left over.
pub(super) fn scan(
    rows: &mut WideRows,
    work: &Work,
    batch: &Batch,
    sink: &mut dyn Sink,
    first_round: usize,
    scan_column: &dyn Fn(&WideRows, &WideColumn<'_>, &mut Vec<u32>),
) -> ControlFlow<()> {
    let tail = &work.tail;
    let suffix: Vec<Rounds> = tail
        .suffix()
        .iter()
        .map(|block| Rounds::new(tail.hash(), block))
        .collect();
    let mut hits = Vec::new();
    let mut first_row = batch.rows.start;
    while first_row < batch.rows.end {
        let last_row = batch.rows.end.min(first_row + ROWS);
        rows.prepare(work, first_row, last_row, first_round);
        for column in batch.columns.clone() {
            let block = tail.nonce_block(column);
            let made = WideColumn {
                hash: tail.hash(),
                nonce: Rounds::new(tail.hash(), &block),
                block,
                suffix_blocks: tail.suffix(),
                suffix: &suffix,
                base: work.filter.base,
                span: work.filter.span,
            };
            scan_column(rows, &made, &mut hits);
            for hit in hits.drain(..) {
                if (hit as usize) < rows.rows.len() {
                    sink.candidate(Nonce::at(first_row + u64::from(hit), column))?;
                }
            }
            sink.progress(rows.rows.len() as u64)?;
        }
        first_row = last_row;
    }
    ControlFlow::Continue(())
}

/// The crates' way: whole blocks, from the midstate.
pub(super) fn scan_with_crates(rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
    let blocks: Vec<[u8; 64]> = std::iter::once(&column.block)
        .chain(column.suffix_blocks)
        .map(|words| {
            let mut block = [0; 64];
            for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_be_bytes();
            }
            block
        })
        .collect();
    for (index, row) in (0..).zip(&rows.rows) {
        let mut state = row.midstate;
        column.hash.compress(&mut state, &blocks);
        if state[0].wrapping_sub(column.base) <= column.span {
            hits.push(index);
        }
    }
}
