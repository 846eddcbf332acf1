//! The flags of `harness level3`.

use std::{path::PathBuf, time::Duration};

use super::generator::Flags;
use crate::{duration, recording::RecordingArgs, solution::SolutionArgs};

/// Judges a level 3 solution: a code search over three nodes.
///
/// The solution is run as `SOLUTION start-servers [--base-port P]` and has to start a master on
/// port P and nodes `--id 1`, `--id 2` and `--id 3` on the next three. Without a case, a tree or
/// flags of a generated tree, the original case IIypI1AvuY is played.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness level3 --case level3-IIypI1AvuY.json
  harness level3 --seed 7 --num-trees 10
  harness level3 --tree linux-source-6.1 --queries needles.txt
  harness level3 --search 200 --search-seed 3
  harness level3 --kill-node --report run.html
  harness level3 --solution harness/examples/level3.py")]
pub struct Args {
    #[command(flatten)]
    pub(super) solution: SolutionArgs,

    /// Use the tree and queries of this original case file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) case: Vec<PathBuf>,

    /// Search this folder instead of a generated tree
    #[arg(
        long,
        value_name = "PATH",
        requires = "queries",
        conflicts_with = "case"
    )]
    pub(super) tree: Option<PathBuf>,

    /// Queries for --tree, one a line; empty lines are skipped
    #[arg(long, value_name = "FILE", requires = "tree")]
    pub(super) queries: Option<PathBuf>,

    /// Search a small tree of edge cases: hidden files, links, line ends, letters in two cases
    #[arg(long, conflicts_with_all = ["case", "tree"])]
    pub(super) edges: bool,

    /// Most memory of a node, in MB of a million bytes
    #[arg(long, value_name = "MB", default_value_t = 500,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) memory_mb: u64,

    /// Port of the master, the nodes take the next three; 0 looks for four free ones
    ///
    /// Passed on to other people's solutions only when it is not 9090.
    #[arg(long, value_name = "P", default_value_t = super::servers::BASE_PORT)]
    pub(super) base_port: u16,

    /// Kill a node when a third of the queries are done (see --fault-node)
    #[arg(long)]
    pub(super) kill_node: bool,

    /// How long the node that --kill-node kills is waited for to be started again
    ///
    /// One that is back has a minute to answer whole; an answer that misses its files has to say so.
    #[arg(long, value_name = "DURATION", requires = "kill_node", default_value = "5s",
        value_parser = duration::parse)]
    pub(super) restart_limit: Duration,

    /// Stop a node for so long again and again after a third of the queries (see --fault-node)
    #[arg(long, value_name = "MS", conflicts_with = "kill_node",
        value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(super) slow_node: Option<u64>,

    /// The node that --kill-node or --slow-node hits
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=3))]
    pub(super) fault_node: u32,

    /// Also ask N searches of `/search` drawn from the tree: expressions, case, context, queries
    ///
    /// Not part of the 2014 contract; every second search is in level3's query language. Each is compared with a scan of every line by itself, so a
    /// large tree takes long.
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(super) search: u32,

    /// Seed of the searches of --search
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "search")]
    pub(super) search_seed: u64,

    #[command(flatten)]
    pub(super) recording: RecordingArgs,

    /// Fail a solution that has not answered everything after this long, from its start
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    pub(super) time_limit: Duration,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,

    #[command(flatten)]
    pub(super) generator: Flags,
}
