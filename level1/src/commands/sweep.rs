//! `level1 devices --sweep`: how the work is best cut for a device, found by trying.
//!
//! First every shape of the shader, then, with the best of them, the number of rows and the
//! length of a step. Each shape proves itself against the `sha1` crate before it is measured.

use crate::cli::gpu;
use anyhow::{Context, Result, bail};
use level1::{
    Batch, COLUMNS, Device, GpuKernel, Kernel, KernelError, Nonce, Schedules, Sink, Style, Target,
    Tuning, Work, Worker, hopeless_job, rate,
};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub fn run(index: Option<usize>, duration: Duration) -> Result<ExitCode> {
    let Worker::Gpu(device) = gpu(index)? else {
        unreachable!("a graphics processor was opened")
    };
    say(&format!("{}", device.info()))?;
    let mut best = (0.0, device.tuning());
    let mut wrong = 0;
    let mut attempt = |tuning: Tuning, best: &mut (f64, Tuning)| -> Result<()> {
        let tuned = device.tuned(tuning);
        let tuning = tuned.tuning();
        if !is_right(&tuned)? {
            wrong += 1;
            return say(&format!("WRONG       {tuning}"));
        }
        let rate = rate(
            &hopeless_job(Style::Line),
            &Worker::Gpu(Arc::new(tuned)).into(),
            duration,
        )?;
        if rate > best.0 {
            *best = (rate, tuning);
        }
        say(&format!("{:>9.1} MH/s  {tuning}", rate / 1e6))
    };
    for tuning in shapes(device.tuning()) {
        attempt(tuning, &mut best)?;
    }
    for tuning in sizes(best.1) {
        attempt(tuning, &mut best)?;
    }
    say(&format!("best: {:.1} MH/s  {}", best.0 / 1e6, best.1))?;
    if wrong > 0 {
        bail!("{wrong} of the shapes missed nonces or made some up");
    }
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}

/// The shapes of the shader.
fn shapes(base: Tuning) -> Vec<Tuning> {
    let mut shapes = Vec::new();
    for schedules in [Schedules::Uniform, Schedules::Storage] {
        for rows_per_invocation in [1, 2] {
            for multiplied in 0..=3 {
                shapes.push(Tuning {
                    workgroup: 128,
                    rows_per_invocation,
                    multiplied,
                    schedules,
                    ..base
                });
            }
        }
    }
    shapes
}

/// The same shape with other sizes.
fn sizes(base: Tuning) -> Vec<Tuning> {
    let groups = [64, 256].map(|workgroup| Tuning { workgroup, ..base });
    let rows = [2, 4, 8].map(|part| Tuning {
        rows: base.rows / part,
        ..base
    });
    let more_rows = Tuning {
        rows: base.rows * 2,
        ..base
    };
    let steps = [25, 100, 200].map(|ms| Tuning {
        step: Duration::from_millis(ms),
        ..base
    });
    let all = groups.into_iter().chain(rows).chain([more_rows]);
    all.chain(steps).collect()
}

/// Whether a device finds what the `sha1` crate finds among some nonces, and nothing twice.
fn is_right(device: &Device) -> Result<bool, KernelError> {
    let mut kernel = GpuKernel::new(device)?;
    let target = Target::prefix("0").unwrap_or_else(|error| unreachable!("{error}"));
    let job = hopeless_job(Style::Line).with_target(target);
    let work: &Work = job.work();
    // Across the end of a work group and of a slice of columns, and the last columns of all.
    for columns in [100..350, COLUMNS - 3..COLUMNS] {
        let batch = Batch {
            rows: 17..17 + 700,
            columns,
        };
        let mut found = Collector::default();
        let _ = kernel.scan(work, &batch, &mut found);
        found.0.sort_unstable();
        let nonces = batch.rows.clone().flat_map(|row| {
            let columns = batch.columns.clone();
            columns.map(move |column| Nonce::at(row, column))
        });
        let expected: Vec<Nonce> = nonces.filter(|&nonce| job.check(nonce).is_some()).collect();
        if found.0 != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps the candidates.
#[derive(Default)]
struct Collector(Vec<Nonce>);

impl Sink for Collector {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.0.push(nonce);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _tried: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A failed device would be replaced by a right processor.
    fn note(&mut self, _text: String) {
        self.0.push(Nonce(u64::MAX));
    }
}
