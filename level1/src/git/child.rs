//! Running git to its end, with limits on time and output.
//!
//! A server can stop in the middle of a sentence, and git waits for it as long as TCP does. So
//! every call has a time limit, and can be ended from outside. What git has started itself
//! (`git-remote-https`, `ssh`) is ended with it: a call of the network gets a process group of its
//! own. What git leaves behind on purpose (a credential cache, a master connection of ssh) may
//! keep its outputs open for ever; nobody waits for that.

use super::GitError;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running git is looked at: whether it has to be stopped, or has ended without
/// closing its outputs.
const LOOK: Duration = Duration::from_millis(20);

/// The most that is read of a git's output, in bytes: a chain's ledger and trees are far smaller.
const OUTPUT_MAX: usize = 64 << 20;

/// The most that is kept of what git says on standard error, in bytes.
const WORDS_MAX: usize = 64 << 10;

/// When to give a call up.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// How long the call may take.
    pub time: Duration,
    /// Whether that is counted from the last time that it printed something.
    pub is_idle_time: bool,
    /// Any of them, once set, ends it sooner.
    pub stop: Vec<Arc<AtomicBool>>,
    /// How long a call that is under way goes on after that.
    pub grace: Duration,
    /// Whether the call leads a process group, which ends with it. A git that may ask its user for
    /// a password must not: only the terminal's own group may read from it.
    pub leads_group: bool,
}

/// A git that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A piece of output, or its end.
enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
    OutEnd,
    ErrEnd,
}

/// Runs `command` with `input` and returns what it printed. `what` names it in errors.
pub(super) fn run(
    what: &str,
    command: &mut Command,
    input: Option<Vec<u8>>,
    limits: &Limits,
) -> Result<Ended, GitError> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    if limits.leads_group {
        std::os::unix::process::CommandExt::process_group(command, 0);
    }
    let mut running = Running {
        child: command.spawn().map_err(GitError::Missing)?,
        leads_group: limits.leads_group,
        ended: None,
        ended_at: None,
    };
    let (sender, pieces) = mpsc::channel();
    if let Some(out) = running.child.stdout.take() {
        pump(out, sender.clone(), Piece::Out, Piece::OutEnd);
    }
    if let Some(err) = running.child.stderr.take() {
        pump(err, sender, Piece::Err, Piece::ErrEnd);
    }
    if let Some((mut pipe, input)) = running.child.stdin.take().zip(input) {
        // A git that refuses to read says why on its way out, so a broken pipe is no error here.
        thread::spawn(move || pipe.write_all(&input));
    }
    running.wait(what, &pieces, limits)
}

/// Reads a pipe on a thread of its own; it ends when the pipe does, or nobody listens.
fn pump(
    mut pipe: impl Read + Send + 'static,
    sender: Sender<Piece>,
    wrap: fn(Vec<u8>) -> Piece,
    end: Piece,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(wrap(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        // Nobody may be listening any more.
        let _ = sender.send(end);
    });
}

/// A child that is ended when nobody waits for it any more.
struct Running {
    child: Child,
    leads_group: bool,
    ended: Option<ExitStatus>,
    ended_at: Option<Instant>,
}

impl Running {
    fn wait(
        &mut self,
        what: &str,
        pieces: &Receiver<Piece>,
        limits: &Limits,
    ) -> Result<Ended, GitError> {
        let mut deadline = Instant::now() + limits.time;
        let mut stopping = false;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let piece = pieces.recv_timeout(LOOK);
            if limits.is_idle_time && !stopping && piece.is_ok() {
                deadline = Instant::now() + limits.time;
            }
            match piece {
                Ok(Piece::Out(bytes)) => stdout.extend(bytes),
                Ok(Piece::Err(bytes)) => {
                    let room = WORDS_MAX.saturating_sub(stderr.len());
                    stderr.extend(bytes.into_iter().take(room));
                }
                Ok(Piece::OutEnd) => out_open = false,
                Ok(Piece::ErrEnd) => err_open = false,
                Err(RecvTimeoutError::Disconnected) => break,
                // What it has left behind may hold the pipes.
                Err(RecvTimeoutError::Timeout) if self.is_over_for_good(out_open)? => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stdout.len() > OUTPUT_MAX {
                return Err(GitError::TooLong {
                    what: what.to_owned(),
                    limit: OUTPUT_MAX,
                });
            }
            let mut stop = limits.stop.iter();
            if !stopping && stop.any(|stop| stop.load(Ordering::Acquire)) {
                stopping = true;
                deadline = deadline.min(Instant::now() + limits.grace);
            }
            in_time(what, deadline, stopping, limits)?;
        }
        // Its outputs are closed: as good as over.
        let status = loop {
            if let Some(status) = self.poll()? {
                break status;
            }
            in_time(what, deadline, stopping, limits)?;
            thread::sleep(Duration::from_millis(1));
        };
        Ok(Ended {
            status,
            stdout,
            stderr,
        })
    }

    /// Whether the child has ended, so long ago that what it has said must have arrived.
    fn is_over_for_good(&mut self, out_open: bool) -> Result<bool, GitError> {
        let Some(status) = self.poll()? else {
            return Ok(false);
        };
        let ended_at = *self.ended_at.get_or_insert_with(Instant::now);
        // Whoever stays behind keeps standard error, if anything, which matters after a failure.
        let patience = match (out_open, status.success()) {
            (true, _) => Duration::from_secs(10),
            (false, false) => Duration::from_secs(1),
            (false, true) => Duration::ZERO,
        };
        Ok(ended_at.elapsed() >= patience)
    }

    fn poll(&mut self) -> Result<Option<ExitStatus>, GitError> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }
}

/// Whether there is still time for a call.
fn in_time(what: &str, deadline: Instant, stopping: bool, limits: &Limits) -> Result<(), GitError> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let what = what.to_owned();
    Err(if stopping {
        GitError::Stopped(what)
    } else {
        let limit = limits.time;
        GitError::TimedOut { what, limit }
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        #[cfg(unix)]
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            use rustix::process::{Signal, kill_process, kill_process_group};
            // Asked first, so that it removes its lock files and ends its helpers.
            let ask = if self.leads_group {
                kill_process_group
            } else {
                kill_process
            };
            let _ = ask(pid, Signal::TERM);
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(1) {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            if self.leads_group {
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
        // One that has ended cannot be killed, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
