//! `level1 bench`: every backend beside the `sha1` crate, in one run.

use crate::cli::{BackendChoice, BenchArgs, threads};
use anyhow::{Context, Result};
use level1::bench;
#[cfg(feature = "gpu")]
use level1::kernel::gpu::Device;
use level1::kernel::{Backend, KernelError};
use level1::race::Crew;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let crews = crews(args)?;

    // In turn, so that a change in the machine's mood meets all of them.
    let mut best = vec![0f64; crews.len()];
    let mut clock = 0f64;
    for _ in 0..args.rounds.get() {
        clock = clock.max(bench::clock());
        for (best, crew) in best.iter_mut().zip(&crews) {
            *best = best.max(bench::rate(crew, args.seconds)?);
        }
    }

    // A graphics processor is compared with all the processor's threads.
    let all = threads(args.threads);
    let yardstick = |threads| {
        let same = |crew: &Crew| crew.backend() == Backend::Sha1Crate && crew.threads() == threads;
        crews.iter().position(same).map_or(f64::NAN, |at| best[at])
    };
    let mut lines = vec![format!(
        "{:8} {:>7} {:>10} {:>12} {:>13}",
        "backend", "threads", "MH/s", "cycles/hash", "x sha1 crate"
    )];
    for (crew, rate) in crews.iter().zip(&best) {
        let mega = rate / 1e6;
        if crew.threads() == 0 {
            let ratio = rate / yardstick(all);
            lines.push(format!(
                "gpu      {:>7} {mega:>10.1} {:>12} {ratio:>13.2}",
                "", ""
            ));
            continue;
        }
        let (backend, threads) = (crew.backend(), crew.threads());
        let cycles = clock * threads as f64 / rate;
        let ratio = rate / yardstick(threads);
        lines.push(format!(
            "{backend:8} {threads:>7} {mega:>10.1} {cycles:>12.2} {ratio:>13.2}"
        ));
    }
    let auto = Backend::fastest();
    lines.push(format!(
        "clock, estimated: {:.2} GHz; the fastest on this processor is {auto}",
        clock / 1e9
    ));
    lines.extend(
        crews
            .iter()
            .filter(|crew| crew.threads() == 0)
            .map(|crew| format!("gpu: {crew}")),
    );
    writeln!(io::stdout(), "{}", lines.join("\n")).context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Whom to measure: the backends asked for and the yardstick, on one and on all threads; and the
/// first graphics processor.
fn crews(args: &BenchArgs) -> Result<Vec<Crew>, KernelError> {
    let mut backends: Vec<Backend> = Backend::supported().collect();
    let chosen = match args.backend {
        Some(BackendChoice::Named(backend)) => Some(backend),
        Some(BackendChoice::Auto) => Some(Backend::fastest()),
        #[cfg(feature = "gpu")]
        Some(BackendChoice::Gpu) => Some(Backend::Sha1Crate),
        None => None,
    };
    if let Some(chosen) = chosen {
        chosen.kernel()?;
        backends.retain(|&backend| backend == chosen || backend == Backend::Sha1Crate);
    }
    let all = threads(args.threads);
    let counts = if all == 1 { vec![1] } else { vec![1, all] };
    let on = |backend| {
        counts
            .iter()
            .map(move |&threads| Crew::processor(backend, threads))
    };
    #[cfg_attr(
        not(feature = "gpu"),
        expect(unused_mut, reason = "only a device adds to them")
    )]
    let mut crews: Vec<Crew> = backends.into_iter().flat_map(on).collect();
    #[cfg(feature = "gpu")]
    match (Device::open(None), args.backend) {
        (Ok(device), None | Some(BackendChoice::Gpu)) => {
            crews.push(Crew::device(std::sync::Arc::new(device)));
        }
        (Err(error), Some(BackendChoice::Gpu)) => return Err(error.into()),
        _ => {}
    }
    Ok(crews)
}
