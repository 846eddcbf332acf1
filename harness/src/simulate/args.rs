//! The flags of `harness network`, and the command line of each node.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{duration, monkey_args::MonkeyArgs, solution};
use octopus::{Endpoint, Monkey, MonkeySettings, Place};

/// Runs any program as N nodes on a network that lags, splits and breaks.
///
/// Each node runs in a folder of its own. In the command, {id} is the node's number, {dir} its
/// folder, {listen} where it must listen, {join} where it finds node 0 (node 0 itself is started
/// without that argument), and {peers} where it finds all others, as `1=ADDRESS,2=ADDRESS`.
/// Addresses are unix sockets such as `./node2.sock`, or with --tcp `host:port`. Whatever a node
/// says to another goes through these addresses.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(after_help = "\
Examples:
  harness network --nodes 3 -- ./node --id {id} --listen {listen} --peers {peers}
  harness network --nodes 5 --tcp --duration 1m -- etcd-like {dir} {listen} --join={join}
  harness network --nodes 3 --monkeys oneway,link --monkey-offset 0 --intensity 1 -- ./node {id}
  harness network --nodes 3 --dry-run              only show what would go wrong, and when")]
pub struct Args {
    /// How many nodes
    #[arg(short = 'c', long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(super) nodes: u16,

    /// Seed of links and monkeys
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// How long, unless all nodes end by themselves before
    #[arg(long, value_name = "DURATION", default_value = "30s",
        value_parser = duration::parse)]
    pub(super) duration: Duration,

    /// TCP on the loopback interface instead of unix sockets
    #[arg(long)]
    pub(super) tcp: bool,

    #[command(flatten)]
    pub(super) monkeys: MonkeyArgs,

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

    /// Write the event log, JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,

    /// Write a report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,

    /// The program and its arguments, after `--`
    #[arg(
        last = true,
        value_name = "COMMAND",
        required_unless_present = "dry_run"
    )]
    command: Vec<OsString>,
}

/// A program and the templates of its arguments.
pub(super) struct Command {
    pub program: PathBuf,
    templates: Vec<OsString>,
}

impl Args {
    /// The monkeys that act: spof, which waits for a client's answers, cannot.
    pub(super) fn monkey_settings(&self) -> Result<MonkeySettings> {
        ensure!(
            !self.monkeys.asks_for(Monkey::Spof),
            "the spof monkey waits for answers to a client, which `harness network` does not have"
        );
        let mut settings = self.monkeys.settings().clone();
        settings.enabled.remove(&Monkey::Spof);
        Ok(settings)
    }

    /// The command, whose program is found now: the nodes run in other folders.
    pub(super) fn command(&self) -> Result<Command> {
        let (program, templates) = self.command.split_first().context("no command given")?;
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
    pub fn arguments(&self, place: &Place) -> Vec<OsString> {
        self.templates
            .iter()
            .filter_map(|template| fill_in(template, place))
            .collect()
    }
}

/// An argument with its braces filled in; `None` for `{join}` on node 0.
fn fill_in(template: &OsString, place: &Place) -> Option<OsString> {
    // A name that is no text has no braces that we know.
    let Some(text) = template.to_str() else {
        return Some(template.clone());
    };
    let to_node_0 = place.peers.iter().find(|(peer, _)| *peer == 0);
    if text.contains("{join}") && place.node == 0 {
        return None;
    }
    let peers: Vec<String> = place
        .peers
        .iter()
        .map(|(peer, endpoint)| format!("{peer}={}", shown(endpoint)))
        .collect();
    let join = to_node_0
        .map(|(_, endpoint)| shown(endpoint))
        .unwrap_or_default();
    let filled = text
        .replace("{id}", &place.node.to_string())
        .replace("{dir}", &place.folder.to_string_lossy())
        .replace("{listen}", &shown(&place.listen))
        .replace("{join}", &join)
        .replace("{peers}", &peers.join(","));
    Some(filled.into())
}

/// An endpoint as a node in its own folder names it.
fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(path) => {
            format!(
                "./{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            )
        }
        Endpoint::Tcp(address) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: usize, tcp: bool) -> Place {
        let endpoint = |name: usize| {
            if tcp {
                Endpoint::Tcp(([127, 0, 0, 1], 4000 + name as u16).into())
            } else {
                Endpoint::Unix(format!("/r/node{node}/node{name}.sock").into())
            }
        };
        Place {
            node,
            folder: format!("/r/node{node}").into(),
            listen: endpoint(node),
            peers: (0..3)
                .filter(|&p| p != node)
                .map(|peer| (peer, endpoint(peer)))
                .collect(),
        }
    }

    fn filled(line: &str, place: &Place) -> String {
        let templates = line.split(' ').map(OsString::from).collect();
        let command = Command {
            program: "x".into(),
            templates,
        };
        let arguments = command.arguments(place);
        arguments.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn braces_are_filled_in() {
        let line = "-i{id} {dir}/data -l {listen} --join={join} {peers} {other}";
        assert_eq!(
            filled(line, &place(2, false)),
            "-i2 /r/node2/data -l ./node2.sock --join=./node0.sock \
             0=./node0.sock,1=./node1.sock {other}"
        );
        assert_eq!(
            filled(line, &place(0, true)),
            "-i0 /r/node0/data -l 127.0.0.1:4000 1=127.0.0.1:4001,2=127.0.0.1:4002 {other}"
        );
    }
}
