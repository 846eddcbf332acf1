//! The flags of `harness level4`.

use std::{path::PathBuf, time::Duration};

use crate::{duration, monkey_args::MonkeyArgs, solution::SolutionArgs};

/// Judges a level 4 solution: SQL on N nodes that reach each other by a flaky network.
///
/// Each node is run as `SOLUTION -l ./nodeI.sock -d ROOT/nodeI [--join=./node0.sock]` in the
/// folder ROOT/nodeI, where `./nodeJ.sock` leads to node J. 10 points for each right answer in the
/// common order, minus half the square root of the bytes that the network read and delivered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness level4 --seed 7                         30 s with all of 2014's monkeys but murder
  harness level4 --seed 7 --dry-run               only show what would go wrong, and when
  harness level4 --case level4-4aBG47QsMH.json    an original case, with its reference
  harness level4 --solution ./mine --duration 5s --intensity 1 --monkey-offset 0 --monkey-gap 0.1
  harness level4 --report run.html --events run.jsonl --enable-murder-monkey=true
  harness level4 --trace run && harness trace run --html run.html    the run in space and time
  harness level4 -seed 7 -r ./mine -c 3 -w result.json     as in 2014")]
pub struct Args {
    #[command(flatten)]
    pub(super) solution: SolutionArgs,

    /// Judge with the seed of this original case file, and compare; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub(super) case: Vec<PathBuf>,

    /// Seed of queries, links and monkeys (default: another one each time, which is shown)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) seed: Option<i64>,

    /// How long a run lasts, from the start of the nodes
    #[arg(long, value_name = "DURATION", default_value = "30s",
        value_parser = duration::parse)]
    pub(super) duration: Duration,

    /// Fail a run that is not over after this long, what comes after it included (default: no limit
    /// but those of the parts)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) time_limit: Option<Duration>,

    /// How many nodes
    #[arg(short = 'c', long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(super) nodes: u16,

    #[command(flatten)]
    pub(super) monkeys: MonkeyArgs,

    /// Print the schedule of the monkeys and its digest, and run nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// After the run, let the network heal and compare the databases on all nodes
    #[arg(long)]
    pub(super) check_replicas: bool,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,

    /// Echo what the nodes print, each line with its node
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,

    /// Write the classic result file
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub(super) write: Option<PathBuf>,

    /// Write the event log, JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,

    /// Write what happened into this folder, for `harness trace DIR`
    ///
    /// Every node is told by the variable OCTOPUS_TRACE where to write its share, as
    /// harness/docs/trace.md says; between nodes that write none the bytes are drawn.
    #[arg(long, value_name = "DIR")]
    pub(super) trace: Option<PathBuf>,

    /// Write a report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}
