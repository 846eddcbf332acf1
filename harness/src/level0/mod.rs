//! Level 0: a program that marks the words of a document which the dictionary does not know.
//!
//! The document is generated from the classic word list (`document`) or comes from an original
//! case; what must come out is computed by a slow and obvious `oracle`, and `judge` finds the
//! first difference. The score is the wall time of the whole process (`timing`), as in 2014.

mod args;
mod bench;
mod document;
mod judge;
mod oracle;
mod timing;

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::{Context, Result};

pub use args::Args;
use args::DictionaryArgument;

use crate::{
    case::Case,
    console,
    report::{CaseResult, Failure, Report, Unit},
    solution::Solution,
};
use octopus::{WorkDir, interrupt};

/// The reference solution's pace on the original cases, for cases that we generate:
/// seconds for 1,000 words.
const REFERENCE_S_PER_1000_WORDS: f64 = 0.66;

/// One document and what must come out.
struct Task {
    name: String,
    document: Vec<u8>,
    expected: Vec<u8>,
    reference_s: Option<f64>,
}

/// Judges a solution on the cases that the flags name.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    let tasks = tasks(args)?;
    let solution = Solution::find(0, &args.solution)?;
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    let arena = Arena::new(&workdir, &solution, args.dictionary)?;
    if args.bench {
        return bench::run(args, &arena, report);
    }
    let floor = timing::Floor::measure(&arena, args.runs)?;
    for task in &tasks {
        let result = play(args, &arena, task, &floor)?;
        if !result.passed {
            console::log(&format!(
                "level 0: the run's files are kept in {}",
                workdir.keep().display()
            ));
        }
        report.add(result);
    }
    Ok(())
}

/// Where and how the solution is run: its folder, its arguments, its files.
struct Arena {
    folder: PathBuf,
    solution: Solution,
    arguments: Vec<OsString>,
}

impl Arena {
    fn new(workdir: &WorkDir, solution: &Solution, mode: DictionaryArgument) -> Result<Self> {
        let folder = workdir.path().to_owned();
        let mut arguments = Vec::new();
        if mode.applies_to(solution) {
            let dictionary = folder.join("dictionary.txt");
            fs::write(&dictionary, level0::WORDS).context("cannot write the dictionary")?;
            arguments.push(dictionary.into_os_string());
        }
        Ok(Self {
            folder,
            solution: solution.clone(),
            arguments,
        })
    }

    fn command(&self) -> std::process::Command {
        let mut command = self.solution.command(self.arguments.clone());
        command.current_dir(&self.folder);
        command
    }
}

fn tasks(args: &Args) -> Result<Vec<Task>> {
    if args.case.is_empty() {
        return Ok(vec![generated(args)]);
    }
    args.case
        .iter()
        .map(|path| original(&Case::load(path, 0)?))
        .collect()
}

fn generated(args: &Args) -> Task {
    let document = document::generate(args.seed, args.words, args.mutate);
    let expected = oracle::highlight(level0::WORDS, &document);
    Task {
        name: format!("generated, seed {}, {} words", args.seed, args.words),
        document,
        expected,
        reference_s: Some(REFERENCE_S_PER_1000_WORDS * args.words as f64 / 1000.0),
    }
}

fn original(case: &Case) -> Result<Task> {
    Ok(Task {
        name: case.id.clone(),
        document: case.input_text()?.into(),
        expected: case.output_text()?.into(),
        reference_s: case.reference,
    })
}

fn play(args: &Args, arena: &Arena, task: &Task, floor: &timing::Floor) -> Result<CaseResult> {
    let input = arena.folder.join("document.txt");
    let output = arena.folder.join("output.txt");
    fs::write(&input, &task.document).context("cannot write the document")?;
    let mut result = CaseResult::new(0, &task.name, arena.solution.shown(), Unit::S);
    let mut walls = Vec::new();
    for run in 0..args.runs {
        interrupt::check()?;
        let timed = timing::run(arena.command(), &input, &output, args.time_limit)?;
        interrupt::check()?;
        let wall = match timed {
            timing::Timed::Ended { wall, status } if status.success() => wall,
            timing::Timed::Ended { status, .. } => {
                let message = format!("the solution ended with {status}");
                return Ok(result.fail(Failure::new("exit_status", message).at(nth(run))));
            }
            timing::Timed::Killed => {
                let limit = humantime::format_duration(args.time_limit);
                let message = format!("the solution was killed after {limit} (--time-limit)");
                return Ok(result.fail(Failure::new("time_limit", message).at(nth(run))));
            }
        };
        let found = fs::read(&output).context("cannot read the solution's output")?;
        if let Some(failure) = judge::first_difference(&task.expected, &found) {
            return Ok(result.fail(failure));
        }
        walls.push(wall.as_secs_f64());
    }
    let (best, median) = timing::best_and_median(&mut walls);
    result = result.scored(best, task.reference_s);
    if let Some(ratio) = result.ratio {
        // In 2014 the score was the ratio in percent.
        result = result.figure("score_2014_percent", ratio * 100.0);
    }
    Ok(result
        .figure("wall_best_s", best)
        .figure("wall_median_s", median)
        .figure("floor_best_s", floor.best_s)
        .figure("floor", floor.program)
        .figure("runs", walls.len()))
}

fn nth(run: usize) -> String {
    format!("run {}", run + 1)
}
