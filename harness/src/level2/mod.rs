//! Level 2: a proxy between a few legitimate clients, a flood, and two small backends.
//!
//! Everything around the solution is simulated by one thread (`reactor`): the `backend`s around
//! their pure `queue`, and the `flood`, which plays a schedule (`traffic`) that the
//! `population` of 2014 draws from the case's seed (`seed_random`). A `world` says what is
//! different from the contest; `tally` counts what came of it.

mod args;
mod backend;
mod flood;
mod play;
mod population;
mod probe;
mod queue;
mod reactor;
mod record;
mod secret;
mod seed_random;
mod slow;
mod socket;
mod stay;
mod tally;
mod traffic;
mod world;
mod worlds;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value};

pub use args::Args;
use play::{Setting, play};
use tally::{Side, Tally, percentile};
use world::{Demand, Regime, World, WorldName};

use crate::{
    case::Case,
    console,
    noise::Watch,
    recording::Recording,
    report::{CaseResult, Failure, Report, Unit},
    solution::Solution,
    solution_log,
};
use octopus::WorkDir;

/// The case that is played by default: its name, the text its traffic is drawn from, and the points
/// of the 2014 reference.
const DEFAULT_CASE: (&str, &str, f64) = (
    "level2-aUSeyGpde8",
    "94fea7af56bdbcb75201fe0377c2904496a6a13f567530d3835509a34ec6aabf",
    124.791_666_666_666_66,
);
/// The length of the contest; references are for this length only.
const CONTEST_SECONDS: u32 = 20;
/// The share of the bound that passes where there is no reference.
const PASSING_SHARE: f64 = 0.9;

/// A seed with its name and, if it is an original case, its reference.
struct Task {
    name: String,
    seed: String,
    reference: Option<f64>,
    file: Option<PathBuf>,
}

/// Judges a solution in the world and on the cases that the flags name.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    let tasks = tasks(args)?;
    args.recording.check()?;
    let solution = Solution::find(2, &args.solution)?;
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    for task in &tasks {
        let (result, recording) = judge(args, task, &solution, &workdir)?;
        let result = report.staged(result);
        let case = (tasks.len() > 1).then_some(task.name.as_str());
        let summary = report.describe(&result)?;
        args.recording.write(case, &summary, &recording)?;
        if !result.passed() {
            let folder = workdir.keep().display();
            console::log(&format!(
                "level 2: the last run's files are kept in {folder}"
            ));
        }
        report.add_recorded(result, recording);
    }
    Ok(())
}

fn tasks(args: &Args) -> Result<Vec<Task>> {
    if let Some(seed) = &args.seed {
        let name = format!("seed {seed}");
        return Ok(vec![Task {
            name,
            seed: seed.clone(),
            reference: None,
            file: None,
        }]);
    }
    if args.case.is_empty() {
        let (name, seed, reference) = DEFAULT_CASE;
        let reference = Some(reference);
        return Ok(vec![Task {
            name: name.into(),
            seed: seed.into(),
            reference,
            file: None,
        }]);
    }
    let original = |path: &PathBuf| {
        let case = Case::load(path, 2)?;
        let seed = case.input_text()?.to_owned();
        Ok(Task {
            name: case.id,
            seed,
            reference: case.reference,
            file: Some(path.clone()),
        })
    };
    args.case.iter().map(original).collect()
}

/// Plays a case as often as asked and judges the run with the median score, whose record it gives.
fn judge(
    args: &Args,
    task: &Task,
    solution: &Solution,
    workdir: &WorkDir,
) -> Result<(CaseResult, Recording)> {
    let regime = args.regime.unwrap_or(match args.world {
        WorldName::Contest => Regime::Y2014,
        _ => Regime::Open,
    });
    let mut world = World::build(args.world, regime, &task.seed, args.seconds);
    let is_contest = world.bound.is_some() && args.seconds == CONTEST_SECONDS;
    let reference = task
        .reference
        .filter(|_| is_contest && regime == Regime::Y2014);
    add_demands(&mut world, reference, args.strict);
    let (world_name, regime) = (value_name(&args.world), value_name(&regime));
    let demands = world
        .demands
        .iter()
        .map(|d| d.text.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    console::log(&format!(
        "level 2: {}: world {world_name}, regime {regime}, {} s",
        task.name, args.seconds
    ));
    console::log(&format!("level 2: passes if {demands}"));

    let setting = Setting {
        solution,
        folder: workdir.path(),
        unix: args.unix,
        strict: args.strict,
        time_limit: args.time_limit,
    };
    let name = match args.world {
        WorldName::Contest => format!("{}, {regime}", task.name),
        _ => format!("{}, {world_name}, {regime}", task.name),
    };
    let mut result = CaseResult::new(2, name, solution, Unit::Points);
    if let Some(file) = &task.file {
        result = result.setting("case", file.to_string_lossy());
    }
    if args.seconds < CONTEST_SECONDS {
        result = result.remark(format!("{} s", args.seconds));
    }
    let watch = Watch::start();
    let tallies = match play_all(args, &setting, &world)? {
        Ok(tallies) => tallies,
        Err(failure) => {
            let result = result.fail(failure).under(watch.stop());
            return Ok((result, Recording::default()));
        }
    };
    let noise = watch.stop();
    let median = tallies
        .get((tallies.len() - 1) / 2)
        .context("no run was played")?;
    if world.bound.is_some() {
        result = result.scored(median.score(), reference);
    }
    result = figures(result, median, &world).figure("runs", tallies.len());
    if let [lowest, .., highest] = tallies.as_slice() {
        result = result
            .figure("score_lowest_points", lowest.score())
            .figure("score_highest_points", highest.score());
    }
    let overflows: usize = tallies.iter().map(Tally::overflows).sum();
    result = result
        .figure("overflows_all_runs", overflows)
        .under(noise.at_least_late(percentile(&median.lateness_ms, 0.99)));
    if let Some(failure) = failure(median, &tallies, &world.demands) {
        let said = solution_log::last_lines(&workdir.path().join(solution_log::NAME));
        result = result.fail(failure.said(said));
    }
    Ok((result, median.recording.clone()))
}

/// Plays a world as often as asked; the tallies by ascending score, or the solution's failure.
fn play_all(
    args: &Args,
    setting: &Setting<'_>,
    world: &World,
) -> Result<Result<Vec<Tally>, Failure>> {
    let mut tallies = Vec::new();
    for run in 1..=args.runs {
        let tally = match play(setting, world)? {
            Ok(tally) => tally,
            Err(failure) => return Ok(Err(failure)),
        };
        let points = world.bound.map(|_| format!(", score {:.1}", tally.score()));
        console::log(&format!(
            "level 2: run {run} of {}: {} of {} mice, {} elephants, {} overflows{}",
            args.runs,
            tally.mice.correct,
            tally.mice.sent,
            tally.elephants.correct,
            tally.overflows(),
            points.unwrap_or_default()
        ));
        tallies.push(tally);
    }
    tallies.sort_by(|a, b| a.score().total_cmp(&b.score()));
    Ok(Ok(tallies))
}

/// The demands that do not come with the world: the contest's, and strictness.
fn add_demands(world: &mut World, reference: Option<f64>, strict: bool) {
    if let Some(bound) = world.bound {
        let (least, whose) = match reference {
            Some(reference) => (reference, "the reference's"),
            None => (bound * PASSING_SHARE, "90 % of the bound"),
        };
        let text = format!("the score is at least {least:.1}, {whose}");
        world
            .demands
            .push(Demand::new(text, move |tally| tally.score() >= least));
    }
    let is_demanded = reference.is_none() || strict;
    if is_demanded && !world.demands.iter().any(|demand| demand.forbids_overflow) {
        world.demands.push(Demand::no_overflow());
    }
}

/// What the solution failed of: a wrong answer or an overflow in any run counts, scores and shares
/// are the median run's.
fn failure(median: &Tally, tallies: &[Tally], demands: &[Demand]) -> Option<Failure> {
    let wrong: usize = tallies.iter().map(Tally::wrong).sum();
    if wrong > 0 {
        let samples = tallies.iter().flat_map(|tally| &tally.samples.wrong);
        let samples: Vec<String> = samples
            .take(3)
            .map(|line| format!("\n    {line}"))
            .collect();
        let message = format!(
            "{wrong} answers with status 200 did not hold the nonce's HMAC{}",
            samples.concat()
        );
        return Some(
            Failure::new("wrong_output", message)
                .hint("pass a backend's answer on as it is, to the request that it belongs to."),
        );
    }
    let is_met = |demand: &Demand| {
        if demand.forbids_overflow {
            tallies.iter().all(|tally| (demand.met)(tally))
        } else {
            (demand.met)(median)
        }
    };
    let unmet = demands.iter().filter(|demand| !is_met(demand));
    let mut unmet: Vec<&str> = unmet.map(|demand| demand.text.as_str()).collect();
    if median.answers() == 0 {
        unmet.insert(0, "anything is answered at all");
    }
    if unmet.is_empty() {
        return None;
    }
    let mut message = format!("not met: {}", unmet.join("; "));
    for (name, side) in [("mice", &median.mice), ("elephants", &median.elephants)] {
        message.extend(["\n", name, ": ", &ends(side)]);
    }
    for sample in &median.samples.broken {
        message.extend(["\n    ", sample]);
    }
    Some(
        Failure::slow("demands_unmet", message)
            .hint("--report FILE draws the backends' queues and who was served when.")
            .hint("--runs 3 judges the median of three runs."),
    )
}

/// How the requests of one side ended, in a line.
fn ends(side: &Side) -> String {
    let statuses = side.statuses.iter();
    let mut parts: Vec<String> = statuses
        .map(|(status, count)| format!("{count} answered {status}"))
        .collect();
    let others = [
        ("timed out", side.timed_out),
        ("broken off", side.broken),
        ("not answered", side.unanswered),
    ];
    let others = others.into_iter().filter(|(_, count)| *count > 0);
    parts.extend(others.map(|(what, count)| format!("{count} {what}")));
    format!("{} sent: {}", side.sent, parts.join(", "))
}

fn figures(result: CaseResult, tally: &Tally, world: &World) -> CaseResult {
    let mut result = result
        .figure("mice_sent", tally.mice.sent)
        .figure("mice_served", tally.mice.correct)
        .figure("mice_served_percent", 100.0 * tally.mice_share())
        .figure("elephants_sent", tally.elephants.sent)
        .figure("elephants_served", tally.elephants.correct);
    if let Some(bound) = world.bound {
        result = result
            .figure("deficit_answers", tally.deficit())
            .figure("bound_points", bound)
            .figure("bound_share_percent", 100.0 * tally.score() / bound);
    }
    if world.slow.is_some() {
        result = result.figure("slow_connections_closed", tally.slow_closed);
    }
    result = side_figures(result, "mice", &tally.mice);
    result = side_figures(result, "elephants", &tally.elephants);
    result = result
        .figure("overflows", tally.overflows())
        .figure("failures", tally.failures())
        .figure(
            "longest_queue",
            tally.backends.iter().map(|b| b.longest_queue).max(),
        )
        .figure("backends_busy_percent", 100.0 * tally.busy());
    if let Some(late) = percentile(&tally.lateness_ms, 0.99) {
        result = result.figure("generator_late_p99_ms", late);
    }
    result
}

/// Latencies of the answered, and what became of the others.
fn side_figures(mut result: CaseResult, name: &str, side: &Side) -> CaseResult {
    for (suffix, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        if let Some(latency) = percentile(&side.latencies_ms, share) {
            result = result.figure(&format!("{name}_{suffix}_ms"), latency);
        }
    }
    let statuses = side.statuses.iter();
    let statuses: Map<String, Value> = statuses
        .map(|(status, count)| (status.to_string(), Value::from(*count)))
        .collect();
    result = result.figure(&format!("{name}_statuses"), statuses);
    let others = [
        ("rejected", side.rejected),
        ("timed_out", side.timed_out),
        ("broken", side.broken),
        ("unanswered", side.unanswered),
        ("wrong", side.wrong),
    ];
    for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        result = result.figure(&format!("{name}_{what}"), count);
    }
    result
}

/// The name of a value as the command line has it.
fn value_name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
