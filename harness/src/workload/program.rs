//! A workload that is a program of the user's: it runs on the clients' machine and writes operations as JSON
//! lines to its stdout.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use octopus::{Machine, ProcessGroup};

use super::{reader::Reader, record::Recorder};

/// The longest line, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A program at work. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    group: ProcessGroup,
    reader: Option<JoinHandle<()>>,
    wrong: Arc<Mutex<Option<String>>>,
}

/// What is wrong with a program; a sentence says it.
#[derive(Debug)]
pub enum Flaw {
    /// It has written what is no history.
    Garbled(String),
    /// It has failed by itself; what it wrote before is a history.
    Failed(String),
}

impl Program {
    /// Starts a command line of a shell in a folder, to ask so many nodes.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start(
        command: &str,
        folder: &Path,
        machine: &Machine,
        nodes: usize,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let spawned = machine.run(move || ProcessGroup::spawn(&mut shell));
        let mut group = spawned
            .and_then(|spawned| spawned)
            .context("cannot start the workload")?;
        let wrong: Arc<Mutex<Option<String>>> = Arc::default();
        let stdout = group
            .child()
            .stdout
            .take()
            .context("the workload has no stdout")?;
        let (recorder, told) = (Arc::clone(recorder), Arc::clone(&wrong));
        let reader = thread::spawn(move || {
            let mut from = BufReader::new(stdout);
            let mut lines = Reader::new(nodes);
            let mut line = String::new();
            let mut number = 0;
            while let Ok(1..) = from.by_ref().take(MOST_BYTES).read_line(&mut line) {
                number += 1;
                if let Err(why) = lines.take(line.trim_end(), &recorder) {
                    let mut first = told.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(format!("line {number} of the workload: {why}"));
                }
                line.clear();
            }
        });
        Ok(Self {
            group,
            reader: Some(reader),
            wrong,
        })
    }

    /// Asks it to end (SIGTERM), so that it may ask its last questions, and waits for that.
    ///
    /// # Errors
    /// It has written what is no history, or has failed by itself.
    pub fn finish(mut self) -> Result<(), Flaw> {
        let ended = self.group.try_wait().ok().flatten();
        let _ended = self.group.terminate(GRACE);
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
        let wrong = self
            .wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (wrong, ended) {
            (Some(why), _) => Err(Flaw::Garbled(why)),
            (None, Some(status)) if !status.success() => {
                let why = format!("the workload's command ended by itself with {status}");
                Err(Flaw::Failed(why))
            }
            _ => Ok(()),
        }
    }
}
