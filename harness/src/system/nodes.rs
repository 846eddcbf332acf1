//! Nodes made of a description: files and commands filled in, and their start, which waits until they are ready.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use octopus::{NodeFile, NodePlan, Octopus, Place, ProcessSpec, Signal, StopBy, interrupt};

use super::{
    System,
    description::{SignalName, Start},
    look::Looks,
    template::fill,
};
use crate::solution_log;

/// How often it is looked whether a node is ready.
const LOOK: Duration = Duration::from_millis(100);

impl System {
    /// Whether each of so many nodes has something to run.
    ///
    /// # Errors
    /// One has not.
    pub fn check_nodes(&self, nodes: usize) -> Result<()> {
        let has_one = |node| {
            let mut processes = self.description.processes.iter();
            processes.any(|process| process.is_on(node))
        };
        match (0..nodes).find(|&node| !has_one(node)) {
            Some(node) => bail!(
                "in the system {}: no [[process]] is on node {node}",
                self.name
            ),
            None => Ok(()),
        }
    }

    /// The node at a place, one of so many.
    pub fn node(&self, place: &Place, nodes: usize) -> NodePlan {
        let description = &self.description;
        let filled = |text: &String| fill(text, place, nodes);
        let mut files: Vec<NodeFile> = Vec::new();
        let written = description.files.iter();
        for file in written.filter(|file| file.is_on(place.node)) {
            let text = filled(&file.text).unwrap_or_default();
            match files
                .iter_mut()
                .find(|other| other.path == Path::new(&file.path))
            {
                Some(other) => other.text.push_str(&text),
                None => files.push(NodeFile {
                    path: file.path.clone().into(),
                    text,
                }),
            }
        }
        let environment = description.environment.iter();
        let environment: Vec<(String, String)> = environment
            .filter_map(|(name, value)| Some((name.clone(), filled(value)?)))
            .collect();
        let spec = |command: &[String]| {
            let (program, arguments) = command.split_first()?;
            let arguments = arguments.iter().filter_map(filled);
            Some(ProcessSpec {
                program: self.programs.get(program)?.clone(),
                arguments: arguments.map(Into::into).collect(),
                environment: environment.clone(),
                user: description.user,
            })
        };
        let processes = description.processes.iter();
        let processes = processes.filter(|process| process.is_on(place.node));
        let stop = description.stop.as_ref();
        let command = stop.and_then(|stop| spec(stop.command.as_ref()?));
        let signal = stop.and_then(|stop| stop.signal);
        NodePlan {
            processes: processes
                .filter_map(|process| spec(&process.command))
                .collect(),
            files,
            owner: description.user,
            stop: match command {
                Some(command) => StopBy::Command(Box::new(command)),
                None => StopBy::Signal(signal.map_or(Signal::TERM, SignalName::signal)),
            },
            ..NodePlan::in_folder(place.folder.clone())
        }
    }

    /// Starts the nodes and waits until they are ready.
    ///
    /// # Errors
    /// One is not within its time, or has ended by itself.
    pub fn start(&self, octopus: &Octopus, places: &[Place]) -> Result<()> {
        let in_turn = self.description.start == Start::InTurn;
        let nodes = places.len();
        for place in places {
            octopus.start_one(place.node)?;
            if in_turn {
                self.wait_for(octopus, place, nodes)?;
            }
        }
        places
            .iter()
            .try_for_each(|place| self.wait_for(octopus, place, nodes))
    }

    fn wait_for(&self, octopus: &Octopus, place: &Place, nodes: usize) -> Result<()> {
        let Some(ready) = &self.description.ready else {
            return Ok(());
        };
        let node = place.node;
        let machine = octopus.machine(node).context("a system needs machines")?;
        let looks = Looks::new(
            ready.port,
            ready.command.as_ref(),
            &self.programs,
            place,
            nodes,
        );
        let start = Instant::now();
        loop {
            interrupt::check()?;
            if let Some((node, status)) = octopus.exited()?.first() {
                bail!(
                    "node {node} ended by itself with {status} before it was ready{}",
                    last_words(place)
                );
            }
            let Some(why) = looks.what_is_wrong(machine) else {
                return Ok(());
            };
            if start.elapsed() > ready.within {
                bail!(
                    "node {node} is not ready after {:?}: {why}{}",
                    ready.within,
                    last_words(place)
                );
            }
            thread::sleep(LOOK);
        }
    }
}

/// What the nodes said last, each line on one of its own.
fn last_words(place: &Place) -> String {
    let log = place.folder.with_extension("log");
    let said = solution_log::last_lines(&log);
    let lines = said.iter().flat_map(|line| ["\n  ", line.as_str()]);
    lines.collect()
}
