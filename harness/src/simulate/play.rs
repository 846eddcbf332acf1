//! One run: nodes are started, monkeys and clients let loose, and everything is taken down again.

use std::{cell::RefCell, path::Path, process::ExitStatus, sync::Arc, thread, time::Duration};

use anyhow::Result;
use serde_json::json;

use super::{
    Args, Program,
    ctl::Ctl,
    judged::{Asking, Judgement, progress},
    traffic,
};
use crate::{
    console,
    live::Screen,
    traced::{self, Traced},
    workload::{ClientSettings, Recorder},
};
use octopus::trace::Header;
use octopus::{
    Config, Event, EventLog, MonkeySettings, NodePlan, NodeSpec, Octopus, Place, Progress,
    Schedule, interrupt,
};

/// How often the state of a run is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How often it is recorded.
const SAMPLE_US: u64 = 250_000;

/// What is left of a run.
pub(super) struct Played {
    pub log: Arc<EventLog>,
    /// The nodes that ended by themselves.
    pub exits: Vec<(usize, ExitStatus)>,
    /// Beginnings and ends of acts.
    pub acts: usize,
    /// The verdict on what clients saw, if there were any.
    pub judgement: Option<Judgement>,
    /// The nodes that had to be killed at the end, although they were asked to end.
    pub unstopped: Vec<usize>,
    /// How many times a script of the schedule has failed.
    pub scripts_failed: usize,
}

/// Runs it in a folder.
pub(super) fn play(
    args: &Args,
    program: &Program,
    clients: Option<ClientSettings>,
    monkeys: MonkeySettings,
    folder: &Path,
) -> Result<Played> {
    let nodes = program.nodes();
    let schedule = args.schedule(nodes, &monkeys)?;
    let mut screen = Screen::new("network", args.duration, args.plain);
    let config = Config {
        nodes,
        seed: args.seed,
        duration: args.duration,
        monkeys,
        transport: args.transport(),
        disk_bytes: args.monkeys.disk_bytes()?,
        echo: (!args.quiet).then(|| screen.echo()),
        scripts: args.monkeys.scripts().to_vec(),
        limits: args.machines.limits(),
    };
    let trace = args.trace.as_deref();
    let (mut octopus, places) = set_up(&config, schedule, folder, program, trace.is_some())?;
    let trace = trace.map(|folder| Traced::begin(folder, &octopus));
    let recorder = Arc::new(Recorder::new(Arc::clone(octopus.log())));
    let asking = start(args, program, clients, &octopus, &places, folder, &recorder)?;
    let system = program.system();
    let health = system.map(|system| system.watch_health(&octopus, &places));
    let health = health.transpose()?.flatten();
    let ctl = args.ctl.as_deref();
    let ctl = ctl
        .map(|socket| Ctl::listen(socket, &octopus))
        .transpose()?;
    let begun = octopus.log().elapsed();
    if asking.is_some() {
        let recorder = Arc::clone(&recorder);
        octopus.start_monkeys(move || progress(&recorder))?;
    } else {
        octopus.start_monkeys(Progress::default)?;
    }
    let mut stuck = None;
    if let Some(at) = args.judge.heal_at {
        look_after(begun + at, &octopus, &recorder, &mut screen)?;
        octopus.heal();
        let (asked, _) = recorder.newest();
        let by = at.saturating_add(args.judge.recover_within);
        // What is later than the end is decided there.
        if by < args.duration {
            look_after(begun + by, &octopus, &recorder, &mut screen)?;
            let (_, answered) = recorder.newest();
            stuck = (answered <= asked).then_some(args.judge.recover_within);
        }
    }
    let mut exits = look_after(begun + args.duration, &octopus, &recorder, &mut screen)?;
    let judgement = asking.map(|asking| {
        octopus.heal();
        ctl.iter().for_each(Ctl::heal);
        let words = json!({ "text": "the clients ask what decides" });
        octopus.log().record("probe", words);
        let within = args.judge.recover_within;
        asking.finish(&octopus, &recorder, health, within, stuck)
    });
    drop(ctl);
    // Who interrupts us may have ended the nodes as well.
    if judgement.is_some() && !interrupt::requested() {
        exits = octopus.exited()?;
    }
    if let (Some(path), Some(judgement)) = (&args.judge.history, &judgement) {
        judgement.write(path)?;
    }
    let unstopped = match system.and_then(|system| system.description.stop.as_ref()) {
        Some(stop) if !interrupt::requested() => octopus.shut_down(stop.within)?,
        _ => Vec::new(),
    };
    let failed_scripts = octopus.failed_scripts();
    let scripts_failed = failed_scripts.len();
    for (line, times) in counted(failed_scripts) {
        console::print(&match times {
            1 => line,
            _ => format!("{line} ({times} times)"),
        });
    }
    let log = octopus.log().clone();
    let seconds = log.elapsed().as_secs_f64();
    let acts = log.count(|event| matches!(event, Event::Act(_)));
    let carried = octopus.stop()?;
    let history = judgement.as_ref().map(Judgement::told);
    log.record("end", json!({ "links": carried, "history": history }));
    if let Some(trace) = trace {
        let header = Header {
            title: Some(format!("{nodes} nodes on a network, seed {}", args.seed)),
            ..Header::default()
        };
        trace.write(header, folder, &log)?;
    }
    traffic::print(&carried, nodes, seconds, acts);
    for (node, status) in &exits {
        console::print(&format!("node {node} ended by itself: {status}"));
    }
    Ok(Played {
        log,
        exits,
        acts,
        judgement,
        unstopped,
        scripts_failed,
    })
}

/// Network and nodes, which are not started yet, and where each is.
fn set_up(
    config: &Config,
    schedule: Schedule,
    folder: &Path,
    program: &Program,
    is_traced: bool,
) -> Result<(Octopus, Vec<Place>)> {
    let places: RefCell<Vec<Place>> = RefCell::default();
    let octopus = Octopus::with_schedule(config, schedule, folder, |place| {
        places.borrow_mut().push(place.clone());
        let share = is_traced.then(|| traced::share(folder, place.node));
        plan(program, place, config.nodes, share.as_deref())
    })?;
    Ok((octopus, places.take()))
}

/// Starts the nodes, waits until they are ready, and lets clients begin, if there are any.
fn start(
    args: &Args,
    program: &Program,
    clients: Option<ClientSettings>,
    octopus: &Octopus,
    places: &[Place],
    folder: &Path,
    recorder: &Arc<Recorder>,
) -> Result<Option<Asking>> {
    match program {
        Program::Command(..) => octopus.start()?,
        Program::System(system, _) => system.start(octopus, places)?,
    }
    if !args.judge.has_clients() {
        return Ok(None);
    }
    let command = args.judge.workload_command.as_deref();
    Asking::start(clients, command, octopus, folder, recorder).map(Some)
}

/// How a node is started; a command is told where to write its share of a trace, if it is to.
fn plan(program: &Program, place: &Place, nodes: usize, share: Option<&Path>) -> NodePlan {
    match program {
        Program::System(system, _) => system.node(place, nodes),
        Program::Command(command, _) => {
            let told = share.into_iter().flat_map(traced::told);
            let program = command.program.clone().into_os_string();
            let mut words = told.chain([program]).chain(command.arguments(place, nodes));
            NodeSpec {
                program: words.next().unwrap_or_default().into(),
                arguments: words.collect(),
                folder: place.folder.clone(),
            }
            .into()
        }
    }
}

/// Lines and how often each is there, in the order of their first.
fn counted(lines: Vec<String>) -> Vec<(String, usize)> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match counted.iter_mut().find(|(other, _)| *other == line) {
            Some((_, times)) => *times += 1,
            None => counted.push((line, 1)),
        }
    }
    counted
}

/// Waits until a time of the log, or until every node has ended by itself.
fn look_after(
    until: Duration,
    octopus: &Octopus,
    recorder: &Recorder,
    screen: &mut Screen,
) -> Result<Vec<(usize, ExitStatus)>> {
    let log = octopus.log();
    let mut next_sample_us = log.now_us();
    let facts = || {
        let (answered, not_done, unknown) = recorder.counts();
        if answered + not_done + unknown == 0 {
            return Vec::new();
        }
        vec![
            format!("{answered} answered"),
            format!("{not_done} not done"),
            format!("{unknown} unknown"),
        ]
    };
    loop {
        octopus.check()?;
        if interrupt::requested() {
            return Ok(Vec::new());
        }
        let exits = octopus.exited()?;
        if exits.len() == octopus.nodes().count() || log.elapsed() >= until {
            // The last state stays on the screen.
            screen.show(octopus, facts());
            return Ok(exits);
        }
        if log.now_us() >= next_sample_us {
            next_sample_us += SAMPLE_US;
            octopus.sample(json!({}));
            screen.show(octopus, facts());
        }
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_the_same_are_one() {
        let lines = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(counted(lines), [("b".to_owned(), 2), ("a".to_owned(), 1)]);
    }
}
