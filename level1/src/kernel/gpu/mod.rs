//! The graphics processor's kernel: one WGSL compute shader, run through `wgpu` on anybody's card.
//!
//! It is the two-level scheme again. An invocation keeps one row in registers and tries a window
//! of columns on it, whose message schedules come ready from a uniform buffer, so that the inner
//! loop is rounds only. A *step* is what is handed to the device at once: some windows of columns
//! for one group of rows, sized to take about [`super::Tuning::step`], so that a desktop stays usable and a
//! moved head is noticed soon. Two steps are kept in flight: while one runs, the last one's hits
//! are read and the next one's schedules are prepared. Rows are prepared on the device itself.
//!
//! A device that fails on the way (unplugged, reset, out of memory) is replaced by a processor
//! kernel for what is left; no nonce is lost.

mod device;
mod layout;
mod prepare;
mod shader;
mod step;

pub use device::{Device, devices};

use super::schedule::Schedule;
use super::{Backend, Batch, GpuError, Kernel, Sink, Work};
use crate::nonce::Nonce;
use layout::{IN_FLIGHT, SLICE_COLUMNS, SLICES};
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};
use step::{Engine, Pending};

/// The kernel of one graphics processor.
pub struct GpuKernel {
    engine: Engine,
    /// How many columns the next step takes, found by measuring.
    columns_per_step: u32,
    /// Takes over when the device has failed.
    fallback: Option<Box<dyn Kernel>>,
}

/// A step in flight and the nonces that it tries.
struct Step {
    pending: Pending,
    rows: Range<u64>,
    columns: Range<u32>,
}

impl GpuKernel {
    /// Prepares a device for mining.
    pub fn new(device: &Device) -> Result<Self, GpuError> {
        let engine = Engine::new(device)?;
        Ok(Self {
            engine,
            columns_per_step: 16,
            fallback: None,
        })
    }

    /// What the device is called.
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// Runs the whole batch on the device. `left` keeps what has not been reported yet.
    fn scan_on_device(
        &mut self,
        work: &Work,
        left: &mut Remainder,
        sink: &mut dyn Sink,
    ) -> Result<ControlFlow<()>, GpuError> {
        let mut schedule = Schedule::new(&work.tail);
        let mut in_flight: VecDeque<Step> = VecDeque::new();
        let mut loaded = None;
        let mut next = left.clone();
        let mut last_end = Instant::now();
        loop {
            while in_flight.len() < IN_FLIGHT
                && let Some((rows, columns)) = next.take(self.columns_per_step)
            {
                if loaded.as_ref() != Some(&rows) {
                    self.load_rows(work, &rows);
                    loaded = Some(rows.clone());
                }
                let count = (rows.end - rows.start) as u32;
                let schedules = columns.clone().map(|column| schedule.column(column));
                let pending =
                    self.engine
                        .submit(schedules, columns.start, count, work.filter.span)?;
                in_flight.push_back(Step {
                    pending,
                    rows,
                    columns,
                });
            }
            let Some(step) = in_flight.pop_front() else {
                return Ok(ControlFlow::Continue(()));
            };
            let Step {
                pending,
                rows,
                columns,
            } = step;
            let hits = self.engine.read(pending)?;
            let elapsed = last_end.elapsed();
            last_end = Instant::now();
            let hits = if let Some(hits) = hits {
                hits
            } else {
                loaded = None;
                self.one_by_one(&mut schedule, &rows, &columns, work)?
            };
            left.take(columns.len() as u32);
            let flow = report(&rows, &columns, &hits, sink);
            if flow.is_break() {
                for step in in_flight {
                    self.engine.discard(step.pending)?;
                }
                return Ok(flow);
            }
            self.adapt(columns.len() as u32, elapsed);
        }
    }

    /// Prepares `rows` for the steps submitted from here on.
    fn load_rows(&mut self, work: &Work, rows: &Range<u64>) {
        let count = (rows.end - rows.start) as u32;
        self.engine.load_rows(work, rows.start, count);
    }

    /// Repeats a step that had more hits than there was room for, column by column: a single
    /// column cannot have more hits than rows, and there is room for those.
    fn one_by_one(
        &mut self,
        schedule: &mut Schedule,
        rows: &Range<u64>,
        columns: &Range<u32>,
        work: &Work,
    ) -> Result<Vec<[u32; 2]>, GpuError> {
        // The rows of this step may have been replaced by those of the steps behind it.
        self.load_rows(work, rows);
        let count = (rows.end - rows.start) as u32;
        let mut hits = Vec::new();
        for column in columns.clone() {
            let made = std::iter::once(schedule.column(column));
            let pending = self.engine.submit(made, column, count, work.filter.span)?;
            hits.extend(self.engine.read(pending)?.into_iter().flatten());
        }
        Ok(hits)
    }

    /// Moves the size of a step towards [`super::Tuning::step`].
    fn adapt(&mut self, columns: u32, elapsed: Duration) {
        if columns < self.columns_per_step {
            return;
        }
        let wanted = f64::from(columns) * self.engine.tuning().step.as_secs_f64()
            / elapsed.as_secs_f64().max(1e-6);
        // No more than doubled at once: the first steps measure start-up rather than speed.
        let most = (columns * 2).min(SLICE_COLUMNS * SLICES);
        self.columns_per_step = (wanted as u32).clamp(1, most);
    }
}

impl Kernel for GpuKernel {
    fn rows_per_batch(&self) -> u64 {
        u64::from(self.engine.tuning().rows)
    }

    fn scan(&mut self, work: &Work, batch: &Batch, sink: &mut dyn Sink) -> ControlFlow<()> {
        batch.assert_valid();
        let mut left = Remainder::new(batch, self.rows_per_batch());
        if !work.tail.is_plain() && self.fallback.is_none() {
            let name = self.engine.name();
            sink.note(format!(
                "{name} can only do nonce lines of SHA-1; going on without it"
            ));
            self.fallback = Backend::most_capable().kernel().ok();
        }
        if self.fallback.is_none() {
            match self.scan_on_device(work, &mut left, sink) {
                Ok(flow) => return flow,
                Err(error) => {
                    let name = self.engine.name();
                    sink.note(format!("{name}: {error}; going on without it"));
                    self.fallback = Backend::most_capable().kernel().ok();
                }
            }
        }
        let Some(fallback) = &mut self.fallback else {
            return ControlFlow::Break(());
        };
        while let Some((rows, columns)) = left.take(u32::MAX) {
            fallback.scan(work, &Batch { rows, columns }, sink)?;
        }
        ControlFlow::Continue(())
    }
}

fn report(
    rows: &Range<u64>,
    columns: &Range<u32>,
    hits: &[[u32; 2]],
    sink: &mut dyn Sink,
) -> ControlFlow<()> {
    for &[row, column] in hits {
        sink.candidate(Nonce::at(rows.start + u64::from(row), column))?;
    }
    sink.progress((rows.end - rows.start) * columns.len() as u64)
}

/// What is left of a batch, taken in groups of rows and, within a group, by columns.
#[derive(Clone)]
struct Remainder {
    rows: Range<u64>,
    group: u64,
    columns: Range<u32>,
    /// The first column that the group in work has left.
    column: u32,
}

impl Remainder {
    fn new(batch: &Batch, group: u64) -> Self {
        let columns = batch.columns.clone();
        // A batch without columns has nothing, whatever its rows.
        let rows = if columns.is_empty() {
            0..0
        } else {
            batch.rows.clone()
        };
        Self {
            rows,
            group,
            column: columns.start,
            columns,
        }
    }

    /// The next at most `columns` columns of the group in work.
    fn take(&mut self, columns: u32) -> Option<(Range<u64>, Range<u32>)> {
        if self.rows.is_empty() {
            return None;
        }
        let rows = self.rows.start..self.rows.end.min(self.rows.start + self.group);
        let end = self.columns.end.min(self.column.saturating_add(columns));
        let taken = self.column..end;
        self.column = end;
        if end == self.columns.end {
            self.rows.start = rows.end;
            self.column = self.columns.start;
        }
        Some((rows, taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_remainder_covers_the_batch_once(
            first_row in 0u64..1000, rows in 0u64..40, group in 1u64..20,
            first_column in 0u32..100, columns in 0u32..30, step in 1u32..12,
        ) {
            let batch = Batch {
                rows: first_row..first_row + rows,
                columns: first_column..first_column + columns,
            };
            let mut left = Remainder::new(&batch, group);
            let mut seen = Vec::new();
            while let Some((rows, columns)) = left.take(step) {
                prop_assert!(rows.end - rows.start <= group && columns.len() <= step as usize);
                for row in rows {
                    seen.extend(columns.clone().map(|column| (row, column)));
                }
            }
            seen.sort_unstable();
            let all: Vec<_> = batch.rows.clone()
                .flat_map(|row| batch.columns.clone().map(move |column| (row, column)))
                .collect();
            prop_assert_eq!(seen, all);
        }
    }
}
