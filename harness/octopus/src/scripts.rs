//! Scripts that are run as acts of the schedule: a shell's commands of the user's, such as one that makes a cluster
//! larger. Each runs beside everything else, within a budget of time; what it prints is in the log, and its end
//! ends its act.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, PipeReader, Read},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    events::{ActEvent, Event, EventLog},
    machines::Machine,
    monkeys::Monkey,
    process::ProcessGroup,
};

/// How many lines of each run the event log has.
const LOGGED_LINES: usize = 200;

/// How much of such a line it has, in characters.
const LOGGED_CHARS: usize = 300;

/// A line longer than this is read in pieces.
const LINE_BYTES: u64 = 64 * 1024;

/// A shell's command that acts run by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The command, for `/bin/sh -c`.
    pub command: String,
    /// How long it may take; then it is killed.
    pub within: Duration,
}

/// The scripts of a run.
#[derive(Debug)]
pub(crate) struct Scripts {
    known: BTreeMap<String, Known>,
    folder: PathBuf,
    nodes: usize,
    /// Where they run, if not where we do.
    machine: Option<Arc<Machine>>,
    log: Arc<EventLog>,
    under_way: Mutex<Vec<JoinHandle<()>>>,
    failed: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct Known {
    script: Script,
    runs: Mutex<u64>,
}

impl Scripts {
    /// Scripts that run in a folder.
    pub fn new(
        scripts: &[Script],
        folder: &Path,
        nodes: usize,
        machine: Option<Arc<Machine>>,
        log: &Arc<EventLog>,
    ) -> Self {
        let known = scripts.iter().map(|script| {
            let known = Known {
                script: script.clone(),
                runs: Mutex::default(),
            };
            (script.name.clone(), known)
        });
        Self {
            known: known.collect(),
            folder: folder.to_owned(),
            nodes,
            machine,
            log: Arc::clone(log),
            under_way: Mutex::default(),
            failed: Arc::default(),
        }
    }

    /// Runs one of them on behalf of an act; does not wait for it.
    ///
    /// # Errors
    /// There is none of this name, or no process can be started.
    pub fn run(&self, act: usize, name: &str, draw: u32) -> io::Result<()> {
        let unknown = || io::Error::other(format!("there is no script {name}"));
        let Known { script, runs } = self.known.get(name).ok_or_else(unknown)?;
        let run = {
            let mut runs = lock(runs);
            *runs += 1;
            *runs
        };
        let (reader, writer) = io::pipe()?;
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &script.command])
            .current_dir(&self.folder)
            .env("OCTOPUS_SCRIPT", name)
            .env("OCTOPUS_RUN", run.to_string())
            .env("OCTOPUS_DRAW", draw.to_string())
            .env("OCTOPUS_NODES", self.nodes.to_string())
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        // The command holds our copies of the writing end; it goes with this.
        let mut spawn = move || ProcessGroup::spawn(&mut shell);
        let group = match &self.machine {
            Some(machine) => machine.run(spawn)??,
            None => spawn()?,
        };
        let (log, failed, within) = (
            Arc::clone(&self.log),
            Arc::clone(&self.failed),
            script.within,
        );
        let name = name.to_owned();
        let thread = thread::Builder::new()
            .name(format!("script {name}"))
            .spawn(move || {
                let (text, succeeded) = watch(group, reader, &name, within, &log);
                if !succeeded {
                    lock(&failed).push(text.clone());
                }
                log.note(Event::Act(ActEvent::Ends {
                    number: act,
                    monkey: Monkey::Script,
                    text,
                }));
            })?;
        lock(&self.under_way).push(thread);
        Ok(())
    }

    /// Waits for those under way, which takes no longer than they may.
    pub fn finish(&self) {
        for thread in std::mem::take(&mut *lock(&self.under_way)) {
            let _panicked = thread.join();
        }
    }

    /// What became of those that failed, a line for each.
    pub fn failed(&self) -> Vec<String> {
        lock(&self.failed).clone()
    }
}

/// Waits for the end of a script; how it ended, in words, and whether well.
fn watch(
    mut group: ProcessGroup,
    reader: PipeReader,
    name: &str,
    within: Duration,
    log: &Arc<EventLog>,
) -> (String, bool) {
    let said = thread::Builder::new()
        .name(format!("output of script {name}"))
        .spawn({
            let (log, name) = (Arc::clone(log), name.to_owned());
            move || read(reader, &name, &log)
        });
    let status = group.wait_for(within).ok().flatten();
    let in_time = status.is_some();
    // With it goes whatever else has the other end of the pipe.
    let status = match status {
        Some(status) => Ok(status),
        None => group.kill(),
    };
    drop(group);
    let last = said.ok().and_then(|thread| thread.join().ok()).flatten();
    let how = match &status {
        Ok(_) if !in_time => format!("was killed after {within:?}"),
        Ok(status) if status.success() => "is done".to_owned(),
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("was lost: {error}"),
    };
    let is_done = in_time && status.as_ref().is_ok_and(ExitStatus::success);
    let last = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
    (format!("script {name} {how}{last}"), is_done)
}

/// Writes down what it prints; the last line.
fn read(from: PipeReader, name: &str, log: &EventLog) -> Option<String> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    let mut lines = 0;
    let mut last = None;
    while let Ok(1..) = from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
        let shown = String::from_utf8_lossy(&line);
        let text: String = shown.trim_end().chars().take(LOGGED_CHARS).collect();
        line.clear();
        if lines < LOGGED_LINES {
            log.note(Event::Script {
                name: name.to_owned(),
                text: text.clone(),
            });
        }
        lines += 1;
        if !text.is_empty() {
            last = Some(text);
        }
    }
    last
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::WorkDir;

    #[test]
    fn scripts_end_by_themselves_or_when_their_time_is_over() {
        let root = WorkDir::temporary().unwrap();
        let script = |name: &str, command: &str, within| Script {
            name: name.to_owned(),
            command: command.to_owned(),
            within: Duration::from_secs(within),
        };
        let all = [
            script(
                "grow",
                "echo $OCTOPUS_SCRIPT $OCTOPUS_RUN $OCTOPUS_DRAW $OCTOPUS_NODES; yes | head -n 999",
                60,
            ),
            script("fail", "echo no room >&2; exit 3", 60),
            script("hang", "echo wait; sleep 600 & wait", 0),
            // What leaves the group keeps the output open, and nobody waits for it.
            script(
                "leave",
                "setsid sh -c 'echo > left; exec sleep 600' & until test -e left; do :; done",
                60,
            ),
        ];
        let log = Arc::new(EventLog::default());
        let scripts = Scripts::new(&all, root.path(), 5, None, &log);
        scripts.run(7, "grow", 11).unwrap();
        scripts.finish();
        for (act, name) in [(8, "fail"), (9, "hang"), (10, "leave")] {
            scripts.run(act, name, 0).unwrap();
        }
        assert!(scripts.run(1, "shrink", 0).is_err());
        scripts.finish();
        let failed = scripts.failed();
        assert_eq!(failed.len(), 2);
        assert!(failed.contains(&"script fail ended with exit status: 3: no room".to_owned()));
        assert!(
            failed
                .iter()
                .any(|line| line.starts_with("script hang was killed after 0ns"))
        );
        let events = log.to_json();
        let said: Vec<_> = events
            .iter()
            .filter(|event| event["name"] == "grow")
            .collect();
        assert_eq!(
            (said.len(), &said[0]["text"]),
            (LOGGED_LINES, &"grow 1 11 5".into())
        );
        let ends = events.iter().filter(|event| event["phase"] == "ends");
        let mut ends: Vec<_> = ends.filter_map(|event| event["number"].as_u64()).collect();
        ends.sort_unstable();
        assert_eq!(ends, [7, 8, 9, 10]);
    }
}
