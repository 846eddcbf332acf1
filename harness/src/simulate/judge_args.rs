//! The flags of systems and of what clients ask of them.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    duration,
    system::System,
    workload::{ClientSettings, DriverKind, Kind},
};

/// Flags about systems and their clients.
#[derive(Clone, Debug, clap::Args)]
#[command(
    next_help_heading = "Systems",
    group = clap::ArgGroup::new("has_clients").args(["system", "workload_command"]).multiple(true)
)]
pub(super) struct JudgeArgs {
    /// Run a system: etcd, redis-sentinel, postgresql, nats, zookeeper, level4, or a file that describes one
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "command")]
    pub system: Option<String>,

    /// Give a parameter of the system another value than the one in its description
    #[arg(long, value_name = "NAME=VALUE", requires = "system", value_parser = a_setting)]
    set: Vec<(String, String)>,

    /// What clients ask of it [default: the first that the system names]
    #[arg(long, value_name = "KIND", requires = "system")]
    workload: Option<Kind>,

    /// A workload of your own: a shell's command, run on the clients' machine, that writes JSON lines
    #[arg(long, value_name = "COMMAND", conflicts_with = "workload")]
    pub workload_command: Option<String>,

    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 6, conflicts_with = "workload_command", value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,

    /// How many operations all of them begin in a second at most
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "workload_command", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// How long an answer may take; after that nobody knows whether it was done
    #[arg(long, value_name = "DURATION", default_value = "1s", conflicts_with = "workload_command",
        value_parser = duration::parse)]
    answer_within: Duration,

    /// Let each node answer reads from its own copy, where a system has such reads
    #[arg(long, requires = "system", conflicts_with = "workload_command")]
    stale_reads: bool,

    /// Undo everything at this time, and let clients go on [default: at the end]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub heal_at: Option<Duration>,

    /// How soon after that everything has to work again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub recover_within: Duration,

    /// Write what clients asked and were answered, JSON lines in Jepsen's vocabulary
    #[arg(long, value_name = "FILE", requires = "has_clients")]
    pub history: Option<PathBuf>,
}

impl JudgeArgs {
    /// Whether there are clients, whose answers are judged.
    pub fn has_clients(&self) -> bool {
        self.system.is_some() || self.workload_command.is_some()
    }

    /// The system, if one is asked for.
    pub fn system(&self) -> Result<Option<System>> {
        let find = |name| System::find(name, &self.set);
        self.system.as_deref().map(find).transpose()
    }

    /// How the clients of a system ask; none if a program does that.
    pub fn clients(
        &self,
        system: &System,
        nodes: usize,
        seed: u64,
    ) -> Result<Option<ClientSettings>> {
        if self.workload_command.is_some() {
            return Ok(None);
        }
        let name = &system.name;
        let Some(driver) = system.description.driver else {
            bail!("{name} has no driver: say with --workload-command who asks it");
        };
        let first = system.description.workloads.first().copied();
        let kind = self
            .workload
            .or(first)
            .context("no workload: name one with --workload")?;
        ensure!(
            driver.can(kind),
            "{name} cannot be asked for that: instead of --workload {} there is {}",
            kind.name(),
            can(driver)
        );
        ensure!(
            !self.stale_reads || driver.has_stale_reads(),
            "{name} has no reads for --stale-reads"
        );
        Ok(Some(ClientSettings {
            driver,
            kind,
            clients: usize::from(self.clients),
            rate: f64::from(self.rate),
            timeout: self.answer_within.max(Duration::from_millis(1)),
            stale_reads: self.stale_reads,
            seed,
            nodes,
        }))
    }
}

/// The workloads of a protocol.
fn can(driver: DriverKind) -> String {
    let kinds = Kind::value_variants().iter();
    let names = kinds.filter(|&&kind| driver.can(kind));
    let names: Vec<&str> = names.map(|kind| kind.name()).collect();
    names.join(", ")
}

/// `NAME=VALUE`.
fn a_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
