//! Hash rate of each kernel beside the `sha1` crate, on one thread and on all.
//!
//! The workload is what mining does: whole tables of rows under consecutive columns. `level1
//! bench` measures the same for longer and prints the ratios.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use level1::{Backend, Batch, Nonce, Sink, Style, hopeless_job};
use std::ops::ControlFlow;

/// Columns in one run of the measured function: some ten milliseconds of the slowest kernel.
const COLUMNS: u32 = 256;

fn main() {
    divan::main();
}

/// Counts, as the search does, and matches nothing.
struct Counter(u64);

impl Sink for Counter {
    fn candidate(&mut self, _nonce: Nonce) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        self.0 += tried;
        ControlFlow::Continue(())
    }
}

#[divan::bench(args = Backend::supported(), threads = [1, 0], sample_count = 20, sample_size = 1)]
fn scan(bencher: Bencher, backend: Backend) {
    let job = hopeless_job(Style::Line);
    let rows = backend.kernel().map_or(0, |kernel| kernel.rows_per_batch());
    let batch = Batch {
        rows: 0..rows,
        columns: 0..COLUMNS,
    };
    bencher
        .counter(ItemsCount::new(rows * u64::from(COLUMNS)))
        .with_inputs(|| backend.kernel().expect("the backend is supported"))
        .bench_refs(|kernel| {
            let mut counter = Counter(0);
            let _ = kernel.scan(black_box(job.work()), &batch, &mut counter);
            counter.0
        });
}
