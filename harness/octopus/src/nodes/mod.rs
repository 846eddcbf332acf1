//! The nodes: real processes, each a group of its own, that are started, stopped, killed and
//! started again, and whose output is collected.
//!
//! `lifecycle` decides what becomes of a node, here it is done to the process. SIGSTOP and SIGKILL
//! go to the whole group and cannot be caught.

mod disk;
mod lifecycle;
mod output;

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::{Doing, Error},
    events::NodeNow,
    machines::Machine,
    network::NodeId,
    process::{self, ProcessGroup, Signal},
};

pub use disk::SmallDisk;
pub(crate) use lifecycle::{Deed, Lifecycle};
use output::Collector;
pub use output::Echo;

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

/// A process of a node.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables in its environment, besides ours.
    pub environment: Vec<(String, String)>,
    /// The user and group that it runs as, if not as we do; that takes the rights of root.
    pub user: Option<u32>,
}

/// A node in full: several processes that live and die together, and the machine that they are on.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The folder that they run in, which exists.
    pub folder: PathBuf,
    /// They are started in this order.
    pub processes: Vec<ProcessSpec>,
    /// Where they run, if not where we do.
    pub machine: Option<Arc<Machine>>,
}

impl From<NodeSpec> for NodePlan {
    fn from(spec: NodeSpec) -> Self {
        Self {
            folder: spec.folder,
            processes: vec![ProcessSpec {
                program: spec.program,
                arguments: spec.arguments,
                environment: Vec::new(),
                user: None,
            }],
            machine: None,
        }
    }
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
    plan: NodePlan,
    life: Lifecycle,
    /// Empty while it is dead.
    processes: Vec<ProcessGroup>,
    disk: Option<SmallDisk>,
    /// How often its disk was filled and not yet freed.
    fillings: u32,
    exited: Option<ExitStatus>,
}

impl Nodes {
    /// Nodes that are not started yet. Their output goes to `ROOT/nodeI.log`, and to `echo`, line
    /// by line.
    pub fn new(plans: Vec<NodePlan>, root: &Path, echo: Option<Echo>) -> Self {
        let node = |plan| {
            Mutex::new(Node {
                plan,
                life: Lifecycle::default(),
                processes: Vec::new(),
                disk: None,
                fillings: 0,
                exited: None,
            })
        };
        Self {
            nodes: plans.into_iter().map(node).collect(),
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
    pub fn start(&self) -> Result<(), Error> {
        (0..self.count()).try_for_each(|node| self.start_one(node))
    }

    /// Starts one of them.
    pub fn start_one(&self, node: NodeId) -> Result<(), Error> {
        let mut guard = self.lock(node);
        let deed = guard.life.start();
        self.perform(node, &mut guard, deed).doing(|| {
            let programs = guard
                .plan
                .processes
                .iter()
                .map(|process| process.program.display().to_string());
            let programs: Vec<String> = programs.collect();
            format!("cannot start node {node} ({})", programs.join(", "))
        })
    }

    /// Stops a node once more.
    pub fn freeze(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        let deed = guard.life.freeze();
        self.perform(node, &mut guard, deed)
    }

    /// Takes one freeze back.
    pub fn thaw(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        let deed = guard.life.thaw();
        self.perform(node, &mut guard, deed)
    }

    /// Kills nodes once more: all are signalled before the end of any is waited for.
    pub fn kill(&self, nodes: &[NodeId]) -> io::Result<()> {
        let mut dying = Vec::new();
        for &node in nodes {
            let mut guard = self.lock(node);
            guard.look()?;
            if guard.life.kill() == Deed::Kill {
                dying.append(&mut guard.processes);
            }
        }
        process::kill_together(dying)
    }

    /// Takes one kill of each of them back.
    pub fn revive(&self, nodes: &[NodeId]) -> io::Result<()> {
        for &node in nodes {
            let mut guard = self.lock(node);
            let deed = guard.life.revive();
            self.perform(node, &mut guard, deed)?;
        }
        Ok(())
    }

    /// Fills a node's disk once more.
    pub fn fill_disk(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.fillings += 1;
        let first = guard.fillings == 1;
        match &mut guard.disk {
            Some(disk) if first => disk.fill(),
            _ => Ok(()),
        }
    }

    /// Takes one filling back; the last one makes room.
    pub fn free_disk(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        if guard.fillings == 0 {
            return Ok(());
        }
        guard.fillings -= 1;
        let last = guard.fillings == 0;
        match &mut guard.disk {
            Some(disk) if last => disk.free(),
            _ => Ok(()),
        }
    }

    /// Whether a node's disk is full.
    pub fn disk_is_full(&self, node: NodeId) -> bool {
        self.lock(node).fillings > 0
    }

    /// What a node does at the moment.
    pub fn state(&self, node: NodeId) -> NodeState {
        self.lock(node).life.state()
    }

    /// What a node does at the moment, with its process.
    pub fn now(&self, node: NodeId) -> NodeNow {
        let guard = self.lock(node);
        NodeNow {
            node,
            state: guard.life.state(),
            incarnation: guard.life.incarnation(),
            pid: guard.processes.first().map(ProcessGroup::id),
        }
    }

    /// How many times a node was killed: who sees the number change knows why an answer broke off.
    pub fn killed(&self, node: NodeId) -> u64 {
        self.lock(node).life.killed()
    }

    /// The nodes that ended by themselves, with their status. Looks afresh.
    pub fn exited(&self) -> io::Result<Vec<(NodeId, ExitStatus)>> {
        let mut found = Vec::new();
        for node in 0..self.count() {
            let mut guard = self.lock(node);
            guard.look()?;
            found.extend(guard.exited.map(|status| (node, status)));
        }
        Ok(found)
    }

    /// Kills them all, and waits until their output is collected.
    pub fn stop(&self) {
        let dying =
            (0..self.count()).flat_map(|node| std::mem::take(&mut self.lock(node).processes));
        // Errors mean that processes are gone; that is what we want.
        let _gone = process::kill_together(dying.collect());
        // A daemon that hides its descent would hold the output open.
        process::evict(self.output.root());
        self.output.finish();
    }

    fn perform(&self, node: NodeId, guard: &mut Node, deed: Deed) -> io::Result<()> {
        match deed {
            // All are told before any is waited for.
            Deed::Stop => {
                let tell = |process: &ProcessGroup| process.signal(Signal::STOP);
                guard.processes.iter().try_for_each(tell)?;
                guard.processes.iter().try_for_each(ProcessGroup::stop)
            }
            Deed::Continue => {
                let tell = |process: &ProcessGroup| process.signal(Signal::CONT);
                guard.processes.iter().try_for_each(tell)
            }
            Deed::Launch => self.launch(node, guard),
            Deed::Kill | Deed::Nothing => Ok(()),
        }
    }

    fn launch(&self, node: NodeId, guard: &mut Node) -> io::Result<()> {
        for spec in &guard.plan.processes {
            let (reader, writer) = io::pipe()?;
            let mut command = Command::new(&spec.program);
            command
                .args(&spec.arguments)
                .envs(spec.environment.iter().map(|(name, value)| (name, value)))
                .current_dir(&guard.plan.folder)
                .stdin(Stdio::null())
                .stdout(writer.try_clone()?)
                .stderr(writer);
            if let Some(user) = spec.user {
                command.uid(user).gid(user);
            }
            // The command holds our copies of the writing end: with them the reader would never see its
            // end, so it goes as soon as it has done its work.
            let mut spawn = move || ProcessGroup::spawn(&mut command);
            let process = match &guard.plan.machine {
                Some(machine) => machine.run(spawn)??,
                None => spawn()?,
            };
            guard.processes.push(process);
            self.output.collect(node, reader)?;
        }
        Ok(())
    }

    fn lock(&self, node: NodeId) -> MutexGuard<'_, Node> {
        self.nodes[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Looks whether it has ended by itself.
    fn look(&mut self) -> io::Result<()> {
        for process in &mut self.processes {
            if self.exited.is_none() {
                self.exited = process.try_wait()?;
            }
        }
        // They live and die together: the others are no node without the one that ended.
        if self.exited.is_some() && !self.processes.is_empty() {
            self.life.exit();
            process::kill_together(std::mem::take(&mut self.processes))?;
        }
        Ok(())
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
        Nodes::new(vec![spec.into()], root.path(), None)
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
        let id = nodes.lock(0).processes[0].id();
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
        nodes.kill(&[0]).unwrap();
        assert_eq!(nodes.state(0), NodeState::Killed);
        assert_eq!(nodes.killed(0), 1);
        nodes.revive(&[0]).unwrap();
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
        nodes.kill(&[0]).unwrap();
        nodes.revive(&[0]).unwrap();
        assert_eq!(nodes.state(0), NodeState::Exited);
        nodes.stop();
        assert_eq!(log(&root), "bye\n");
    }
}
