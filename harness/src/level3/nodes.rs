//! The solution's nodes as processes: which they are, how much memory they used, and what can be
//! done to them.
//!
//! A node is a process of the solution's with `--id N` among its arguments: a descendant of the
//! process that the harness started, or a member of its group. Where the system does not show
//! processes as files (anything but Linux) there are none to be seen.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;

use crate::memory::peak_bytes;

/// Peak resident memory by node, in bytes, over all that was seen of it.
#[derive(Debug, Default)]
pub struct PeakMemory(BTreeMap<u32, u64>);

impl PeakMemory {
    /// Looks at the nodes below a process; the kernel keeps each one's peak, so this is done when
    /// one may be about to end, not all the time.
    pub fn look(&mut self, leader: u32) {
        for (node, process) in find(leader) {
            if let Some(bytes) = peak_bytes(process) {
                let peak = self.0.entry(node).or_default();
                *peak = bytes.max(*peak);
            }
        }
    }

    /// The peaks, by node.
    pub fn peaks(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.iter().map(|(&node, &bytes)| (node, bytes))
    }
}

/// The processes of the nodes, by their id.
pub fn find(leader: u32) -> BTreeMap<u32, u32> {
    let mut parents = HashMap::new();
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while it is looked at; then it is no node any more.
        let (Ok(status), Ok(arguments)) = (
            fs::read_to_string(entry.path().join("stat")),
            fs::read(entry.path().join("cmdline")),
        ) else {
            continue;
        };
        // After the name, which ends at the last parenthesis: state, parent, group.
        let fields = status.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut numbers = fields
            .split_whitespace()
            .skip(1)
            .map_while(|n| n.parse::<u32>().ok());
        if let (Some(parent), Some(group)) = (numbers.next(), numbers.next()) {
            parents.insert(id, parent);
            if let Some(node) = node_id(&arguments) {
                nodes.push((node, id, group));
            }
        }
    }
    let descends = |id: u32| {
        let mut at = Some(&id);
        // A chain of parents cannot be longer than there are processes.
        for _ in 0..parents.len() {
            match at {
                Some(&id) if id == leader => return true,
                Some(id) => at = parents.get(id),
                None => return false,
            }
        }
        false
    };
    let ours = nodes
        .into_iter()
        .filter(|&(_, id, group)| group == leader || descends(id));
    ours.map(|(node, id, _)| (node, id)).collect()
}

/// Whether a process is stopped, and how many bytes it has resident; none if it has ended.
pub fn now(process: u32) -> Option<(bool, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()
    };
    let state = field("State:")?;
    // One that has ended and was not waited for has no memory any more.
    let kibibytes: u64 = field("VmRSS:")?.parse().ok()?;
    Some((state.eq_ignore_ascii_case("T"), kibibytes * 1024))
}

/// The N of `--id N` (or `-id N`, or with an equals sign) in a command line.
fn node_id(arguments: &[u8]) -> Option<u32> {
    let mut arguments = arguments
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy);
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--").or(argument.strip_prefix('-')) else {
            continue;
        };
        if flag == "id" {
            return arguments.next()?.parse().ok();
        }
        if let Some(value) = flag.strip_prefix("id=") {
            return value.parse().ok();
        }
    }
    None
}

/// Sends a signal to a node; its process, if there was one.
pub fn signal(leader: u32, node: u32, signal: Signal) -> Option<u32> {
    let process = *find(leader).get(&node)?;
    let id = Pid::from_raw(process.cast_signed())?;
    kill_process(id, signal).is_ok().then_some(process)
}

/// Time that a slowed node runs between two stops: enough for a search or two.
const RUNS_FOR: Duration = Duration::from_micros(300);

/// A node that crawls: again and again it is stopped for a while. Dropping the value lets it go.
#[derive(Debug)]
#[must_use = "dropping the guard lets the node run at full speed"]
pub struct Slowed {
    over: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Slowed {
    /// Slows a node down by stops of a length; none if there is no such node.
    pub fn new(leader: u32, node: u32, stop: Duration) -> Option<Self> {
        let process = find(leader).get(&node).copied();
        let process = process.and_then(|id| Pid::from_raw(id.cast_signed()))?;
        let over = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&over);
        let worker = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) && kill_process(process, Signal::STOP).is_ok() {
                thread::sleep(stop);
                // If it is gone there is nothing left to slow down, and the loop ends.
                let _ = kill_process(process, Signal::CONT);
                thread::sleep(RUNS_FOR);
            }
        });
        Some(Self {
            over,
            worker: Some(worker),
        })
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // The worker cannot panic, and nothing depends on it.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_its_number() {
        let id = |line: &str| node_id(line.replace(' ', "\0").as_bytes());
        assert_eq!(id("/x/level3 --id 2"), Some(2));
        assert_eq!(
            id("python3 level3.py --server --id=3 --base-port 1"),
            Some(3)
        );
        assert_eq!(id("level3 -id 1"), Some(1));
        assert_eq!(id("level3 --master --ids 4"), None);
        assert_eq!(id("level3 --id"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_node_below_the_leader_is_found_measured_and_gone_when_killed() {
        use std::process::Command;

        use octopus::ProcessGroup;

        // The shell takes what follows its script as arguments and keeps them on its line.
        let script = "sh -c 'echo up; read wait' sh --id 3; true";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped());
        let mut group = ProcessGroup::spawn(&mut command).unwrap();
        let mut up = [0; 3];
        let stdout = group.child().stdout.as_mut().unwrap();
        std::io::Read::read_exact(stdout, &mut up).unwrap();
        let mut memory = PeakMemory::default();
        memory.look(group.id());
        let peaks: Vec<_> = memory.peaks().collect();
        assert!(
            matches!(peaks[..], [(3, bytes)] if bytes > 100_000),
            "{peaks:?}"
        );
        assert_eq!(signal(group.id(), 1, Signal::KILL), None);
        let process = find(group.id())[&3];
        let (is_stopped, bytes) = now(process).unwrap();
        assert!(!is_stopped && bytes > 100_000, "{bytes}");
        assert_eq!(signal(group.id(), 3, Signal::KILL), Some(process));
        assert!(group.wait_for(Duration::from_secs(20)).unwrap().is_some());
        assert_eq!(now(process), None);
    }
}
