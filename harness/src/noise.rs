//! What else the machine had to do while a case was judged.
//!
//! Two things are measured. *Others*: the share of all processors' time that went to processes that
//! are neither the harness nor started by it, plus what the hypervisor took away (`steal`).
//! *Lateness*: by how much a thread that sleeps 10 ms at a time overslept.
//!
//! A case is *noisy* if others had [`OTHERS_LIMIT_PERCENT`] or more; or if the sleeper was late by
//! [`LATE_LIMIT_MS`] or more (99th percentile) while others had at least [`OTHERS_SOME_PERCENT`]
//! and more than the run itself. The run's own load makes nothing noisy, so that burning the
//! processor is no way out of a verdict.
//!
//! Sources: `proc(5)` for `/proc/stat`, `/proc/PID/stat` and `/proc/loadavg`. Elsewhere than on
//! Linux there are none of these; then nothing counts as noisy.

use std::{
    collections::HashMap,
    fs,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Others with so much of all processors' time make a case noisy: on two processors, two fifths of
/// one. Less than that moved no score by more than its own scatter.
pub const OTHERS_LIMIT_PERCENT: f64 = 20.0;

/// So late a timer means that threads had to wait for a processor, in milliseconds.
pub const LATE_LIMIT_MS: f64 = 10.0;

/// What others must have had at least where lateness is blamed on them.
pub const OTHERS_SOME_PERCENT: f64 = 5.0;

/// How long the sleeper sleeps.
const NAP: Duration = Duration::from_millis(10);

/// What was measured while a case was judged; each part is missing where the system does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noise {
    /// The load average of a minute before the case.
    pub load_before: Option<f64>,
    /// The same after it.
    pub load_after: Option<f64>,
    /// Share of all processors' time that others had.
    pub others_percent: Option<f64>,
    /// Share of all processors' time that the run itself had.
    pub own_percent: Option<f64>,
    /// 99th percentile of how late a timer was.
    pub late_p99_ms: Option<f64>,
}

impl Noise {
    /// What a measurement gave, without load averages.
    pub fn measured(others: Option<f64>, own: Option<f64>, late_ms: Option<f64>) -> Self {
        Self {
            others_percent: others,
            own_percent: own,
            late_p99_ms: late_ms,
            ..Self::default()
        }
    }

    /// The same where the harness's own work was so late, if that is worse.
    #[must_use]
    pub fn at_least_late(self, late_p99_ms: Option<f64>) -> Self {
        let late = [self.late_p99_ms, late_p99_ms];
        Self {
            late_p99_ms: late.into_iter().flatten().max_by(f64::total_cmp),
            ..self
        }
    }

    /// Whether the machine was too busy with other things to blame the solution for being slow.
    pub fn is_noisy(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the case is noisy, in words; none if it is not.
    pub fn reason(&self) -> Option<String> {
        let others = self.others_percent?;
        if others >= OTHERS_LIMIT_PERCENT {
            return Some(format!(
                "other processes had {others:.0} % of the processors' time, {OTHERS_LIMIT_PERCENT} % \
                 count as noise"
            ));
        }
        let late = self.late_p99_ms?;
        let blamed = others >= OTHERS_SOME_PERCENT && others > self.own_percent.unwrap_or(0.0);
        (late >= LATE_LIMIT_MS && blamed).then(|| {
            format!(
                "timers were {late:.0} ms late, {LATE_LIMIT_MS} ms count as noise, while other \
                 processes had {others:.0} % of the processors' time and the run less"
            )
        })
    }

    /// The load averages for the report.
    pub(crate) fn load_json(&self) -> Value {
        json!({"before": self.load_before, "after": self.load_after})
    }

    /// The measure and its limits for the report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "others_percent": self.others_percent,
            "others_limit_percent": OTHERS_LIMIT_PERCENT,
            "own_percent": self.own_percent,
            "late_p99_ms": self.late_p99_ms,
            "late_limit_ms": LATE_LIMIT_MS,
            "reason": self.reason(),
        })
    }
}

/// A measurement under way: from [`start`](Self::start), before the solution is started, to
/// [`stop`](Self::stop), after it was stopped.
#[derive(Debug)]
pub struct Watch {
    load_before: Option<f64>,
    before: Option<Snapshot>,
    stop: mpsc::Sender<()>,
    sleeper: thread::JoinHandle<Vec<f64>>,
}

impl Watch {
    /// Starts to measure.
    pub fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        Self {
            load_before: load_average(),
            before: Snapshot::take(),
            stop,
            sleeper: thread::spawn(move || sleep_and_compare(&stopped)),
        }
    }

    /// Ends the measurement. Processes of the run that still live would count as others, so this
    /// comes after they were stopped.
    pub fn stop(self) -> Noise {
        drop(self.stop);
        let mut late_ms = self.sleeper.join().unwrap_or_default();
        late_ms.sort_by(f64::total_cmp);
        let rank = (late_ms.len() as f64 * 0.99).ceil() as usize;
        let shares = self
            .before
            .zip(Snapshot::take())
            .and_then(|(before, after)| Shares::between(&before, &after, std::process::id()));
        Noise {
            load_before: self.load_before,
            load_after: load_average(),
            others_percent: shares.map(|shares| shares.others * 100.0),
            own_percent: shares.map(|shares| shares.own * 100.0),
            late_p99_ms: late_ms.get(rank.saturating_sub(1)).copied(),
        }
    }
}

/// Sleeps again and again until the sender is dropped; by how many milliseconds each nap was late.
fn sleep_and_compare(stopped: &mpsc::Receiver<()>) -> Vec<f64> {
    // Bounds the memory of a run of hours: past it the oldest are overwritten.
    const KEPT: usize = 1 << 20;
    let mut late_ms = Vec::new();
    for turn in 0.. {
        let due = Instant::now() + NAP;
        if stopped.recv_timeout(NAP) != Err(mpsc::RecvTimeoutError::Timeout) {
            break;
        }
        let late = Instant::now().saturating_duration_since(due).as_secs_f64() * 1e3;
        if late_ms.len() < KEPT {
            late_ms.push(late);
        } else {
            late_ms[turn % KEPT] = late;
        }
    }
    late_ms
}

/// The machine's load average of the last minute.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The kernel's accounts at a moment, in clock ticks.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    /// Time of all processors, idle or not.
    all: u64,
    /// Time in which they worked.
    busy: u64,
    /// Time that the hypervisor gave to others.
    steal: u64,
    processes: HashMap<u32, Process>,
}

/// A process's account. Its start time tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    started: u64,
    /// Its own time.
    own: u64,
    /// The time of its children that have ended and were waited for.
    children: u64,
}

impl Snapshot {
    fn take() -> Option<Self> {
        let mut snapshot = Self::of_stat(&fs::read_to_string("/proc/stat").ok()?)?;
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            // A process may have gone since the folder was listed.
            let process = id.and_then(|id: u32| {
                let text = fs::read(entry.path().join("stat")).ok()?;
                Some((id, Process::of_stat(&String::from_utf8_lossy(&text))?))
            });
            snapshot.processes.extend(process);
        }
        Some(snapshot)
    }

    /// From the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal
    /// (and two more that are parts of the first two).
    fn of_stat(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let &[user, nice, system, idle, iowait, irq, softirq, ..] = ticks.as_slice() else {
            return None;
        };
        let steal = ticks.get(7).copied().unwrap_or(0);
        let busy = user + nice + system + irq + softirq;
        Some(Self {
            all: busy + idle + iowait + steal,
            busy,
            steal,
            processes: HashMap::new(),
        })
    }

    /// Whether a process is `ancestor` or descends from it.
    fn descends(&self, mut id: u32, ancestor: u32) -> bool {
        // Parents have no loops, but this list was not read in one moment.
        for _ in 0..self.processes.len() {
            if id == ancestor {
                return true;
            }
            match self.processes.get(&id) {
                Some(process) if process.parent != 0 => id = process.parent,
                _ => return false,
            }
        }
        false
    }

    /// A thread of the kernel; these work for everybody.
    fn is_kernel(&self, id: u32) -> bool {
        const KTHREADD: u32 = 2;
        id == KTHREADD
            || self
                .processes
                .get(&id)
                .is_some_and(|p| p.parent == KTHREADD)
    }
}

impl Process {
    /// From `/proc/PID/stat`; the name, in brackets, may hold anything, brackets included.
    fn of_stat(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Field 3 of the manual is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            own: field(14)? + field(15)?,
            children: field(16)? + field(17)?,
            started: field(22)?,
        })
    }
}

/// Who had the processors between two moments, as shares of all their time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shares {
    others: f64,
    own: f64,
}

impl Shares {
    /// None if no time has passed.
    fn between(before: &Snapshot, after: &Snapshot, harness: u32) -> Option<Self> {
        let all = after.all.checked_sub(before.all).filter(|&all| all > 0)?;
        let busy = after.busy.saturating_sub(before.busy);
        let steal = after.steal.saturating_sub(before.steal);
        let foreign = foreign_ticks(before, after, harness).min(busy);
        let share = |ticks: u64| ticks as f64 / all as f64;
        Some(Self {
            others: share(foreign + steal),
            own: share(busy - foreign),
        })
    }
}

/// The time of processes that neither are the harness nor descend from it.
///
/// A process that has ended has handed its time to the parent that waited for it, and so it is
/// taken from there. That does not hold for the first process and for the harness's ancestors: they
/// also inherit orphans of the run, so what their children used is left out.
fn foreign_ticks(before: &Snapshot, after: &Snapshot, harness: u32) -> u64 {
    let inherits = |id: u32| id <= 1 || after.descends(harness, id);
    let is_foreign =
        |snapshot: &Snapshot, id: u32| !snapshot.descends(id, harness) && !snapshot.is_kernel(id);
    let time =
        |id: u32, process: &Process| process.own + if inherits(id) { 0 } else { process.children };
    let mut ticks: i128 = 0;
    for (&id, process) in &after.processes {
        if is_foreign(after, id) {
            ticks += i128::from(time(id, process));
        }
    }
    for (&id, process) in &before.processes {
        let still = after.processes.get(&id);
        let lives = still.is_some_and(|now| now.started == process.started);
        // One that ended under a parent that inherits has left its time nowhere.
        let has_left = !lives && inherits(process.parent);
        if is_foreign(before, id) && !has_left {
            ticks -= i128::from(time(id, process));
        }
    }
    u64::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARNESS: u32 = 100;

    fn process(parent: u32, own: u64, children: u64) -> Process {
        Process {
            parent,
            started: 7,
            own,
            children,
        }
    }

    /// The first process, a shell, the harness below it, a solution, and a foreign compiler.
    fn snapshot(all: u64, busy: u64, times: &[(u32, u32, u64, u64)]) -> Snapshot {
        let processes = times
            .iter()
            .map(|&(id, parent, own, children)| (id, process(parent, own, children)))
            .collect();
        Snapshot {
            all,
            busy,
            steal: 0,
            processes,
        }
    }

    fn before() -> Snapshot {
        let shell = (50, 1, 10, 0);
        let make = (60, 1, 5, 40);
        let compiler = (61, 60, 30, 0);
        snapshot(
            1000,
            100,
            &[(1, 0, 3, 9), shell, (HARNESS, 50, 1, 0), make, compiler],
        )
    }

    #[test]
    fn the_runs_own_load_is_none_of_the_others_even_when_its_orphans_are_inherited() {
        // The solution burned 400 ticks below the harness, 200 in an orphan that the first process
        // reaped, and 100 in one that the shell did.
        let after = snapshot(
            2000,
            800,
            &[
                (1, 0, 3, 209),
                (50, 1, 10, 100),
                (HARNESS, 50, 1, 100),
                (101, HARNESS, 300, 0),
                (102, 101, 0, 0),
                (60, 1, 5, 40),
                (61, 60, 30, 0),
            ],
        );
        let shares = Shares::between(&before(), &after, HARNESS).unwrap();
        assert_eq!(
            shares,
            Shares {
                others: 0.0,
                own: 0.7
            }
        );
    }

    #[test]
    fn others_count_whether_they_live_ended_or_came_anew() {
        // The compiler used 50 more and ended; a second one came, used 100 and ended; a third one
        // lives and has used 150.
        let after = snapshot(
            2000,
            600,
            &[
                (1, 0, 3, 9),
                (50, 1, 10, 0),
                (HARNESS, 50, 201, 0),
                (60, 1, 5, 40 + 80 + 100),
                (63, 60, 150, 0),
            ],
        );
        let shares = Shares::between(&before(), &after, HARNESS).unwrap();
        assert_eq!(
            shares,
            Shares {
                others: 0.3,
                own: 0.2
            }
        );
    }

    #[test]
    fn one_that_ended_under_the_first_process_does_not_count_below_nothing() {
        let mut after = before();
        after.processes.remove(&60);
        after.processes.insert(61, process(1, 30, 0));
        after.all += 1000;
        let shares = Shares::between(&before(), &after, HARNESS).unwrap();
        assert!(shares.others < 1e-9);
    }

    #[test]
    fn what_the_hypervisor_took_is_the_others() {
        let text = "cpu  100 20 30 1000 5 6 7 50 3 1\ncpu0 1 1 1 1\n";
        let snapshot = Snapshot::of_stat(text).unwrap();
        assert_eq!(
            (snapshot.all, snapshot.busy, snapshot.steal),
            (1218, 163, 50)
        );
        let before = Snapshot::default();
        let shares = Shares::between(&before, &snapshot, HARNESS).unwrap();
        assert!((shares.others - 50.0 / 1218.0).abs() < 1e-9);
        assert!(Snapshot::of_stat("intr 5").is_none());
    }

    #[test]
    fn a_processs_line_is_read_behind_its_name() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 987 1 2";
        let expected = Process {
            parent: 7,
            started: 987,
            own: 33,
            children: 77,
        };
        assert_eq!(Process::of_stat(line), Some(expected));
        assert_eq!(Process::of_stat("42 (x"), None);
    }

    #[test]
    fn lateness_counts_only_where_others_had_more_than_the_run() {
        let noisy =
            |others, own, late| Noise::measured(Some(others), Some(own), Some(late)).is_noisy();
        assert!(noisy(20.0, 70.0, 0.1));
        assert!(!noisy(19.0, 70.0, 500.0), "the run burns the processor");
        assert!(noisy(19.0, 10.0, 10.0));
        assert!(!noisy(19.0, 10.0, 9.0));
        assert!(!noisy(4.0, 0.0, 500.0));
        assert!(!Noise::measured(None, None, Some(500.0)).is_noisy());
        let timely = Noise::measured(Some(19.0), Some(10.0), Some(1.0));
        assert!(!timely.clone().at_least_late(None).is_noisy());
        assert!(timely.at_least_late(Some(10.0)).is_noisy());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_measurement_has_all_its_parts() {
        let watch = Watch::start();
        // Until the kernel's clock has ticked and the sleeper has slept.
        let before = watch.before.clone().unwrap().all;
        while Snapshot::take().unwrap().all < before + 5 {
            thread::sleep(NAP);
        }
        let noise = watch.stop();
        assert!(noise.others_percent.is_some() && noise.own_percent.is_some());
        assert!(noise.load_before.is_some() && noise.load_after.is_some());
        assert!(noise.late_p99_ms >= Some(0.0));
    }
}
