//! Level 0: a program that marks the words of a document which the dictionary does not know.
//!
//! The document is generated from the classic word list (`document`) or comes from an original
//! case; what must come out is computed by a slow and obvious `oracle`, and `judge` finds the
//! first difference. The score is the wall time of the whole process (`timing`), as in 2014. Some
//! documents belong to every judgement (`checks`), since the others are tame.

mod args;
mod bench;
mod checks;
mod document;
mod judge;
mod large;
mod oracle;
mod timing;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

pub use args::Args;
use args::DictionaryArgument;
use checks::Checked;
use timing::{Floor, Timed};

use crate::{
    case::Case,
    console,
    noise::Watch,
    report::{CaseResult, Failure, Report, Unit},
    solution::Solution,
    solution_log,
};
use octopus::{WorkDir, interrupt};

/// The reference solution's pace on the original cases, for cases that we generate:
/// seconds for 1,000 words.
const REFERENCE_S_PER_1000_WORDS: f64 = 0.66;

/// The words of the contest's documents, about.
const CONTEST_WORDS: usize = 1000;

/// A document and what must come out.
struct Paper {
    document: Vec<u8>,
    expected: Vec<u8>,
}

impl Paper {
    /// A document whose output the oracle says.
    fn new(document: Vec<u8>) -> Self {
        Self {
            expected: oracle::highlight(level0::WORDS, &document),
            document,
        }
    }
}

/// One case: what is timed, and where it is from.
struct Task {
    name: String,
    paper: Paper,
    reference_s: Option<f64>,
    file: Option<PathBuf>,
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
    if let Some(mebibytes) = args.large {
        return large::run(args, mebibytes, &arena, report);
    }
    let mut bench = Bench::default();
    for task in &tasks {
        let watch = Watch::start();
        let result = play(args, &arena, task, &mut bench)?.under(watch.stop());
        let result = report.staged(result);
        if !result.passed() {
            console::log(&format!(
                "level 0: the run's files are kept in {}",
                workdir.keep().display()
            ));
        }
        report.add(result);
    }
    Ok(())
}

/// What all cases share, made when the first of them needs it.
#[derive(Default)]
struct Bench {
    checked: Option<Checked>,
    floor: Option<Floor>,
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

    /// What the solution writes to stderr.
    fn log(&self) -> PathBuf {
        self.folder.join("solution.log")
    }
}

fn tasks(args: &Args) -> Result<Vec<Task>> {
    if args.case.is_empty() {
        return Ok(vec![generated(args)]);
    }
    args.case.iter().map(|path| original(path)).collect()
}

fn generated(args: &Args) -> Task {
    Task {
        name: format!("generated, seed {}, {} words", args.seed, args.words),
        paper: Paper::new(document::generate(args.seed, args.words, args.mutate)),
        reference_s: Some(REFERENCE_S_PER_1000_WORDS * args.words as f64 / 1000.0),
        file: None,
    }
}

/// A case file; where it has no output, the oracle says what must come out.
fn original(path: &Path) -> Result<Task> {
    let case = Case::load(path, 0)?;
    let mut paper = Paper::new(case.input_text()?.into());
    if case.output.is_some() {
        paper.expected = case.output_text()?.into();
    }
    Ok(Task {
        paper,
        reference_s: case.reference,
        name: case.id,
        file: Some(path.to_owned()),
    })
}

/// Runs the solution on the case as often as asked, and an empty program after each run. After the
/// first comes what belongs to every judgement.
fn play(args: &Args, arena: &Arena, task: &Task, bench: &mut Bench) -> Result<CaseResult> {
    let mut result = CaseResult::new(0, &task.name, &arena.solution, Unit::S);
    if let Some(file) = &task.file {
        result = result.setting("case", file.to_string_lossy());
    } else if args.words < CONTEST_WORDS {
        result = result.remark(format!("{} words", args.words));
    }
    if args.no_checks {
        result = result.remark("one document only");
    }
    let (mut walls, mut floors) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        match attempt(arena, &task.paper, args.time_limit)? {
            Ok(wall) => walls.push(wall.as_secs_f64()),
            Err(failure) if failure.place.is_none() => {
                return Ok(result.fail(failure.at(format!("run {}", run + 1))));
            }
            Err(failure) => return Ok(result.fail(failure)),
        }
        if run == 0 && !args.no_checks {
            let checked = match bench.checked.take() {
                Some(checked) => checked,
                None => checks::run(arena, args.seed, args.time_limit)?,
            };
            let checked = bench.checked.insert(checked);
            result = result.figure("checked_words", checked.words);
            if let Some(failure) = &checked.failure {
                return Ok(result.fail(failure.clone()));
            }
        }
        let floor = bench
            .floor
            .get_or_insert_with(|| Floor::build(&arena.folder));
        floors.extend(floor.time()?.map(|wall| wall.as_secs_f64()));
    }
    let (best, median) = timing::best_and_median(&mut walls);
    let (floor_best, floor_median) = timing::best_and_median(&mut floors);
    result = result.scored(best, task.reference_s);
    if let Some(ratio) = result.ratio {
        // In 2014 the score was the ratio in percent.
        result = result.figure("score_2014_percent", ratio * 100.0);
    }
    let floor = bench.floor.as_ref().map(Floor::name);
    Ok(result
        .figure("wall_best_s", best)
        .figure("wall_median_s", median)
        .figure("floor_best_s", floor_best)
        .figure("floor_median_s", floor_median)
        .figure("floor", floor)
        .figure("runs", walls.len()))
}

/// Runs the solution once on a document: how long it took, or why that is a failure.
fn attempt(arena: &Arena, paper: &Paper, limit: Duration) -> Result<Result<Duration, Failure>> {
    interrupt::check()?;
    let input = arena.folder.join("document.txt");
    let output = arena.folder.join("output.txt");
    fs::write(&input, &paper.document).context("cannot write the document")?;
    let most = 2 * paper.expected.len() as u64 + timing::SPARE;
    let timed = timing::run(arena.command(), &input, &output, &arena.log(), limit, most)?;
    interrupt::check()?;
    let failure = match timed {
        Timed::TooMuch => {
            let message = format!(
                "the solution was killed when it had printed more than {} MiB; the right output has \
                 {} bytes",
                most >> 20,
                paper.expected.len()
            );
            Failure::new("too_much_output", message)
        }
        Timed::Ended { status, .. } if !status.success() => {
            Failure::new("exit_status", format!("the solution ended with {status}"))
        }
        Timed::Killed => {
            let limit = humantime::format_duration(limit);
            let message = format!("the solution was killed after {limit}");
            Failure::slow("time_limit", message).hint(
                "allow more time with --time-limit, or look where it waits: it reads the \
                       document from stdin to its end and must then exit by itself.",
            )
        }
        Timed::Ended { wall, .. } => {
            let found = fs::read(&output).context("cannot read the solution's output")?;
            match judge::first_difference(&paper.expected, &found) {
                None => return Ok(Ok(wall)),
                Some(failure) => {
                    let expected = arena.folder.join("expected.txt");
                    fs::write(&expected, &paper.expected)
                        .context("cannot write what was expected")?;
                    let (expected, output) = (expected.display(), output.display());
                    failure.hint(format!("diff {expected} {output}"))
                }
            }
        }
    };
    Ok(Err(failure.said(solution_log::last_lines(&arena.log()))))
}
