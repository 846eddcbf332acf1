//! `level1 bench`: every backend beside the `sha1` crate, in one run.

use crate::cli::{BackendChoice, BenchArgs, gpu, threads};
use anyhow::{Context, Result};
use level1::{Backend, KernelError, Worker, clock, hopeless_job, rate};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let workers = workers(args)?;
    let job = hopeless_job(args.style.into());

    // In turn, so that a change in the machine's mood meets all of them.
    let mut best = vec![0f64; workers.len()];
    let mut hertz = 0f64;
    for _ in 0..args.rounds.get() {
        hertz = hertz.max(clock());
        for (best, worker) in best.iter_mut().zip(&workers) {
            *best = best.max(rate(&job, &worker.clone().into(), args.seconds)?);
        }
    }
    let text = table(&workers, &best, hertz, threads(args.threads));
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The results as text. A graphics processor is compared with `all` the processor's threads.
fn table(workers: &[Worker], best: &[f64], hertz: f64, all: NonZeroUsize) -> String {
    let yardstick = |wanted| {
        let same = |worker: &Worker| match worker {
            Worker::Cpu { backend, threads } => {
                *backend == Backend::Sha1Crate && *threads == wanted
            }
            Worker::Gpu(_) => false,
        };
        workers
            .iter()
            .position(same)
            .map_or(f64::NAN, |at| best[at])
    };
    let mut lines = vec![format!(
        "{:8} {:>7} {:>10} {:>12} {:>13}",
        "backend", "threads", "MH/s", "cycles/hash", "x sha1 crate"
    )];
    let mut devices = Vec::new();
    for (worker, rate) in workers.iter().zip(best) {
        let mega = rate / 1e6;
        match worker {
            Worker::Gpu(_) => {
                let ratio = rate / yardstick(all);
                lines.push(format!(
                    "gpu      {:>7} {mega:>10.1} {:>12} {ratio:>13.2}",
                    "", ""
                ));
                devices.push(format!("gpu: {worker}"));
            }
            Worker::Cpu { backend, threads } => {
                let cycles = hertz * threads.get() as f64 / rate;
                let ratio = rate / yardstick(*threads);
                lines.push(format!(
                    "{backend:8} {threads:>7} {mega:>10.1} {cycles:>12.2} {ratio:>13.2}"
                ));
            }
        }
    }
    let auto = Backend::most_capable();
    lines.push(format!(
        "clock, estimated: {:.2} GHz; 'auto' begins with {auto}",
        hertz / 1e9
    ));
    lines.extend(devices);
    lines.join("\n")
}

/// Whom to measure: the backends asked for and the yardstick, on one and on all threads; and the
/// first graphics processor.
fn workers(args: &BenchArgs) -> Result<Vec<Worker>, KernelError> {
    let mut backends: Vec<Backend> = Backend::supported().collect();
    let chosen = match args.backend {
        Some(BackendChoice::Named(backend)) => Some(backend),
        Some(BackendChoice::Auto) => Some(Backend::most_capable()),
        Some(BackendChoice::Gpu) => Some(Backend::Sha1Crate),
        None => None,
    };
    if let Some(chosen) = chosen {
        chosen.kernel()?;
        backends.retain(|&backend| backend == chosen || backend == Backend::Sha1Crate);
    }
    let mut counts = vec![NonZeroUsize::MIN, threads(args.threads)];
    counts.dedup();
    let on = |backend| {
        counts
            .iter()
            .map(move |&threads| Worker::cpu(backend, threads))
    };
    let mut workers: Vec<Worker> = backends.into_iter().flat_map(on).collect();
    match (gpu(None), args.backend) {
        (Ok(device), None | Some(BackendChoice::Gpu)) => workers.push(device),
        (Err(error), Some(BackendChoice::Gpu)) => return Err(error.into()),
        _ => {}
    }
    Ok(workers)
}
