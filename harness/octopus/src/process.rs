//! Solution processes: each is a process group of its own that never outlives the harness.
//!
//! A group is killed when its guard is dropped (so also when we unwind), and on a signal through
//! [`kill_all`]. Processes that left the group (`setsid`) are found on Linux by an environment
//! variable that they inherited.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};

/// The environment variable that marks every process started here, and all its descendants.
const TOKEN_VARIABLE: &str = "CTF3_HARNESS_PROCESS";

/// How often a wait looks again where the system has no way to be told of a process's end.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How often processes are looked at again; one that keeps an empty environment is nobody's stray.
#[cfg(target_os = "linux")]
const MAX_SCANS: usize = 10;

static LIVE: Mutex<Vec<Member>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
struct Member {
    group: Pid,
    token: String,
}

/// A running process and everything it starts. Dropping the value kills all of it.
#[derive(Debug)]
#[must_use = "dropping a process group kills it at once"]
pub struct ProcessGroup {
    child: Child,
    member: Member,
    status: Option<ExitStatus>,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a new process group.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("{}-{serial}", std::process::id());
        command.process_group(0).env(TOKEN_VARIABLE, &token);
        // Held across the spawn, so that a signal between it and the registration cannot
        // overlook the newcomer.
        let mut live = live();
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let member = Member { group, token };
        live.push(member.clone());
        Ok(Self {
            child,
            member,
            status: None,
        })
    }

    /// The process id of the leader, which is also the id of the group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The leader, to take its pipes from. Wait through this type, not through the child.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal to every process of the group; a group that is gone already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        match rustix::process::kill_process_group(self.member.group, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The leader's exit status if it has ended; the rest of its group is then killed.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_for(Duration::ZERO)
    }

    /// Waits for the leader to end; `None` if it has not within `limit`.
    ///
    /// Returns within microseconds of the end on Linux, so the call can be timed.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && wait_without_reaping(self.member.group, limit)? {
            self.reap()?;
        }
        Ok(self.status)
    }

    /// Kills the whole group at once and returns the leader's status.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.reap()
    }

    /// Asks the group to end (SIGTERM), and kills what is left after `grace`.
    pub fn terminate(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match self.wait_for(grace)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Collects the leader's status. Its group is killed first: until the leader is reaped, its
    /// number cannot be given to a stranger.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        wait_without_reaping(self.member.group, Duration::MAX)?;
        let mut live = live();
        kill_member(&self.member);
        live.retain(|member| member.token != self.member.token);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Errors mean that the process is gone; that is what we want.
        let _ = self.kill();
    }
}

/// Kills every process started here; their guards notice by themselves.
pub fn kill_all() {
    for member in live().iter() {
        kill_member(member);
    }
}

fn live() -> MutexGuard<'static, Vec<Member>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_member(member: &Member) {
    let _ = rustix::process::kill_process_group(member.group, Signal::KILL);
    for stray in strays(&member.token) {
        let _ = rustix::process::kill_process(stray, Signal::KILL);
    }
}

/// Waits until the process has ended, leaving it to be reaped; `false` at the time limit.
#[cfg(target_os = "linux")]
fn wait_without_reaping(pid: Pid, limit: Duration) -> io::Result<bool> {
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{PidfdFlags, pidfd_open},
    };
    if limit == Duration::ZERO {
        return has_ended(pid);
    }
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::NOSYS) => return poll_for_end(pid, limit),
        Err(error) => return Err(error.into()),
    };
    let deadline = Instant::now().checked_add(limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the process has ended, leaving it to be reaped; `false` at the time limit.
#[cfg(not(target_os = "linux"))]
fn wait_without_reaping(pid: Pid, limit: Duration) -> io::Result<bool> {
    poll_for_end(pid, limit)
}

fn poll_for_end(pid: Pid, limit: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        if has_ended(pid)? {
            return Ok(true);
        }
        if start.elapsed() >= limit {
            return Ok(false);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn has_ended(pid: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::Pid(pid), options)?;
    Ok(status
        .as_ref()
        .is_some_and(|s: &WaitIdStatus| s.exited() || s.killed() || s.dumped()))
}

/// Processes outside the group that carry its token in their environment.
///
/// A process that is just taking on another program (`exec`) has no environment for a moment; it is
/// looked at again rather than overlooked.
#[cfg(target_os = "linux")]
fn strays(token: &str) -> Vec<Pid> {
    let wanted = format!("{TOKEN_VARIABLE}={token}");
    let (mut found, mut changing) = scan(&wanted);
    for _ in 0..MAX_SCANS {
        if !changing {
            break;
        }
        thread::sleep(POLL_INTERVAL);
        (found, changing) = scan(&wanted);
    }
    found
}

/// Processes with a variable in their environment, and whether any process had none to show.
#[cfg(target_os = "linux")]
fn scan(wanted: &str) -> (Vec<Pid>, bool) {
    let mut found = Vec::new();
    let mut changing = false;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
        {
            found.extend(Pid::from_raw(id));
        }
        // Threads of the kernel and processes that have ended have no program either.
        changing |= environment.is_empty() && entry.path().join("exe").read_link().is_ok();
    }
    (found, changing)
}

/// Other systems do not show a process's environment; there the group has to do.
#[cfg(not(target_os = "linux"))]
fn strays(_token: &str) -> Vec<Pid> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command
    }

    fn first_line(group: &mut ProcessGroup) -> String {
        let mut line = String::new();
        let stdout = group.child().stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn exists(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    fn wait_until_gone(id: &str) {
        // A killed process takes a moment to leave; one that was not killed stays for minutes.
        let start = Instant::now();
        while exists(id) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "process {id} is still there"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn an_exit_status_is_reported() {
        let mut group = ProcessGroup::spawn(&mut shell("exit 3")).unwrap();
        let status = group.wait_for(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_hanging_process_is_reported_at_the_limit_and_killed_with_its_children() {
        let mut group = ProcessGroup::spawn(&mut shell("sleep 600 & echo $!; wait")).unwrap();
        let grandchild = first_line(&mut group);
        assert_eq!(group.wait_for(Duration::from_millis(1)).unwrap(), None);
        assert!(exists(&grandchild));
        drop(group);
        wait_until_gone(&grandchild);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_that_left_the_group_is_killed_too() {
        let script = "setsid sh -c 'echo $$; exec sleep 600' & wait";
        let mut group = ProcessGroup::spawn(&mut shell(script)).unwrap();
        let stray = first_line(&mut group);
        drop(group);
        wait_until_gone(&stray);
    }

    #[test]
    fn terminate_lets_a_process_clean_up() {
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let mut group = ProcessGroup::spawn(&mut shell(script)).unwrap();
        assert_eq!(first_line(&mut group), "ready");
        let status = group.terminate(Duration::from_secs(60)).unwrap();
        assert_eq!(status.code(), Some(7));
    }
}
