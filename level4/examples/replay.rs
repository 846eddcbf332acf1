//! Runs one seed of the simulation and draws what happened, in space and time.
//!
//! ```sh
//! cargo run --release -p level4 --example replay -- --seed 7 --html run.html
//! cargo run --release -p level4 --example replay -- --seed 7 --trace run.jsonl   # for `harness trace`
//! ```
//!
//! A seed that fails is drawn up to where it failed, and the status is 1.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;
use level4::simulation::{Cluster, Plant, Trace};

/// Runs one seed of the simulation and writes down what happened.
#[derive(Parser)]
#[command(after_help = "Examples:
  replay --seed 7 --html run.html
  replay --seed 7 --trace run.jsonl
  replay --seed 0 --plant stale-read --html run.html")]
struct Flags {
    /// The seed
    #[arg(long)]
    seed: u64,
    /// A bug to plant into it: forgotten-vote, no-dedupe, stale-read or early-ack
    #[arg(long, value_name = "BUG", value_parser = plant)]
    plant: Option<Plant>,
    /// Draw the run on a page
    #[arg(long, value_name = "FILE", required_unless_present = "trace")]
    html: Option<PathBuf>,
    /// Write the run as JSON lines, as `harness/docs/trace.md` tells
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let Flags {
        seed,
        plant,
        html,
        trace,
    } = Flags::parse();
    let written = Trace::default();
    let run = || {
        let written = Some(written.clone());
        match plant {
            Some(plant) => Cluster::planted(seed, plant, written).run(),
            None => Cluster::traced(seed, written).run(),
        }
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let text = written.text();
    if let Some(path) = &trace {
        write(path, &text)?;
    }
    if let Some(path) = &html {
        write(path, &page(seed, &text)?)?;
    }
    Ok(match outcome {
        Ok(summary) => {
            println!(
                "seed {seed}: {} events, {summary:?}",
                text.lines().count() - 1
            );
            ExitCode::SUCCESS
        }
        // What failed has been said already.
        Err(_) => ExitCode::FAILURE,
    })
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::named(name)
        .ok_or_else(|| format!("there are {}", Plant::ALL.map(Plant::name).join(", ")))
}

fn page(seed: u64, text: &str) -> anyhow::Result<String> {
    let name = format!("seed {seed}");
    let trace = octopus::trace::Trace::read(text.as_bytes(), Path::new(&name))?;
    ensure!(!trace.events.is_empty(), "nothing happened");
    let page = octopus::trace::page(&[(&name, &trace)]);
    if let Some(left_out) = page.left_out {
        eprintln!("the page would be too large, so it leaves out: {left_out}");
    }
    Ok(page.html)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
