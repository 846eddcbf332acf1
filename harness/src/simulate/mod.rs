//! `harness network`: any program on the flaky network.

mod args;

use std::{path::Path, process::ExitStatus, thread, time::Duration};

use anyhow::Result;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

pub use args::Args;

use crate::{
    console, dry_run,
    live::Screen,
    noise::Watch,
    output_file,
    recording::write_page,
    report::{CaseResult, Failure, Report},
    solution_log, timeline,
};
use octopus::{
    Config, Event, MonkeySettings, NodeSpec, Octopus, Progress, Schedule, Traffic, Transport,
    WorkDir, interrupt, pairs,
};

/// How often the state of a run is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How often it is recorded.
const SAMPLE_US: u64 = 250_000;

/// Runs the program on the network, and adds a result to the report.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    let monkeys = args.monkey_settings()?;
    let nodes = usize::from(args.nodes);
    if args.dry_run {
        print_schedule(args, nodes, &monkeys);
        return Ok(());
    }
    if let Some(path) = &args.events {
        output_file::check("the events", path)?;
    }
    if let Some(path) = &args.report {
        output_file::check("the report", path)?;
    }
    let command = args.command()?;
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    let mut screen = Screen::new("network", args.duration, args.plain);
    let config = Config {
        nodes,
        seed: args.seed,
        duration: args.duration,
        monkeys,
        transport: if args.tcp {
            Transport::Tcp
        } else {
            Transport::Unix
        },
        disk_bytes: args.monkeys.disk_bytes()?,
        echo: (!args.quiet).then(|| screen.echo()),
    };
    let watch = Watch::start();
    let mut octopus = Octopus::new(&config, workdir.path(), |place| NodeSpec {
        program: command.program.clone(),
        arguments: command.arguments(place),
        folder: place.folder.clone(),
    })?;
    octopus.start()?;
    octopus.start_monkeys(Progress::default)?;
    let exits = look_after(args, &octopus, &mut screen)?;
    let log = octopus.log().clone();
    let seconds = log.elapsed().as_secs_f64();
    let acts = log.count(|event| matches!(event, Event::Act(_)));
    let traffic = octopus.stop()?;
    log.record("end", json!({ "links": traffic }));
    print_report(&traffic, seconds, acts);
    for (node, status) in &exits {
        console::print(&format!("node {node} ended by itself: {status}"));
    }
    if let Some(path) = &args.events {
        log.write(path)?;
    }
    let mut result = judged(args, command.shown(), &exits, workdir.path()).under(watch.stop());
    interrupt::check()?;
    if !result.passed() {
        console::log(&format!(
            "network: the nodes' files are kept in {}",
            workdir.keep().display()
        ));
    }
    result = result.figure("acts", acts);
    if args.report.is_none() && !report.is_kept() {
        report.add(result);
        return Ok(());
    }
    let recording = timeline::record(&log.to_json());
    if let Some(path) = &args.report {
        write_page(path, &report.describe(&result)?, &recording)?;
    }
    report.add_recorded(result, recording);
    Ok(())
}

/// The result of a run: it is passed if every node that ended by itself did so with status 0.
fn judged(
    args: &Args,
    command: Vec<String>,
    exits: &[(usize, ExitStatus)],
    folder: &Path,
) -> CaseResult {
    let case = format!("{} nodes, seed {}", args.nodes, args.seed);
    let mut result = CaseResult::of_program(case, command).figure("nodes_ended", exits.len());
    if args.monkeys.settings().enabled.is_empty() {
        result = result.remark("no monkeys");
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

/// Waits until the time is over, or every node has ended by itself.
fn look_after(
    args: &Args,
    octopus: &Octopus,
    screen: &mut Screen,
) -> Result<Vec<(usize, ExitStatus)>> {
    let log = octopus.log();
    let mut next_sample_us = 0;
    loop {
        octopus.check()?;
        if interrupt::requested() {
            return Ok(Vec::new());
        }
        let exits = octopus.exited()?;
        if exits.len() == octopus.nodes().count() || log.elapsed() >= args.duration {
            // The last state stays on the screen.
            screen.show(octopus, Vec::new());
            return Ok(exits);
        }
        if log.now_us() >= next_sample_us {
            next_sample_us += SAMPLE_US;
            octopus.sample(json!({}));
            screen.show(octopus, Vec::new());
        }
        thread::sleep(TICK);
    }
}

fn print_schedule(args: &Args, nodes: usize, monkeys: &MonkeySettings) {
    let schedule = Schedule::new(args.seed, nodes, args.duration.as_micros() as u64, monkeys);
    dry_run::print(&schedule, nodes);
}

/// Up to so many nodes, directions that carried nothing are shown as well.
const FEW_NODES: usize = 5;

fn print_report(traffic: &Traffic, seconds: f64, acts: usize) {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
        "from → to",
        "bytes read",
        "bytes delivered",
        "chunks",
        "connections",
        "refused",
    ]);
    let mut idle = 0;
    for pair in pairs(traffic.nodes) {
        for (from, to) in [(pair.low(), pair.high()), (pair.high(), pair.low())] {
            let direction = traffic.between(from, to);
            let is_idle = direction.connections + direction.refused == 0;
            if is_idle && traffic.nodes > FEW_NODES {
                idle += 1;
                continue;
            }
            table.add_row([
                format!("{from} → {to}"),
                direction.bytes_read.to_string(),
                direction.bytes_written.to_string(),
                direction.chunks.to_string(),
                direction.connections.to_string(),
                direction.refused.to_string(),
            ]);
        }
    }
    let total = traffic.total();
    table.add_row([
        "all".to_owned(),
        total.bytes_read.to_string(),
        total.bytes_written.to_string(),
        total.chunks.to_string(),
        total.connections.to_string(),
        total.refused.to_string(),
    ]);
    console::print(&table.to_string());
    if idle > 0 {
        console::print(&format!("{idle} directions carried nothing"));
    }
    console::print(&format!(
        "{} nodes for {seconds:.1} s; {acts} beginnings and ends of acts",
        traffic.nodes
    ));
}
