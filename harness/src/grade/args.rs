//! The flags of `harness grade`.

use std::{
    num::{NonZeroU8, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use octopus::sandbox::Limits;

use super::room::Building;
use crate::{duration, ladder, level_arg};

/// Grades a class: every solution of a roster, with the same seeds, in sandboxes.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A roster:
  title = \"Distributed systems, autumn\"

  [[submission]]
  student = \"Ada Lovelace\"
  source = \"ada.tar.gz\"      # or a folder, or a bare repository (revision = \"v1\")

  [[submission]]
  student = \"Grace Hopper\"
  source = \"hopper.git\"

A source has a ctf3.toml at its top, or one in each of several folders: one for each level. Paths
are relative to the roster.

Examples:
  harness grade --roster roster.toml
  harness grade --roster roster.toml --levels 0,2,4 --seeds 3 --out autumn
  harness grade --roster roster.toml --ladder             points for the stages of the ladders
  harness grade --roster roster.toml --stages 1,2         for the first two of each
  harness grade --roster roster.toml --cache /srv/maven   builds see this folder, read-only

What is judged already is not judged again (--again does): an interrupted run goes on.
Exit status: 0 everything was judged, whatever the outcome; 2 something could not be.")]
pub struct Args {
    /// Whose solutions are graded, and where they are
    #[arg(long, value_name = "FILE")]
    pub(super) roster: PathBuf,

    /// Levels that count (default: all that were handed in)
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = level_arg::parse,
        default_values_t = 0..ladder::LEVELS)]
    pub(super) levels: Vec<u8>,

    /// How many runs of the contest each solution has, each with another seed
    #[arg(long, value_name = "N", default_value = "3")]
    pub(super) seeds: NonZeroU8,

    /// The first of the seeds; the next ones follow it
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(super) seed: u64,

    /// Judge the stages of each level's ladder instead, for their points
    #[arg(long, conflicts_with = "seeds")]
    pub(super) ladder: bool,

    /// Judge only these stages of the ladders, such as those that a class has got to
    #[arg(long, value_name = "K,K", value_delimiter = ',', conflicts_with = "seeds",
        value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) stages: Vec<u8>,

    /// How many solutions are judged at the same time; more than one disturb each other's times
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) jobs: NonZeroU32,

    /// The folder for tables, pages and records
    #[arg(long, value_name = "DIR", default_value = "grades")]
    pub(super) out: PathBuf,

    /// Judge again what is judged already
    #[arg(long)]
    pub(super) again: bool,

    #[command(flatten)]
    pub(super) rooms: RoomArgs,
}

/// What builds and programs may do, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RoomArgs {
    /// A folder that builds and programs see, read-only; `bin` in it is on their path
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Vec<PathBuf>,

    /// Let builds use the network
    #[arg(long)]
    pub(super) build_network: bool,

    /// Run submissions without sandboxes, with all the rights that you have
    #[arg(long)]
    pub(super) no_sandbox: bool,

    /// How long one run may take, its world's start included
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
    pub(super) time_limit: Duration,

    /// How long a build may take
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub(super) build_time_limit: Duration,

    /// Memory of each process that a level starts, with all that it starts itself, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048,
        value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    pub(super) memory: u64,

    /// Disk of such a process, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512,
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(super) disk: u64,

    /// Processes and threads of such a process
    #[arg(long, value_name = "N", default_value_t = 512,
        value_parser = clap::value_parser!(u64).range(8..=100_000))]
    pub(super) processes: u64,
}

impl Args {
    /// What rooms are like.
    pub(super) fn building(&self) -> Result<Building> {
        let caches = self.rooms.cache.iter().map(|cache| {
            let shown = cache.display();
            let found = std::fs::canonicalize(cache).with_context(|| format!("--cache {shown}"))?;
            ensure!(found.is_dir(), "--cache {shown}: not a folder");
            Ok(found)
        });
        Ok(Building {
            has_sandboxes: !self.rooms.no_sandbox,
            limits: Limits {
                memory_bytes: self.rooms.memory << 20,
                disk_bytes: self.rooms.disk << 20,
                processes: self.rooms.processes,
                ..Limits::default()
            },
            caches: caches.collect::<Result<_>>()?,
            build_network: self.rooms.build_network,
        })
    }

    /// What results depend on, beside the submission.
    pub(super) fn settings(&self) -> String {
        format!(
            "{} {} {} {} {:?} {:?} {} {}",
            env!("CARGO_PKG_VERSION"),
            self.rooms.memory,
            self.rooms.disk,
            self.rooms.processes,
            self.rooms.time_limit,
            self.rooms.build_time_limit,
            self.rooms.no_sandbox,
            self.rooms.build_network
        )
    }

    /// Whether stages of the ladders are judged, and not the contest.
    pub(super) fn has_stages(&self) -> bool {
        self.ladder || !self.stages.is_empty()
    }

    /// The stages of a level that are judged.
    pub(super) fn stages_of(&self, level: u8) -> impl Iterator<Item = u8> {
        let all = 1..=ladder::of_level(level).len() as u8;
        all.filter(|stage| self.stages.is_empty() || self.stages.contains(stage))
    }

    /// Whether each stage that was named is one of some level's.
    ///
    /// # Errors
    /// A line about the first that is not.
    pub(super) fn check_stages(&self) -> Result<()> {
        let are_there = |stage: u8| {
            let counts = self
                .levels
                .iter()
                .map(|&level| ladder::of_level(level).len());
            counts.max().is_some_and(|most| usize::from(stage) <= most)
        };
        match self.stages.iter().find(|&&stage| !are_there(stage)) {
            Some(stage) => bail!("--stages {stage}: none of the levels has so many"),
            None => Ok(()),
        }
    }

    /// Whether no levels were named, or all.
    pub(super) fn has_all_levels(&self) -> bool {
        (0..ladder::LEVELS).all(|level| self.levels.contains(&level))
    }
}
