//! The nodes: real processes, each a group of its own, that are started, stopped, killed and
//! started again, and whose output is collected.
//!
//! Freezes and kills are counted, as several monkeys may have their hands on one node: it runs
//! again only when both counts are back at 0. SIGSTOP and SIGKILL go to the whole group and cannot
//! be caught.

mod disk;
mod output;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};

use crate::{
    network::NodeId,
    process::{ProcessGroup, Signal},
};

pub use disk::SmallDisk;
use output::Collector;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder that it runs in, which exists.
    pub folder: PathBuf,
}

/// What a node does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It runs.
    Running,
    /// It is stopped.
    Frozen,
    /// It was killed and is not started again yet.
    Killed,
    /// It ended by itself.
    Exited,
}

impl NodeState {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Killed => "killed",
            Self::Exited => "exited",
        }
    }
}

/// The nodes of a simulation. Dropping them kills them.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Mutex<Node>>,
    output: Collector,
}

#[derive(Debug)]
struct Node {
    spec: NodeSpec,
    process: Option<ProcessGroup>,
    disk: Option<SmallDisk>,
    freezes: u32,
    kills: u32,
    /// How many times it was killed in all.
    killed: u64,
    exited: Option<ExitStatus>,
}

impl Nodes {
    /// Nodes that are not started yet. Their output goes to `ROOT/nodeI.log`, and with `echo` to
    /// stderr too, each line with its node in front.
    pub fn new(specs: Vec<NodeSpec>, root: &Path, echo: bool) -> Self {
        let node = |spec| {
            Mutex::new(Node {
                spec,
                process: None,
                disk: None,
                freezes: 0,
                kills: 0,
                killed: 0,
                exited: None,
            })
        };
        Self {
            nodes: specs.into_iter().map(node).collect(),
            output: Collector::new(root, echo),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Gives a node's folder a file system of its own that can be filled up.
    pub fn give_disk(&self, node: NodeId, disk: SmallDisk) {
        self.lock(node).disk = Some(disk);
    }

    /// Starts them, one right after the other.
    pub fn start(&self) -> Result<()> {
        for node in 0..self.count() {
            let mut guard = self.lock(node);
            self.launch(node, &mut guard).with_context(|| {
                let program = guard.spec.program.display();
                format!("cannot start node {node} ({program})")
            })?;
        }
        Ok(())
    }

    /// Stops a node once more.
    pub fn freeze(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.freezes += 1;
        match &guard.process {
            Some(process) if guard.freezes == 1 => process.signal(Signal::STOP),
            _ => Ok(()),
        }
    }

    /// Takes one freeze back.
    pub fn thaw(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.freezes = guard.freezes.saturating_sub(1);
        self.run_again(node, &mut guard)
    }

    /// Kills a node once more.
    pub fn kill(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.kills += 1;
        // One that ended by itself, just before, stays that way: it must not be hidden.
        if guard.has_exited()? {
            return Ok(());
        }
        if let Some(mut process) = guard.process.take() {
            guard.killed += 1;
            process.kill()?;
        }
        Ok(())
    }

    /// Takes one kill back.
    pub fn revive(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.kills = guard.kills.saturating_sub(1);
        self.run_again(node, &mut guard)
    }

    /// Fills a node's disk, or makes room on it again.
    pub fn set_disk_full(&self, node: NodeId, full: bool) -> io::Result<()> {
        match &mut self.lock(node).disk {
            Some(disk) if full => disk.fill(),
            Some(disk) => disk.free(),
            None => Ok(()),
        }
    }

    /// What a node does at the moment.
    pub fn state(&self, node: NodeId) -> NodeState {
        let guard = self.lock(node);
        match &guard.process {
            _ if guard.exited.is_some() => NodeState::Exited,
            None => NodeState::Killed,
            Some(_) if guard.freezes > 0 => NodeState::Frozen,
            Some(_) => NodeState::Running,
        }
    }

    /// How many times a node was killed: who sees the number change knows why an answer broke off.
    pub fn killed(&self, node: NodeId) -> u64 {
        self.lock(node).killed
    }

    /// The nodes that ended by themselves, with their status. Looks afresh.
    pub fn exited(&self) -> io::Result<Vec<(NodeId, ExitStatus)>> {
        let mut found = Vec::new();
        for node in 0..self.count() {
            let mut guard = self.lock(node);
            if guard.has_exited()?
                && let Some(status) = guard.exited
            {
                found.push((node, status));
            }
        }
        Ok(found)
    }

    /// Kills them all, and waits until their output is collected.
    pub fn stop(&self) {
        for node in 0..self.count() {
            let mut guard = self.lock(node);
            // A guard that goes kills its process.
            guard.process = None;
        }
        self.output.finish();
    }

    fn run_again(&self, node: NodeId, guard: &mut Node) -> io::Result<()> {
        if guard.freezes > 0 || guard.kills > 0 || guard.exited.is_some() {
            return Ok(());
        }
        match &guard.process {
            Some(process) => process.signal(Signal::CONT),
            None => self.launch(node, guard),
        }
    }

    fn launch(&self, node: NodeId, guard: &mut Node) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&guard.spec.program);
        command
            .args(&guard.spec.arguments)
            .current_dir(&guard.spec.folder)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        guard.process = Some(ProcessGroup::spawn(&mut command)?);
        // The command holds our copies of the writing end: the reader would never see its end.
        drop(command);
        self.output.collect(node, reader)
    }

    fn lock(&self, node: NodeId) -> MutexGuard<'_, Node> {
        self.nodes[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn has_exited(&mut self) -> io::Result<bool> {
        if self.exited.is_none()
            && let Some(process) = &mut self.process
        {
            self.exited = process.try_wait()?;
        }
        Ok(self.exited.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::WorkDir;
    use std::time::{Duration, Instant};

    fn shells(script: &str, root: &WorkDir) -> Nodes {
        let spec = NodeSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: root.path().to_owned(),
        };
        Nodes::new(vec![spec], root.path(), false)
    }

    fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
        let start = Instant::now();
        while !happened() {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn log(root: &WorkDir) -> String {
        std::fs::read_to_string(root.path().join("node0.log")).unwrap_or_default()
    }

    /// The state letter of a process: `T` is stopped.
    #[cfg(target_os = "linux")]
    fn letter(nodes: &Nodes) -> String {
        let id = nodes.lock(0).process.as_ref().unwrap().id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap()[..1].to_owned()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_freeze_really_stops_and_needs_as_many_thaws() {
        let root = WorkDir::temporary().unwrap();
        let nodes = shells("while :; do :; done", &root);
        nodes.start().unwrap();
        nodes.freeze(0).unwrap();
        nodes.freeze(0).unwrap();
        wait_for("stopped", || letter(&nodes) == "T");
        assert_eq!(nodes.state(0), NodeState::Frozen);
        nodes.thaw(0).unwrap();
        assert_eq!(letter(&nodes), "T");
        nodes.thaw(0).unwrap();
        wait_for("running", || letter(&nodes) != "T");
    }

    #[test]
    fn a_murdered_node_comes_back_when_nothing_holds_it() {
        let root = WorkDir::temporary().unwrap();
        let nodes = shells("echo born; trap '' TERM; while :; do sleep 1; done", &root);
        nodes.start().unwrap();
        wait_for("first life", || log(&root).lines().count() == 1);
        nodes.freeze(0).unwrap();
        nodes.kill(0).unwrap();
        assert_eq!(nodes.state(0), NodeState::Killed);
        assert_eq!(nodes.killed(0), 1);
        nodes.revive(0).unwrap();
        assert_eq!(nodes.state(0), NodeState::Killed, "it is still frozen");
        nodes.thaw(0).unwrap();
        wait_for("second life", || log(&root).lines().count() == 2);
        assert!(
            nodes.exited().unwrap().is_empty(),
            "a murder is no exit of its own"
        );
        nodes.stop();
    }

    #[test]
    fn an_exit_of_its_own_is_seen_even_with_status_zero() {
        let root = WorkDir::temporary().unwrap();
        let nodes = shells("echo bye; exit 0", &root);
        nodes.start().unwrap();
        wait_for("exit", || !nodes.exited().unwrap().is_empty());
        nodes.kill(0).unwrap();
        nodes.revive(0).unwrap();
        assert_eq!(nodes.state(0), NodeState::Exited);
        nodes.stop();
        assert_eq!(log(&root), "bye\n");
    }
}
