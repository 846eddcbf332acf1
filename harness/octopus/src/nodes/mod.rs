//! The nodes: real processes, each a group of its own, that are started, stopped, killed and
//! started again, and whose output is collected.
//!
//! `lifecycle` decides what becomes of a node, here it is done to the process. SIGSTOP and SIGKILL
//! go to the whole group and cannot be caught.

mod disk;
mod folder;
mod lifecycle;
mod limits;
mod output;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::{Doing, Error},
    events::NodeNow,
    network::NodeId,
    process::{self, ProcessGroup, Signal},
    rootless,
    sandbox::Cgroup,
};

pub use disk::SmallDisk;
use folder::Kept;
pub(crate) use lifecycle::{Deed, Lifecycle};
pub use limits::NodeLimits;
use output::Collector;
pub use output::Echo;
pub use plan::{NodeFile, NodePlan, NodeSpec, ProcessSpec, StopBy};

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
    /// What is to stay in its folder; none before its first start.
    kept: Option<Kept>,
    /// A program that asks it to end.
    stopping: Option<ProcessGroup>,
    /// It has ended as it was asked to, which nobody has heard of yet.
    has_ended: bool,
    /// What its clock is to show at its next start, if that is to be changed.
    clock_s: Option<u64>,
    /// Where the kernel counts what it uses.
    group: Option<Cgroup>,
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
                kept: None,
                stopping: None,
                has_ended: false,
                clock_s: None,
                group: None,
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
        let mut have_machines = false;
        for &node in nodes {
            let mut guard = self.lock(node);
            guard.look()?;
            if guard.life.kill() == Deed::Kill {
                dying.append(&mut guard.processes);
                have_machines |= guard.plan.machine.is_some();
            }
        }
        if have_machines {
            process::kill_with_strays(dying)
        } else {
            process::kill_together(dying)
        }
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

    /// Asks a node to end, once more; taken back by [`revive`](Self::revive), which kills what has not ended.
    pub fn shut_down(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        guard.look()?;
        let deed = guard.life.shut_down();
        self.perform(node, &mut guard, deed)
    }

    /// Empties the folder of a node that was killed, but for what it finds there at its first start. What one that
    /// has ended by itself has left stays to be looked at.
    pub fn wipe(&self, node: NodeId) -> io::Result<()> {
        let mut guard = self.lock(node);
        match guard.life.state() {
            NodeState::Killed => guard.wipe(),
            _ => Ok(()),
        }
    }

    /// Sets the monotonic clock that a node with a machine finds at its next start, in seconds.
    pub fn set_clock(&self, node: NodeId, at_s: u64) {
        self.lock(node).clock_s = Some(at_s);
    }

    /// The nodes that have ended, as they were asked to, since this was asked last.
    pub fn ended_as_asked(&self) -> Vec<NodeId> {
        let has_ended = |node: &NodeId| std::mem::take(&mut self.lock(*node).has_ended);
        (0..self.count()).filter(has_ended).collect()
    }

    /// Whether a node was asked to end, and has not yet.
    pub fn is_ending(&self, node: NodeId) -> bool {
        self.lock(node).life.is_ending()
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
        let dying = (0..self.count()).flat_map(|node| {
            let mut guard = self.lock(node);
            let stopping = guard.stopping.take();
            let processes = std::mem::take(&mut guard.processes);
            processes.into_iter().chain(stopping)
        });
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
                guard.processes.iter().try_for_each(ProcessGroup::stop)?;
                guard.tell_strays(Signal::STOP);
                Ok(())
            }
            Deed::Continue => {
                guard.tell_strays(Signal::CONT);
                let tell = |process: &ProcessGroup| process.signal(Signal::CONT);
                guard.processes.iter().try_for_each(tell)
            }
            Deed::Launch => self.launch(node, guard),
            Deed::Relaunch => {
                guard.kill()?;
                self.launch(node, guard)
            }
            Deed::Ask => self.ask_to_end(node, guard),
            Deed::Kill | Deed::Nothing => Ok(()),
        }
    }

    fn launch(&self, node: NodeId, guard: &mut Node) -> io::Result<()> {
        guard.stopping = None;
        guard.has_ended = false;
        if guard.kept.is_none() {
            guard.kept = Some(Kept::now(&guard.plan.folder)?);
            folder::lay_out(&guard.plan)?;
            guard.group = guard.plan.limits.group();
        }
        if let (Some(at_s), Some(machine)) = (guard.clock_s.take(), &guard.plan.machine) {
            machine.set_clock(at_s)?;
        }
        for place in 0..guard.plan.processes.len() {
            let spec = &guard.plan.processes[place];
            let process = self.spawn(node, guard, spec)?;
            guard.processes.push(process);
        }
        Ok(())
    }

    fn ask_to_end(&self, node: NodeId, guard: &mut Node) -> io::Result<()> {
        match &guard.plan.stop {
            StopBy::Signal(signal) => {
                let tell = |process: &ProcessGroup| process.signal(*signal);
                guard.processes.iter().try_for_each(tell)
            }
            StopBy::Command(spec) => {
                guard.stopping = Some(self.spawn(node, guard, spec)?);
                Ok(())
            }
        }
    }

    /// Starts a process on a node's machine, in its folder.
    fn spawn(&self, node: NodeId, of: &Node, spec: &ProcessSpec) -> io::Result<ProcessGroup> {
        let plan = &of.plan;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&plan.folder)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        if let Some(user) = spec.user {
            rootless::run_as(&mut command, user);
        }
        plan.limits.put_on(&mut command, of.group.as_ref())?;
        // The command holds our copies of the writing end: with them the reader would never see its
        // end, so it goes as soon as it has done its work.
        let mut spawn = move || ProcessGroup::spawn(&mut command);
        let process = match &plan.machine {
            Some(machine) => machine.run(spawn)??,
            None => spawn()?,
        };
        self.output.collect(node, reader)?;
        Ok(process)
    }

    fn lock(&self, node: NodeId) -> MutexGuard<'_, Node> {
        self.nodes[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Looks whether it has ended by itself, or as it was asked to.
    fn look(&mut self) -> io::Result<()> {
        if let Some(stopping) = &mut self.stopping {
            // Reaped; whether it could ask is seen by whether the node ends.
            stopping.try_wait()?;
        }
        if self.life.is_ending() {
            return self.look_whether_all_have_ended();
        }
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

    /// On a machine any program runs, and some have workers that lead groups of their own.
    fn tell_strays(&self, signal: Signal) {
        if self.plan.machine.is_some() {
            process::signal_strays(&self.processes, signal);
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        let processes = std::mem::take(&mut self.processes);
        match self.plan.machine {
            Some(_) => process::kill_with_strays(processes),
            None => process::kill_together(processes),
        }
    }

    /// Each process of a node that was asked to end may take its time.
    fn look_whether_all_have_ended(&mut self) -> io::Result<()> {
        for process in &mut self.processes {
            if process.try_wait()?.is_none() {
                return Ok(());
            }
        }
        self.processes.clear();
        self.life.exit();
        self.has_ended = true;
        Ok(())
    }

    fn wipe(&mut self) -> io::Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let full = self.fillings > 0;
        // Its own files need room.
        if let Some(disk) = self.disk.as_mut().filter(|_| full) {
            disk.free()?;
        }
        folder::empty(&self.plan.folder, kept)?;
        folder::lay_out(&self.plan)?;
        match self.disk.as_mut().filter(|_| full) {
            Some(disk) => disk.fill(),
            None => Ok(()),
        }
    }
}
