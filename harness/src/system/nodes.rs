//! Nodes made of a description: files laid out, commands filled in, and a look whether a node is ready.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use octopus::{
    Machine, MachineAddress, NodeId, NodePlan, Octopus, Place, ProcessGroup, ProcessSpec, interrupt,
};

use super::{
    System,
    description::{Ready, Start, is_on},
    template::fill,
};
use crate::solution_log;

/// How often it is looked whether a node is ready.
const LOOK: Duration = Duration::from_millis(100);

/// How long one look may take.
const ONE_LOOK: Duration = Duration::from_secs(5);

impl System {
    /// The node at a place, one of so many; its files are written.
    pub fn node(&self, place: &Place, nodes: usize) -> Result<NodePlan> {
        let description = &self.description;
        let filled = |text: &String| fill(text, place, nodes);
        let files = description.files.iter();
        for file in files.filter(|file| is_on(file.on.as_ref(), place.node)) {
            let path = place.folder.join(&file.path);
            let text = filled(&file.text).unwrap_or_default();
            append(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(user) = description.user {
            give(&place.folder, user)
                .with_context(|| format!("cannot give {} away", place.folder.display()))?;
        }
        let environment: Vec<(String, String)> = description
            .environment
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), filled(value)?)))
            .collect();
        let processes = description.processes.iter();
        let processes = processes.filter(|process| is_on(process.on.as_ref(), place.node));
        let processes = processes.filter_map(|process| {
            let (program, arguments) = process.command.split_first()?;
            Some(ProcessSpec {
                program: self.programs.get(program)?.clone(),
                arguments: arguments
                    .iter()
                    .filter_map(filled)
                    .map(Into::into)
                    .collect(),
                environment: environment.clone(),
                user: description.user,
            })
        });
        Ok(NodePlan {
            folder: place.folder.clone(),
            processes: processes.collect(),
            machine: None,
        })
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
        let start = Instant::now();
        loop {
            interrupt::check()?;
            if let Some((node, status)) = octopus.exited()?.first() {
                bail!(
                    "node {node} ended by itself with {status} before it was ready{}",
                    last_words(place)
                );
            }
            if is_ready(ready, machine, place, nodes)? {
                return Ok(());
            }
            if start.elapsed() > ready.within {
                bail!(
                    "node {node} is not ready after {:?}{}",
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

fn is_ready(ready: &Ready, machine: &Machine, place: &Place, nodes: usize) -> Result<bool> {
    let looks = (
        port_of(place.node, ready.port),
        command_of(ready, place, nodes),
    );
    let look = move || {
        let (port, command) = looks;
        let takes = port.is_none_or(|at| TcpStream::connect_timeout(&at, ONE_LOOK).is_ok());
        takes && command.is_none_or(|mut command| succeeds(&mut command))
    };
    machine.run(look).context("cannot look at a machine")
}

fn port_of(node: NodeId, port: Option<u16>) -> Option<SocketAddr> {
    port.map(|port| (MachineAddress::of_node(node).v4, port).into())
}

fn command_of(ready: &Ready, place: &Place, nodes: usize) -> Option<Command> {
    let words = ready.command.as_ref()?.iter();
    let mut words = words.filter_map(|word| fill(word, place, nodes));
    let mut command = Command::new(words.next()?);
    command
        .args(words)
        .current_dir(&place.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Some(command)
}

fn succeeds(command: &mut Command) -> bool {
    let Ok(mut group) = ProcessGroup::spawn(command) else {
        return false;
    };
    let status = group.wait_for(ONE_LOOK).ok().flatten();
    status.is_some_and(|status| status.success())
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// Makes everything in a folder, and itself, a user's own.
fn give(folder: &Path, user: u32) -> std::io::Result<()> {
    chown(folder, Some(user), Some(user))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), user)?;
        } else {
            chown(entry.path(), Some(user), Some(user))?;
        }
    }
    Ok(())
}
