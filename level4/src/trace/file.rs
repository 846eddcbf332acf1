//! The file that a real node writes its share of a run into. Whoever has something to tell puts it into a
//! buffer and goes on; a thread writes. Buffer and file are bounded, and what had no room is told as missing.
//!
//! A process that is killed loses what it told in its last milliseconds. The next one in its place goes on in
//! the same file.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Line;
use crate::ids::{Incarnation, NodeId};
use crate::notes::note;
use crate::stack::Stack;

/// A file has no more bytes than this: some minutes of a busy node.
const FILE_LIMIT: u64 = 128 * 1024 * 1024;
/// Room for the line that says that there is no more.
const LAST_LINE: u64 = 512;
/// So much may wait to be written, bytes.
const BUFFER_LIMIT: usize = 4 * 1024 * 1024;
/// Between two writes. What comes after a while of silence is written at once.
const GATHER: Duration = Duration::from_millis(2);
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);
/// No line is longer, bytes.
const LINE_LIMIT: u64 = 256 * 1024;
/// Whole numbers in JSON have a place up to here.
const WHOLE: u64 = 1 << 53;
/// What the header of every such file begins with.
const PROGRAM: &str = "level4";

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The system's reason.
    #[error("cannot write the trace to {}: {cause}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What is there stays as it is.
    #[error(
        "cannot write the trace to {}, which is there already and is no trace of level4's: name another file",
        .0.display()
    )]
    Foreign(PathBuf),
}

/// Where what happens at a node is told.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What this node is called in its own trace.
    node: String,
    life: Incarnation,
    state: Mutex<State>,
    told: Condvar,
    written: Condvar,
}

#[derive(Debug)]
struct State {
    /// What waits to be written.
    text: String,
    /// What the file may still take, bytes.
    room: u64,
    /// Events that had no room in the buffer or on the disk since the last line.
    missing: u64,
    /// The file has its bytes.
    full: bool,
    ending: bool,
    /// Everything is written, and nothing more will be.
    ended: bool,
}

impl State {
    fn new(room: u64) -> Self {
        Self {
            text: String::new(),
            room,
            missing: 0,
            full: false,
            ending: false,
            ended: false,
        }
    }

    /// Takes a line, if there is room; `gap` makes one that says what is missing.
    fn add(&mut self, line: &str, gap: impl Fn(&str) -> String) {
        if self.full {
            return;
        }
        if self.text.len() + line.len() > BUFFER_LIMIT {
            self.missing += 1;
            return;
        }
        if self.missing > 0 {
            let missing = std::mem::take(&mut self.missing);
            let text = format!("{missing} events are missing here: the disk was too slow for them");
            self.push(&gap(&text), &gap);
        }
        self.push(line, gap);
    }

    fn push(&mut self, line: &str, gap: impl Fn(&str) -> String) {
        if self.full {
            return;
        }
        let length = line.len() as u64;
        if length + LAST_LINE > self.room {
            self.full = true;
            let limit = FILE_LIMIT / 1024 / 1024;
            let text = format!("this node's trace ends here, with its {limit} MiB");
            self.text.push_str(&gap(&text));
            return;
        }
        self.room -= length;
        self.text.push_str(line);
    }
}

/// Nanoseconds by the clock that all processes of a machine share.
fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64) % WHOLE
}

fn locked(shared: &Shared) -> MutexGuard<'_, State> {
    // Nothing panics while it holds the lock.
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracer {
    /// Writes into the file at `path` from now on, behind what an earlier process of this machine's last start
    /// has written there.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or is no trace.
    pub fn open(path: &Path, node: NodeId, life: Incarnation) -> Result<Self, TraceError> {
        let failed = |cause| TraceError::File {
            path: path.to_owned(),
            cause,
        };
        let (file, length) = open(path).map_err(failed)?.ok_or_else(|| {
            let path = path.to_owned();
            TraceError::Foreign(path)
        })?;
        let shared = Arc::new(Shared {
            node: node.to_string(),
            life,
            state: Mutex::new(State::new(FILE_LIMIT.saturating_sub(length))),
            told: Condvar::new(),
            written: Condvar::new(),
        });
        let writer = shared.clone();
        Stack::Usual
            .spawn("trace", move || write(&writer, &file, length))
            .map_err(failed)?;
        Ok(Self(shared))
    }

    /// Which life of the node's this is.
    pub fn life(&self) -> u64 {
        self.0.life.get()
    }

    /// An event at this node, now.
    pub fn tell(&self, kind: &str, fill: impl FnOnce(&mut Line)) {
        let mut line = self.line(kind);
        fill(&mut line);
        let line = line.end();
        let mut state = locked(&self.0);
        let was_empty = state.text.is_empty();
        state.add(&line, |text| {
            let mut gap = self.line("gap");
            gap.word("text", text);
            gap.end()
        });
        drop(state);
        if was_empty {
            self.0.told.notify_one();
        }
    }

    fn line(&self, kind: &str) -> Line {
        let mut line = Line::new(now_ns(), kind);
        line.word("node", &self.0.node);
        line
    }

    /// The process ends: waits a little until everything is written.
    pub fn finish(&self) {
        let mut state = locked(&self.0);
        state.ending = true;
        self.0.told.notify_one();
        let _timed = self
            .0
            .written
            .wait_timeout_while(state, PATIENCE, |state| !state.ended);
    }
}

/// The file, and where to write on; nothing, if it is somebody else's.
fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut first = Vec::new();
    (&file).take(LAST_LINE).read_to_end(&mut first)?;
    let header = header();
    let ours = header.split(",\"boot\"").next().unwrap_or_default();
    if !first.is_empty() && !first.starts_with(ours.as_bytes()) {
        return Ok(None);
    }
    let end = last_line_end(&mut file)?;
    if end > 0 && first.starts_with(header.as_bytes()) {
        file.set_len(end)?;
        return Ok(Some((file, end)));
    }
    // New, or told by a clock that has begun again since.
    file.set_len(0)?;
    file.write_all_at(header.as_bytes(), 0)?;
    Ok(Some((file, header.len() as u64)))
}

fn header() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut header = Line::header(PROGRAM, "a run of level4");
    header.word("boot", boot.trim());
    header.end()
}

/// Behind the last line that is whole.
fn last_line_end(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LINE_LIMIT);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(LINE_LIMIT).read_to_end(&mut tail)?;
    let newline = memchr::memrchr(b'\n', &tail);
    Ok(newline.map_or(0, |at| start + at as u64 + 1))
}

/// Writes what is told until the end.
fn write(shared: &Shared, file: &File, mut position: u64) {
    let mut text = String::new();
    let mut failed = false;
    loop {
        let mut state = locked(shared);
        while state.text.is_empty() && !state.ending {
            state = match shared.told.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        if state.text.is_empty() {
            state.ended = true;
            shared.written.notify_all();
            return;
        }
        let is_ending = state.ending;
        text.clear();
        std::mem::swap(&mut text, &mut state.text);
        drop(state);
        match file.write_all_at(text.as_bytes(), position) {
            Ok(()) => position += text.len() as u64,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    note(format_args!("the trace has gaps: {error}"));
                }
                // What was written of it would be taken for lines.
                let _ = file.set_len(position);
                let mut state = locked(shared);
                state.room += text.len() as u64;
                state.missing += memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
            }
        }
        if !is_ending {
            thread::sleep(GATHER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::new(7);

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_process_goes_on_where_one_that_was_killed_has_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        for life in 1..=2 {
            let tracer = Tracer::open(&path, NODE, Incarnation::new(life)).unwrap();
            tracer.tell("restart", |_| {});
            tracer.finish();
            let file = File::options().append(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            file.write_all_at(b"{\"t\":17,\"ki", length).unwrap();
            if life == 2 {
                file.set_len(length).unwrap();
            }
        }
        let lines = lines(&path);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["program"], "level4");
        assert_eq!(lines[1]["node"], "0000000000000007");
        assert!(lines[1]["t"].as_u64() <= lines[2]["t"].as_u64());
    }

    #[test]
    fn other_files_are_left_alone_and_those_of_an_earlier_start_of_the_machine_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let open = || Tracer::open(&path, NODE, Incarnation::new(1));
        fs::write(&path, "precious\n").unwrap();
        let told = open().unwrap_err().to_string();
        assert!(told.contains("is no trace of level4's"), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
        let old = "{\"trace\":1,\"program\":\"level4\",\"title\":\"a run of level4\",\"boot\":\"x\"}\n{}\n";
        fs::write(&path, old).unwrap();
        open().unwrap().finish();
        let lines = lines(&path);
        assert_eq!(lines.len(), 1);
        assert_ne!(lines[0]["boot"], "x");
        let told = Tracer::open(Path::new("/no/such"), NODE, Incarnation::new(1));
        let told = told.unwrap_err().to_string();
        assert!(
            told.starts_with("cannot write the trace to /no/such: "),
            "{told}"
        );
    }

    #[test]
    fn what_has_no_room_is_counted_and_told() {
        let gap = |text: &str| format!("<{text}>\n");
        let mut state = State::new(FILE_LIMIT);
        let long = "x".repeat(BUFFER_LIMIT / 2);
        for _ in 0..5 {
            state.add(&long, gap);
        }
        assert_eq!((state.text.len(), state.missing), (BUFFER_LIMIT, 3));
        // It is written.
        state.text.clear();
        state.add("y\n", gap);
        assert_eq!(
            state.text,
            "<3 events are missing here: the disk was too slow for them>\ny\n"
        );
        state.text.clear();
        state.room = LAST_LINE + 1;
        state.add("y\n", gap);
        state.add("z\n", gap);
        assert_eq!(
            state.text,
            "<this node's trace ends here, with its 128 MiB>\n"
        );
    }
}
