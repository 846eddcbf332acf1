//! Level 4: SQL on five nodes that reach each other by a flaky network.
//!
//! The network, the nodes and the monkeys are those of [`octopus`]. Here are the
//! client that posts queries, the [`judge`] that replays them on a database of its own, the record
//! of all [`requests`], whose history is checked afterwards, the [`score`], and the reports.

mod args;
mod client;
mod http;
pub mod judge;
mod outcome;
pub mod query;
mod replicas;
pub mod requests;
mod run;
pub mod score;
pub mod sqlite;

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

pub use args::Args;
use outcome::Outcome;
use run::Setup;

use crate::{
    case::Case,
    console, dry_run, output_file,
    recording::{Recording, write_page},
    report::{CaseResult, Failure, Report, Unit},
    solution::Solution,
    timeline, traced,
};
use octopus::{Schedule, WorkDir, interrupt};

/// How long a run of the contest lasted, and on how many nodes.
const CONTEST_DURATION: Duration = Duration::from_secs(30);
const CONTEST_NODES: u16 = 5;

/// One run to be judged.
struct Task {
    name: String,
    seed: i64,
    reference: Option<f64>,
}

/// Judges a solution on the seeds that the flags name.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    let tasks = tasks(args)?;
    if args.dry_run {
        for task in &tasks {
            print_schedule(args, task.seed);
        }
        return Ok(());
    }
    for task in &tasks {
        let files = [
            ("the result", &args.write),
            ("the events", &args.events),
            ("the report", &args.report),
        ];
        for (what, path) in files {
            if let Some(path) = path {
                output_file::check(what, &named(args, task, path))?;
            }
        }
        if let Some(folder) = &args.trace {
            traced::check(&named(args, task, folder))?;
        }
    }
    args.monkeys.check()?;
    let disk_bytes = args.monkeys.disk_bytes()?;
    let solution = Solution::find(4, &args.solution)?;
    for task in &tasks {
        interrupt::check()?;
        let mut workdir = WorkDir::new(args.root.as_deref())?;
        let setup = Setup {
            args,
            solution: &solution,
            seed: task.seed as u64,
            disk_bytes,
            trace: args.trace.as_deref().map(|path| named(args, task, path)),
        };
        let outcome = run::play(&setup, workdir.path())?;
        let result = report.staged(judged(args, task, &solution, &outcome));
        let wants_recording = args.report.is_some() || report.is_kept();
        let recording = if wants_recording {
            recorded(&outcome)
        } else {
            Recording::default()
        };
        let summary = report.describe(&result)?;
        let files = write_files(args, task, &outcome, &summary, &recording);
        console::print(&outcome.summary(task.reference));
        // What was recorded until then is written; a verdict would mean nothing.
        interrupt::check()?;
        if !result.passed() {
            let kept = workdir.keep().display();
            console::log(&format!("level 4: the run's files are kept in {kept}"));
        }
        report.add_recorded(result, recording);
        files?;
    }
    Ok(())
}

fn tasks(args: &Args) -> Result<Vec<Task>> {
    if args.case.is_empty() {
        let seed = args.seed.unwrap_or_else(|| {
            let seed = fresh_seed();
            console::log(&format!("level 4: --seed {seed}"));
            seed
        });
        let name = format!("generated, seed {seed}");
        return Ok(vec![Task {
            name,
            seed,
            reference: None,
        }]);
    }
    let load = |path: &PathBuf| {
        let case = Case::load(path, 4)?;
        Ok(Task {
            seed: case.input_seed()?,
            reference: case.reference,
            name: case.id,
        })
    };
    args.case.iter().map(load).collect()
}

/// A seed that nobody chose.
fn fresh_seed() -> i64 {
    let random = RandomState::new().build_hasher().finish();
    // Without the sign, which would look like a flag.
    (random >> 1) as i64
}

fn print_schedule(args: &Args, seed: i64) {
    let nodes = usize::from(args.nodes);
    let duration_us = args.duration.as_micros() as u64;
    let schedule = Schedule::new(seed as u64, nodes, duration_us, args.monkeys.settings());
    dry_run::print(&schedule, nodes);
}

/// The result of a run, for the report.
fn judged(args: &Args, task: &Task, solution: &Solution, outcome: &Outcome) -> CaseResult {
    let score = &outcome.score;
    let mut result = CaseResult::new(4, &task.name, solution, Unit::Points)
        .scored(score.total, task.reference)
        .setting("seed", task.seed.to_string())
        .under(outcome.noise.clone())
        .figure("correct_queries", score.correct_queries)
        .figure("answered_queries", outcome.answered)
        .figure("requests", outcome.requests)
        .figure(
            "correct_per_s",
            score.correct_queries as f64 / outcome.duration.as_secs_f64(),
        )
        .figure("byte_points", score.byte_points)
        .figure("bytes_read", outcome.traffic.total().bytes_read)
        .figure("bytes_written", outcome.traffic.total().bytes_written)
        .figure("connections", score.conns)
        .figure("unjudged_answers", outcome.unjudged())
        .figure("history_checked", outcome.checked.checked)
        .figure(
            "history_unanswered_numbers",
            outcome.checked.unanswered_numbers,
        );
    let monkeys = &args.monkeys.settings().enabled;
    let names: Vec<&str> = monkeys.iter().map(|monkey| monkey.name()).collect();
    result = result.setting("monkeys", names);
    if monkeys.is_empty() {
        result = result.remark("no monkeys");
    }
    if args.duration < CONTEST_DURATION {
        let duration = humantime::format_duration(args.duration);
        result = result.remark(duration.to_string());
    }
    if args.nodes != CONTEST_NODES {
        result = result.remark(format!("{} nodes", args.nodes));
    }
    for (name, millis) in outcome.latency_figures() {
        result = result.figure(name, millis);
    }
    if let Some((number, at_us)) = outcome.lost_number() {
        result = result
            .figure("lost_number", number)
            .figure("lost_number_at_s", at_us as f64 / 1e6);
    }
    let too_few = task.reference.filter(|&reference| score.total < reference);
    let too_few = too_few.map(|reference| {
        let message = format!(
            "{:.0} points, the reference has {reference:.0}",
            score.total
        );
        Failure::slow("too_few_points", message)
    });
    match outcome.failure().or(too_few) {
        Some(failure) => result.fail(hinted(failure, args)),
        None => result,
    }
}

/// The failure with what to try next.
fn hinted(mut failure: Failure, args: &Args) -> Failure {
    if failure.kind == "no_boot" {
        failure = failure.hint(
            "Start a node by hand, `SOLUTION -l ./node0.sock -d DIR`, and ask it: \
             `curl --unix-socket DIR/node0.sock -d 'SELECT 1;' http://node0/sql`.",
        );
    }
    if args.report.is_none() {
        failure =
            failure.hint("`--report run.html` draws requests, nodes and monkeys on one time axis.");
    }
    if args.events.is_none() {
        failure = failure.hint("`--events run.jsonl` lists every request and every act.");
    }
    if !args.verbose {
        failure = failure.hint("`-v` shows what the nodes say while they say it.");
    }
    failure
}

/// Where a task's file goes. With several cases each has its own: `result.json` becomes
/// `result-CASE.json`.
fn named(args: &Args, task: &Task, path: &Path) -> PathBuf {
    if args.case.len() < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map(|e| format!(".{}", e.to_string_lossy()));
    let extension = extension.unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{extension}", task.name))
}

/// What the run's page draws.
fn recorded(outcome: &Outcome) -> Recording {
    Recording {
        summary: Some(outcome.score.pretty.clone()),
        ..timeline::record(&outcome.log.to_json())
    }
}

fn write_files(
    args: &Args,
    task: &Task,
    outcome: &Outcome,
    summary: &Value,
    recording: &Recording,
) -> Result<()> {
    let named = |path: &Path| named(args, task, path);
    if let Some(path) = args.write.as_deref().map(named) {
        let text = serde_json::to_string(&outcome.score)?;
        fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write the result to {}", path.display()))?;
    }
    if let Some(path) = args.events.as_deref().map(named) {
        outcome.log.write(&path)?;
    }
    if let Some(path) = args.report.as_deref().map(named) {
        write_page(&path, summary, recording)?;
    }
    Ok(())
}

/// A percentile of sorted values, by the nearest rank; `None` of none.
pub(crate) fn percentile(sorted: &[u64], percent: f64) -> Option<u64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// How often the state of a run is looked at.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 50.0), Some(50));
        assert_eq!(percentile(&values, 99.0), Some(99));
        assert_eq!(percentile(&values, 0.0), Some(1));
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(percentile(&[7], 99.9), Some(7));
    }
}
