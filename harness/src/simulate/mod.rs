//! `harness network`: any program on the flaky network.

mod args;

use std::{thread, time::Duration};

use anyhow::Result;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

pub use args::Args;

use crate::{console, dry_run, live::Screen, output_file};
use octopus::{
    Config, Event, MonkeySettings, NodeSpec, Octopus, Progress, Schedule, Traffic, Transport,
    WorkDir, interrupt, pairs,
};

/// How often the state of a run is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How often it is recorded.
const SAMPLE_US: u64 = 250_000;

/// Runs the program on the network; whether every node that ended by itself did so with status 0.
pub fn run(args: &Args) -> Result<bool> {
    let monkeys = args.monkey_settings()?;
    let nodes = usize::from(args.nodes);
    if args.dry_run {
        print_schedule(args, nodes, &monkeys);
        return Ok(true);
    }
    if let Some(path) = &args.events {
        output_file::check("the events", path)?;
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
    let mut octopus = Octopus::new(&config, workdir.path(), |place| NodeSpec {
        program: command.program.clone(),
        arguments: command.arguments(place),
        folder: place.folder.clone(),
    })?;
    octopus.start()?;
    octopus.start_monkeys(Progress::default)?;
    let exits = watch(args, &octopus, &mut screen)?;
    let log = octopus.log().clone();
    let seconds = log.elapsed().as_secs_f64();
    let acts = log.count(|event| matches!(event, Event::Act(_)));
    let traffic = octopus.stop()?;
    log.record("end", json!({ "links": traffic }));
    print_report(&traffic, seconds, acts);
    let mut well = true;
    for (node, status) in exits {
        well &= status.success();
        console::print(&format!("node {node} ended by itself: {status}"));
    }
    if let Some(path) = &args.events {
        log.write(path)?;
    }
    if !well {
        console::log(&format!(
            "network: the nodes' files are kept in {}",
            workdir.keep().display()
        ));
    }
    interrupt::check()?;
    Ok(well)
}

/// Waits until the time is over, or every node has ended by itself.
fn watch(
    args: &Args,
    octopus: &Octopus,
    screen: &mut Screen,
) -> Result<Vec<(usize, std::process::ExitStatus)>> {
    let log = octopus.log();
    let mut next_sample_us = 0;
    loop {
        octopus.check()?;
        if interrupt::requested() {
            return Ok(Vec::new());
        }
        let exits = octopus.exited()?;
        if exits.len() == octopus.nodes().count() || log.elapsed() >= args.duration {
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
    for pair in pairs(traffic.nodes) {
        for (from, to) in [(pair.low(), pair.high()), (pair.high(), pair.low())] {
            let direction = traffic.between(from, to);
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
    console::print(&format!(
        "{} nodes for {seconds:.1} s; {acts} beginnings and ends of acts",
        traffic.nodes
    ));
}
