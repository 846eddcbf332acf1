//! One run at a time: a stage of a project, judged by `harness --live test`, a process of its own.
//!
//! A thread looks after the process and ends with it; what the process tells is put into a channel
//! that keeps the latest state, which every open page watches.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use octopus::ProcessGroup;
use thiserror::Error;
use tokio::sync::watch;

use super::{
    projects,
    watching::{Phase, Watching},
};
use crate::project::Project;

/// How often a run and its stop button are looked after.
const GLANCE: Duration = Duration::from_millis(50);

/// How long a run may take to clean up when it is stopped.
const GRACE: Duration = Duration::from_secs(15);

/// The most bytes of a line; a longer one comes in pieces.
const LINE_MAX: u64 = 1 << 20;

/// What pages see: nothing before the first run.
type State = Option<Arc<Watching>>;

/// Why a run does not begin.
#[derive(Debug, Error)]
pub(super) enum StartError {
    /// Another goes on.
    #[error("another run goes on: wait for its end, or stop it")]
    Busy,
    /// The dashboard ends.
    #[error("the dashboard is ending")]
    Ending,
    /// The harness cannot be run again.
    #[error("the harness cannot be run: {0}")]
    Spawn(#[from] io::Error),
}

/// Runs stages, one at a time.
#[derive(Debug)]
pub(super) struct Runner {
    is_kept: bool,
    state: Arc<watch::Sender<State>>,
    stop: Arc<AtomicBool>,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    is_closed: bool,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// A runner whose results are kept in the history, or not.
    pub fn new(is_kept: bool) -> Self {
        Self {
            is_kept,
            state: Arc::new(watch::Sender::default()),
            stop: Arc::default(),
            current: Mutex::default(),
        }
    }

    /// What is known of the last run, now and whenever that changes; ends when the runner is closed.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What is known of the last run.
    pub fn last(&self) -> State {
        self.state.borrow().clone()
    }

    /// Begins to judge a project at a stage.
    pub fn start(&self, project: &Project, stage: u8) -> Result<(), StartError> {
        let mut current = self.current();
        if current.is_closed {
            return Err(StartError::Ending);
        }
        if self.last().is_some_and(|run| !run.is_over()) {
            return Err(StartError::Busy);
        }
        if let Some(before) = current.thread.take() {
            let _its_panic_is_no_matter_now = before.join();
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--live", "test", &format!("--stage={stage}")]);
        if !self.is_kept {
            command.arg("--no-history");
        }
        command.arg(project.folder());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.stop.store(false, Ordering::Relaxed);
        let group = ProcessGroup::spawn(&mut command)?;
        let level = project.manifest().level;
        let watching = Watching::new(projects::name(project), level, stage);
        self.state.send_replace(Some(Arc::new(watching)));
        let (state, stop) = (Arc::clone(&self.state), Arc::clone(&self.stop));
        let thread = thread::Builder::new().name("run".into());
        current.thread = Some(thread.spawn(move || look_after(group, &state, &stop))?);
        Ok(())
    }

    /// Has the run end, if one goes on.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// From now on nothing is started, and what goes on is stopped; pages are told no more.
    pub fn close(&self) {
        self.current().is_closed = true;
        self.stop();
        self.state.send_modify(|_| {});
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.current().is_closed
    }

    /// Stops the run, and waits for its end.
    pub fn end(&self) {
        self.close();
        let thread = self.current().thread.take();
        if let Some(thread) = thread {
            let _its_panic_is_no_matter_now = thread.join();
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes what pages see.
fn change(state: &watch::Sender<State>, change: impl FnOnce(&mut Watching)) {
    state.send_modify(|state| {
        if let Some(watching) = state {
            change(Arc::make_mut(watching));
        }
    });
}

/// Passes on what a run tells, until it is over or is to be stopped.
fn look_after(mut group: ProcessGroup, state: &watch::Sender<State>, stop: &AtomicBool) {
    let told = group.child().stdout.take();
    let printed = group.child().stderr.take();
    let over = thread::scope(|scope| {
        scope.spawn(|| {
            each_line(told, |line| change(state, |run| run.hear(line)));
        });
        scope.spawn(|| {
            each_line(printed, |line| change(state, |run| run.print(line)));
        });
        loop {
            match group.wait_for(GLANCE) {
                Ok(Some(status)) => return words(status.code()),
                Ok(None) if stop.load(Ordering::Relaxed) => {
                    change(state, |run| run.phase = Phase::Stopping);
                    let ended = group.terminate(GRACE);
                    return ended.map_or_else(|error| error.to_string(), |_| "stopped".to_owned());
                }
                Ok(None) => {}
                Err(error) => return error.to_string(),
            }
        }
    });
    // What it said last is there by now.
    change(state, |run| run.phase = Phase::Over(over));
}

fn words(status: Option<i32>) -> String {
    match status {
        Some(0) => "passed".to_owned(),
        Some(1) => "not passed".to_owned(),
        Some(130) => "stopped".to_owned(),
        Some(_) => "could not be judged".to_owned(),
        None => "the harness was killed".to_owned(),
    }
}

fn each_line(pipe: Option<impl Read>, mut take: impl FnMut(&str)) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => take(String::from_utf8_lossy(&line).trim_end_matches('\n')),
            Ok(0) | Err(_) => return,
        }
    }
}
