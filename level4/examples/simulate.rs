//! Runs the simulation of whole clusters (`level4::simulation`) over many seeds, on all cores: for a night,
//! and on a machine that has nothing but this file.
//!
//! ```sh
//! cargo run --release -p level4 --example simulate -- --seeds 0..1000000
//! target/release/examples/simulate --seeds 0..1000000 --threads 16 --minutes 60
//! ```
//!
//! Ends with status 1 if seeds failed, and the commands that replay them.

use std::num::NonZero;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use level4::simulation::{Outcome, Run};

/// Simulates a cluster for each of many seeds.
#[derive(Parser)]
#[command(after_help = "Examples:
  simulate --seeds 0..20000
  simulate --seeds 0..1000000 --threads 16 --minutes 60")]
struct Flags {
    /// Which seeds: from the first to before the second
    #[arg(long, value_parser = seeds, value_name = "FROM..TO", default_value = "0..10000")]
    seeds: Range<u64>,
    /// Threads; all cores' if not given
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Stop after so many minutes, with the seeds that are done by then
    #[arg(long)]
    minutes: Option<f64>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "give two numbers, the smaller one first: 0..1000".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from < to => Ok(from..to),
        _ => Err(wrong()),
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let limit = flags
        .minutes
        .map(|minutes| Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX));
    let run = Run::new(flags.seeds);
    let Outcome { count, failed, sum } = run.run(flags.threads, limit, |line| eprintln!("{line}"));
    println!("{count} seeds, {} failed: {sum:?}", failed.len());
    for seed in &failed {
        let next = seed + 1;
        println!("seed {seed} failed; replay with: simulate --seeds {seed}..{next} --threads 1");
        println!("see it with: replay --seed {seed} --html seed-{seed}.html");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}
