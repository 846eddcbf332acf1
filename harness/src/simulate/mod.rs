//! `harness network`: any program, or any system, on the flaky network.
//!
//! `args` and those beside it are the flags, `ctl` breaks things by hand, `play` is the run, `judged` what clients saw in it, `traffic` the
//! table at its end.

mod args;
mod ctl;
mod judge_args;
mod judged;
mod machine_args;
mod play;
mod traffic;

use std::{env, path::Path};

use anyhow::Result;

pub use args::Args;

use self::{
    args::{Command, Sub},
    judged::Judgement,
    play::Played,
};
use crate::{
    console, dry_run,
    noise::Watch,
    output_file,
    recording::{Recording, write_page},
    report::{CaseResult, Failure, Report},
    solution_log,
    system::System,
    timeline, traced,
    workload::ClientSettings,
};
use octopus::{Transport, WorkDir, interrupt, rootless};

/// Runs the nodes on the network, and adds a result to the report.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    if let Some(Sub::Ctl(args)) = &args.sub {
        return ctl::say(args);
    }
    let monkeys = args.monkey_settings()?;
    if args.dry_run {
        let nodes = match args.nodes {
            Some(nodes) => nodes.into(),
            None => args.nodes(args.judge.system()?.as_ref()),
        };
        let schedule = args.schedule(nodes, &monkeys)?;
        dry_run::print(&schedule, monkeys.places(nodes));
        return Ok(());
    }
    let outputs = [
        ("the events", &args.events),
        ("the report", &args.report),
        ("the history", &args.judge.history),
    ];
    for (what, path) in outputs {
        if let Some(path) = path {
            output_file::check(what, path)?;
        }
    }
    if let Some(folder) = &args.trace {
        traced::check(folder)?;
    }
    let program = Program::new(args)?;
    let clients = program.clients(args)?;
    if matches!(args.transport(), Transport::Machines(_)) && rootless::is_needed() {
        return Err(rootless::restart(env::args_os().skip(1)).into());
    }
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    let watch = Watch::start();
    let played = play::play(args, &program, clients, monkeys, workdir.path())?;
    if let Some(path) = &args.events {
        played.log.write(path)?;
    }
    let mut result = judged(args, &program, &played, workdir.path()).under(watch.stop());
    interrupt::check()?;
    if !result.passed() {
        console::log(&format!(
            "network: the nodes' files are kept in {}",
            workdir.keep().display()
        ));
    }
    result = result.figure("acts", played.acts);
    if !args.monkeys.scripts().is_empty() {
        result = result.figure("scripts_failed", played.scripts_failed);
    }
    if args.report.is_none() && !report.is_kept() {
        report.add(result);
        return Ok(());
    }
    let recording = Recording {
        headline: headline(args, &program, &played),
        ..timeline::record(&played.log.to_json())
    };
    if let Some(path) = &args.report {
        write_page(path, &report.describe(&result)?, &recording)?;
    }
    report.add_recorded(result, recording);
    Ok(())
}

/// What the nodes run.
enum Program {
    /// One command, for all of them.
    Command(Command, usize),
    /// A system that is described.
    System(Box<System>, usize),
}

impl Program {
    fn new(args: &Args) -> Result<Self> {
        Ok(match args.judge.system()? {
            Some(system) => {
                let nodes = args.nodes(Some(&system));
                system.check_nodes(nodes)?;
                Self::System(Box::new(system), nodes)
            }
            None => Self::Command(args.command()?, args.nodes(None)),
        })
    }

    fn nodes(&self) -> usize {
        match self {
            Self::Command(_, nodes) | Self::System(_, nodes) => *nodes,
        }
    }

    fn system(&self) -> Option<&System> {
        match self {
            Self::Command(..) => None,
            Self::System(system, _) => Some(system),
        }
    }

    /// How the clients of a system ask; none if a program does that, or nobody.
    fn clients(&self, args: &Args) -> Result<Option<ClientSettings>> {
        match self {
            Self::Command(..) => Ok(None),
            Self::System(system, nodes) => args.judge.clients(system, *nodes, args.seed),
        }
    }

    fn shown(&self) -> Vec<String> {
        match self {
            Self::Command(command, _) => command.shown(),
            Self::System(system, _) => vec![system.name.clone()],
        }
    }
}

/// What was run, and what came of it.
fn headline(args: &Args, program: &Program, played: &Played) -> Vec<String> {
    let what = match program {
        Program::Command(command, _) => command.program.display().to_string(),
        Program::System(system, _) => system.description.about.clone(),
    };
    let disturbed = match &args.schedule {
        _ if played.acts == 0 => "that nothing disturbed".to_owned(),
        Some(_) => "that was disturbed by hand".to_owned(),
        None => format!("that monkeys disturbed, by the seed {}", args.seed),
    };
    let nodes = program.nodes();
    let mut run = format!("{nodes} nodes ({what}) on a network {disturbed}.");
    if played.judgement.is_some() {
        run.push_str(
            " The first line through all charts is where all nodes are ready, and clients and monkeys begin; the last \
             is where everything is healed, and clients ask what decides.",
        );
    }
    let verdict = played.judgement.as_ref().map(Judgement::headline);
    std::iter::once(run).chain(verdict).collect()
}

/// The result of a run: it is passed if every node that ended by itself did so with status 0, and clients saw
/// nothing wrong.
fn judged(args: &Args, program: &Program, played: &Played, folder: &Path) -> CaseResult {
    let who = match program {
        Program::Command(..) => String::new(),
        Program::System(system, _) => format!("{}, ", system.name),
    };
    let case = format!("{who}{} nodes, seed {}", program.nodes(), args.seed);
    let exits = &played.exits;
    let mut result =
        CaseResult::of_program(case, program.shown()).figure("nodes_ended", exits.len());
    if args.schedule.is_none() && args.monkeys.settings().enabled.is_empty() {
        result = result.remark("no monkeys");
    } else if played.acts == 0 {
        result = result.remark("nothing was broken in this time");
    }
    if let Some(judgement) = &played.judgement {
        result = judgement.judge(result, args.report.is_some());
    }
    if let (Some(node), None) = (played.unstopped.first(), &result.failure) {
        let message = format!("node {node} did not end in time when it was asked to");
        let said = solution_log::last_lines(&folder.join(format!("node{node}.log")));
        let failure = Failure::slow("not_stopped", message);
        return result.fail(failure.at(format!("node {node}")).said(said));
    }
    let mut failed = exits.iter().filter(|(_, status)| !status.success());
    let Some((node, status)) = failed.next() else {
        return result;
    };
    let mut message = format!("node {node} ended by itself with {status}");
    for (node, status) in failed {
        message.extend([format!("\nnode {node} ended by itself with {status}")]);
    }
    let said = solution_log::last_lines(&folder.join(format!("node{node}.log")));
    let failure = Failure::new("exit_status", message)
        .at(format!("node {node}"))
        .said(said)
        .hint("--events FILE writes what happened to links and nodes until then.");
    result.fail(failure)
}
