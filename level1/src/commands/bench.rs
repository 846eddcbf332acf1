//! `level1 bench`: every backend beside the `sha1` crate, in one run.

use crate::cli::{BackendChoice, BenchArgs, threads};
use anyhow::{Context, Result};
use level1::bench;
use level1::kernel::Backend;
use level1::race::Crew;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let mut backends: Vec<Backend> = Backend::supported().collect();
    if let Some(choice) = args.backend {
        let chosen = choice.backend();
        chosen.kernel()?;
        backends.retain(|&backend| backend == chosen || backend == Backend::Sha1Crate);
    }
    let all = threads(args.threads);
    let counts = if all == 1 { vec![1] } else { vec![1, all] };
    let crews: Vec<Crew> = backends
        .iter()
        .flat_map(|&backend| counts.iter().map(move |&threads| Crew { backend, threads }))
        .collect();

    // In turn, so that a change in the machine's mood meets all of them.
    let mut best = vec![0f64; crews.len()];
    let mut clock = 0f64;
    for _ in 0..args.rounds.get() {
        clock = clock.max(bench::clock());
        for (best, &crew) in best.iter_mut().zip(&crews) {
            *best = best.max(bench::rate(crew, args.seconds)?);
        }
    }

    let yardstick = |threads| {
        let same = Crew {
            backend: Backend::Sha1Crate,
            threads,
        };
        crews
            .iter()
            .position(|&crew| crew == same)
            .map_or(f64::NAN, |at| best[at])
    };
    let mut lines = vec![format!(
        "{:8} {:>7} {:>10} {:>12} {:>13}",
        "backend", "threads", "MH/s", "cycles/hash", "x sha1 crate"
    )];
    for (crew, rate) in crews.iter().zip(&best) {
        let Crew { backend, threads } = *crew;
        let cycles = clock * threads as f64 / rate;
        let ratio = rate / yardstick(threads);
        let rate = rate / 1e6;
        lines.push(format!(
            "{backend:8} {threads:>7} {rate:>10.1} {cycles:>12.2} {ratio:>13.2}"
        ));
    }
    let auto = BackendChoice::Auto.backend();
    lines.push(format!(
        "clock, estimated: {:.2} GHz; auto is {auto}",
        clock / 1e9
    ));
    writeln!(io::stdout(), "{}", lines.join("\n")).context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
