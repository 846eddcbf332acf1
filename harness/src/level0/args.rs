//! The flags of `harness level0`.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::{
    duration,
    solution::{Solution, SolutionArgs},
};

/// Judges a level 0 solution, run as `SOLUTION [DICTIONARY] < document > output`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness level0 --seed 7 --words 5000 --mutate 0.3
  harness level0 --case level0-R5ez7L9mIu.json --runs 50
  harness level0 --solution harness/examples/level0.py
  harness level0 --bench")]
pub struct Args {
    #[command(flatten)]
    pub(super) solution: SolutionArgs,

    /// Judge this original case file instead of a generated document; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) case: Vec<PathBuf>,

    /// Seed of the generated document
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// Length of the generated document, in words
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) words: usize,

    /// Share of the generated words that are changed or lengthened at random, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    pub(super) mutate: f64,

    /// How often the solution is run; the best time counts, the median is shown
    #[arg(long, value_name = "N", default_value = "20", value_parser = at_least_one)]
    pub(super) runs: usize,

    /// Kill a run that takes longer, such as `10s`
    #[arg(long, value_name = "DURATION", default_value = "10s",
        value_parser = duration::parse)]
    pub(super) time_limit: Duration,

    /// Whether the solution gets the dictionary's path as its first argument
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(super) dictionary: DictionaryArgument,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,

    /// Leave out the three documents that belong to every judgement
    #[arg(long)]
    pub(super) no_checks: bool,

    /// Judge one run on a generated document of this size, in MiB, that comes through a pipe
    #[arg(long, value_name = "MIB", conflicts_with_all = ["case", "bench"],
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(super) large: Option<u64>,

    /// Fail a solution whose memory grows by more than this, in MiB, after the first quarter of the
    /// large document
    #[arg(long, value_name = "MIB", requires = "large")]
    pub(super) memory_growth: Option<u64>,

    /// Measure throughput on a large generated document beside a plain hash set
    #[arg(long, conflicts_with = "case")]
    pub(super) bench: bool,

    /// Size of the large document of --bench, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "bench")]
    pub(super) bench_size: u64,
}

/// Whether the solution is given the dictionary as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DictionaryArgument {
    /// Given to other people's solutions; ours has the word list built in
    Auto,
    /// Given to any solution
    Always,
    /// Given to none
    Never,
}

impl DictionaryArgument {
    pub(super) fn applies_to(self, solution: &Solution) -> bool {
        match self {
            Self::Auto => !solution.ours,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("not between 0 and 1".to_owned())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of at least 1 is needed".to_owned()),
        Ok(runs) => Ok(runs),
    }
}
