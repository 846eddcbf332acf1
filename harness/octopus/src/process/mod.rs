//! Processes that never outlive their owner: each is a process group of its own.
//!
//! A group is killed when its guard is dropped (so also when we unwind), and on a signal through
//! [`kill_all`]. What left the group (`setsid`) is found on Linux by `family`. Should this process
//! itself be killed, `watcher` does the same from outside.

mod family;
pub mod watcher;

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use family::evict;
pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};

/// The environment variable that marks every process started here, and all its descendants.
const TOKEN_VARIABLE: &str = "OCTOPUS_PROCESS";

/// How often a wait looks again where the system has no way to be told of a process's end.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long a process may take to stop, and how often it is looked at until then.
const STOP_LIMIT: Duration = Duration::from_secs(1);
const STOP_INTERVAL: Duration = Duration::from_micros(100);

static LIVE: Mutex<Vec<Member>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What the tokens of this process begin with. Numbers of processes come again and differ between
/// containers, so the time is part of it.
static RUN: LazyLock<String> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = since.unwrap_or_default().as_nanos();
    format!("{}.{nanoseconds}-", std::process::id())
});

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
        let token = format!("{}{serial}", *RUN);
        command.process_group(0).env(TOKEN_VARIABLE, &token);
        // Held across the spawn, so that a signal between it and the registration cannot
        // overlook the newcomer.
        let mut live = live();
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let member = Member { group, token };
        live.push(member.clone());
        watcher::tell(&watcher::Notice::GroupStarted(group));
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

    /// Stops the group (SIGSTOP). When this returns, the leader runs no more, unless the system takes longer
    /// than a second to stop it: it may be in the middle of a call that nothing interrupts.
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let start = Instant::now();
        while self.status.is_none()
            && !runs_no_more(self.member.group)?
            && start.elapsed() < STOP_LIMIT
        {
            thread::sleep(STOP_INTERVAL);
        }
        Ok(())
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

    /// Collects the leader's status.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        reap_together(std::slice::from_mut(self))?;
        self.status.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Errors mean that the process is gone; that is what we want.
        let _ = self.kill();
    }
}

/// Kills several groups: all are signalled before the end of any is waited for.
pub(crate) fn kill_together(mut groups: Vec<ProcessGroup>) -> io::Result<()> {
    for group in &groups {
        group.signal(Signal::KILL)?;
    }
    reap_together(&mut groups)
}

/// Sends a signal to all that has left several groups, such as a daemon's workers, each of which leads one of its own.
pub(crate) fn signal_strays(groups: &[ProcessGroup], signal: Signal) {
    for stray in strays(groups) {
        let _gone = rustix::process::kill_process(stray, signal);
    }
}

/// Kills several groups and all that has left them, and waits until that is gone as well: what is started next may
/// want what they hold.
pub(crate) fn kill_with_strays(groups: Vec<ProcessGroup>) -> io::Result<()> {
    // While the leaders live: later nobody knows whose children these were.
    let strays = strays(&groups);
    for group in &groups {
        group.signal(Signal::KILL)?;
    }
    for &stray in &strays {
        let _gone = rustix::process::kill_process(stray, Signal::KILL);
    }
    kill_together(groups)?;
    let start = Instant::now();
    while strays.iter().any(|&stray| family::is_there(stray)) && start.elapsed() < STOP_LIMIT {
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn strays(groups: &[ProcessGroup]) -> Vec<Pid> {
    let leaders: Vec<Pid> = groups.iter().map(|group| group.member.group).collect();
    let is_token = |token: &str| groups.iter().any(|group| group.member.token == token);
    family::find(&leaders, is_token)
}

/// Waits for the leaders to end and collects their statuses. What else is left of their groups is
/// killed before: until a leader is reaped, its number cannot be given to a stranger.
fn reap_together(groups: &mut [ProcessGroup]) -> io::Result<()> {
    for group in groups.iter().filter(|group| group.status.is_none()) {
        wait_without_reaping(group.member.group, Duration::MAX)?;
    }
    let mut live = live();
    let dying: Vec<Member> = groups.iter().map(|group| group.member.clone()).collect();
    kill_members(&dying);
    for group in groups.iter_mut().filter(|group| group.status.is_none()) {
        group.status = Some(group.child.wait()?);
        live.retain(|member| member.token != group.member.token);
        watcher::tell(&watcher::Notice::GroupEnded(group.member.group));
    }
    Ok(())
}

/// Kills every process started here; their guards notice by themselves.
pub fn kill_all() {
    kill_members(&live());
}

fn live() -> MutexGuard<'static, Vec<Member>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_members(members: &[Member]) {
    let groups: Vec<Pid> = members.iter().map(|member| member.group).collect();
    for &group in &groups {
        let _gone = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let is_token = |token: &str| members.iter().any(|member| member.token == token);
    for stray in family::find(&groups, is_token) {
        let _gone = rustix::process::kill_process(stray, Signal::KILL);
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

/// Whether the process is stopped or has ended, which is left to be asked again.
fn runs_no_more(pid: Pid) -> io::Result<bool> {
    let states = WaitIdOptions::EXITED | WaitIdOptions::STOPPED;
    let options = states | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(rustix::process::waitid(WaitId::Pid(pid), options)?.is_some())
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

    #[test]
    fn what_was_stopped_runs_no_more() {
        let mut group = ProcessGroup::spawn(&mut shell("while :; do :; done")).unwrap();
        for _ in 0..20 {
            group.stop().unwrap();
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", group.id()));
            if let Ok(stat) = stat {
                let (_, state) = stat.rsplit_once(") ").unwrap();
                assert!(state.starts_with('T'), "{stat}");
            }
            group.signal(Signal::CONT).unwrap();
        }
        group.kill().unwrap();
        group.stop().unwrap();
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
            thread::sleep(POLL_INTERVAL);
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_that_hides_its_descent_is_killed_as_long_as_its_parent_lives() {
        let script = "setsid sh -c 'env -i setsid sh -c \"echo \\$\\$; exec sleep 600\"; :' & wait";
        let mut group = ProcessGroup::spawn(&mut shell(script)).unwrap();
        let stray = first_line(&mut group);
        drop(group);
        wait_until_gone(&stray);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_left_a_group_is_stopped_and_killed_with_it() {
        let script = "setsid sh -c 'echo $$; while :; do :; done' & wait";
        let mut group = ProcessGroup::spawn(&mut shell(script)).unwrap();
        let stray = first_line(&mut group);
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{stray}/stat"));
            let stat = stat.unwrap_or_default();
            stat.rsplit(") ").next().unwrap_or_default().chars().next()
        };
        let groups = vec![group];
        signal_strays(&groups, Signal::STOP);
        let start = Instant::now();
        while state() != Some('T') {
            assert!(start.elapsed() < Duration::from_secs(20), "it goes on");
            thread::sleep(POLL_INTERVAL);
        }
        signal_strays(&groups, Signal::CONT);
        kill_with_strays(groups).unwrap();
        assert!(!exists(&stray));
    }

    #[test]
    fn several_groups_die_together() {
        let mut groups: Vec<ProcessGroup> = (0..5)
            .map(|_| ProcessGroup::spawn(&mut shell("echo $$; exec sleep 600")).unwrap())
            .collect();
        let ids: Vec<String> = groups.iter_mut().map(first_line).collect();
        kill_together(groups).unwrap();
        assert!(ids.iter().all(|id| !exists(id)));
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
