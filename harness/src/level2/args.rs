//! The flags of `harness level2`.

use std::{path::PathBuf, time::Duration};

use super::world::{Regime, WorldName};
use crate::{duration, recording::RecordingArgs, solution::SolutionArgs};

/// Judges a level 2 solution: a proxy that lets the mice through under a flood of elephants.
///
/// The solution is run as `SOLUTION --in-port P --out-ports A,B` (with --unix:
/// `SOLUTION --listen PATH --backend PATH --backend PATH --head-fan-out`) between two simulated
/// backends and a simulated flood.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness level2 --case level2-aUSeyGpde8.json --runs 3
  harness level2 --seed anything --regime open
  harness level2 --world backend-dies --report run.html --events run.jsonl
  harness level2 --solution harness/examples/level2.py")]
pub struct Args {
    #[command(flatten)]
    pub(super) solution: SolutionArgs,

    /// Play the traffic of this original case file; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub(super) case: Vec<PathBuf>,

    /// Text that the traffic is drawn from (default: that of the original case aUSeyGpde8)
    #[arg(long, value_name = "TEXT")]
    pub(super) seed: Option<String>,

    /// How the load is offered (default: 2014 in the contest, open in other worlds)
    #[arg(long, value_name = "REGIME")]
    pub(super) regime: Option<Regime>,

    /// What the flood and the backends do
    #[arg(long, value_name = "WORLD", default_value = "contest")]
    pub(super) world: WorldName,

    /// Length of a run in seconds; the contest's is 20
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(super) seconds: u32,

    /// How often each case is played; the median score counts
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) runs: u32,

    /// Talk to the solution and let it talk to the backends over unix sockets instead of TCP
    #[arg(long)]
    pub(super) unix: bool,

    #[command(flatten)]
    pub(super) recording: RecordingArgs,

    /// A backend that overflows dies, as in 2014, and the solution fails
    #[arg(long)]
    pub(super) strict: bool,

    /// Fail a solution with which a run is not over after this long, its start included (default:
    /// no limit but those of the start and of the run)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) time_limit: Option<Duration>,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
}
