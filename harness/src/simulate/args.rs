//! The flags of `harness network`, and the command line of each node.

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};

use super::{ctl::CtlArgs, judge_args::JudgeArgs, machine_args::MachineArgs};
use crate::{
    duration,
    monkey_args::MonkeyArgs,
    solution,
    system::{self, System},
};
use octopus::{Monkey, MonkeySettings, Place, Schedule, Transport, What};

/// How many nodes there are, unless flags or a system say otherwise.
const DEFAULT_NODES: u16 = 3;

/// Runs any program as N nodes on a network that lags, splits and breaks.
///
/// Each node runs in a folder of its own. In the command, {id} is the node's number, {dir} its
/// folder, {listen} where it must listen, {join} where it finds node 0 (node 0 itself is started
/// without that argument), and {peers} where it finds all others, as `1=ADDRESS,2=ADDRESS`.
/// Addresses are unix sockets such as `./node2.sock`, or with --tcp `host:port`. Whatever a node
/// says to another goes through these addresses.
///
/// With --machines each node has a network of its own, and whatever it says to another is on the links. There
/// are also {ip}, {ip6}, {host}, and {peers:FORMAT} and {all:FORMAT}, as in {all:{host}=http://{ip}:2380}.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  harness network --nodes 3 -- ./node --id {id} --listen {listen} --peers {peers}
  harness network --nodes 5 --tcp --duration 1m -- etcd-like {dir} {listen} --join={join}
  harness network --nodes 3 --monkeys oneway,link --monkey-offset 0 --intensity 1 -- ./node {id}
  harness network --system etcd --report run.html  a database, its clients, and a verdict
  harness network --machines -- ping -c 5 node0                   real packets, real names
  harness network --system etcd --act-script grow='etcdctl --endpoints node0:2379 member list'
                                                   a command of yours as an act of the schedule
  harness network --nodes 3 --dry-run              only show what would go wrong, and when"
)]
pub struct Args {
    #[command(subcommand)]
    pub(super) sub: Option<Sub>,

    /// How many nodes [default: 3, or as many as the system has]
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(super) nodes: Option<u16>,

    /// Seed of links and monkeys
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// How long, unless all nodes end by themselves before
    #[arg(long, value_name = "DURATION", default_value = "30s",
        value_parser = duration::parse)]
    pub(super) duration: Duration,

    /// TCP on the loopback interface instead of unix sockets
    #[arg(long, conflicts_with = "machines")]
    pub(super) tcp: bool,

    /// Acts written by hand, in the format that --dry-run prints, in place of the seed's
    #[arg(long, value_name = "FILE")]
    pub(super) schedule: Option<PathBuf>,

    /// Print the schedule of the monkeys and its digest, and run nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,

    /// On a terminal, too: lines as they come instead of the live view
    #[arg(long)]
    pub(super) plain: bool,

    /// Do not show what the nodes print; it is in nodeI.log below --root
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// Listen at this unix socket for `harness network ctl SOCKET`, which breaks things by hand
    #[arg(long, value_name = "SOCKET")]
    pub(super) ctl: Option<PathBuf>,

    /// Write the event log, JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,

    /// Write what happened into this folder, for `harness trace DIR`
    ///
    /// Every node is told by the variable OCTOPUS_TRACE where to write its share, as
    /// harness/docs/trace.md says; between nodes that write none the bytes are drawn.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["machines", "system"])]
    pub(super) trace: Option<PathBuf>,

    /// Write a report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,

    /// The program and its arguments, after `--`
    #[arg(
        last = true,
        value_name = "COMMAND",
        required_unless_present_any = ["dry_run", "system"]
    )]
    command: Vec<OsString>,

    // Behind all others: what follows them would be under their headings.
    #[command(flatten)]
    pub(super) machines: MachineArgs,

    #[command(flatten)]
    pub(super) judge: JudgeArgs,

    #[command(flatten)]
    pub(super) monkeys: MonkeyArgs,
}

/// What is done to a run that goes on.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Sub {
    /// Break links and nodes of a run by hand
    Ctl(CtlArgs),
}

/// A program and the templates of its arguments.
pub(super) struct Command {
    pub program: PathBuf,
    templates: Vec<OsString>,
}

impl Args {
    /// The monkeys that act: spof, which waits for a client's answers, cannot.
    pub(super) fn monkey_settings(&self) -> Result<MonkeySettings> {
        if self.schedule.is_none() {
            self.monkeys.check()?;
        }
        let has_clients = self.judge.has_clients();
        ensure!(
            has_clients || !self.monkeys.asks_for(Monkey::Spof),
            "the spof monkey waits for answers to a client, which `harness network` has with --system only"
        );
        if let Some(at) = self.judge.heal_at {
            ensure!(
                at < self.duration,
                "--heal-at {at:?} is not before the end: --duration is {:?}",
                self.duration
            );
        }
        let mut settings = self.monkeys.settings().clone();
        settings.flaky_clients = self.machines.has_flaky_clients();
        if let Transport::Unix | Transport::Tcp = self.transport() {
            ensure!(
                !self.monkeys.asks_for(Monkey::Clock),
                "the clock monkey needs machines: add --machines"
            );
        }
        if !has_clients {
            settings.enabled.remove(&Monkey::Spof);
        }
        Ok(settings)
    }

    /// What the links are made of.
    pub(super) fn transport(&self) -> Transport {
        if self.machines.machines || self.judge.has_clients() {
            Transport::Machines(self.machines.settings())
        } else if self.tcp {
            Transport::Tcp
        } else {
            Transport::Unix
        }
    }

    /// How many nodes there are, of a system or of any program.
    pub(super) fn nodes(&self, system: Option<&System>) -> usize {
        let own = system.map_or(DEFAULT_NODES, |system| system.description.nodes);
        self.nodes.unwrap_or(own).into()
    }

    /// The schedule: of a file, or of the seed.
    pub(super) fn schedule(&self, nodes: usize, monkeys: &MonkeySettings) -> Result<Schedule> {
        let Some(path) = &self.schedule else {
            let duration_us = self.duration.as_micros() as u64;
            return Ok(Schedule::new(self.seed, nodes, duration_us, monkeys));
        };
        let shown = path.display();
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the schedule {shown}"))?;
        let schedule = Schedule::parse(&text, nodes, monkeys.places(nodes));
        let schedule = schedule.with_context(|| format!("in the schedule {shown}"))?;
        let known = self.monkeys.scripts();
        for act in &schedule.acts {
            if let What::Script { name, .. } = &act.what {
                ensure!(
                    known.iter().any(|script| script.name == *name),
                    "in the schedule {shown}: there is no script {name}: add --act-script {name}=COMMAND"
                );
            }
        }
        Ok(schedule)
    }

    /// The command, whose program is found now: the nodes run in other folders.
    pub(super) fn command(&self) -> Result<Command> {
        let (program, templates) = self.command.split_first().context("no command given")?;
        for template in templates.iter().filter_map(|template| template.to_str()) {
            system::check_template(template, &[])
                .map_err(|why| anyhow!("in the command of the nodes: {why}"))?;
        }
        Ok(Command {
            program: solution::find_program(program.as_ref())?,
            templates: templates.to_vec(),
        })
    }
}

impl Command {
    /// The command line for the report, with its braces.
    pub fn shown(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        let templates = self.templates.iter();
        std::iter::once(program)
            .chain(templates.map(|template| template.to_string_lossy().into_owned()))
            .collect()
    }

    /// The arguments of the node at a place.
    pub fn arguments(&self, place: &Place, nodes: usize) -> Vec<OsString> {
        let filled = self
            .templates
            .iter()
            .filter_map(|template| match template.to_str() {
                Some(text) => system::fill(text, place, nodes).map(OsString::from),
                // A name that is no text has no braces that we know.
                None => Some(template.clone()),
            });
        filled.collect()
    }
}
