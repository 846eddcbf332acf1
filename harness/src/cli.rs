//! The command line: which level, judged how, reported where.

use std::{borrow::Cow, ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::{
    classic, console, dashboard, grade, kits,
    ladder::Attempt,
    level_arg, level0, level1, level2, level3, level4, live_feed, logbook,
    project::{self, Session, TestArgs},
    report::{Report, Target},
    settings::Settings,
    simulate, solution, texts, trace,
};
use octopus::interrupt::{self, EXIT_INTERRUPTED};

const PASSED: u8 = 0;
const FAILED: u8 = 1;
const SETUP_ERROR: u8 = 2;

const EXAMPLES: &str = "\
To play:
  harness describe level0                  the problem
  harness new level0 --lang python mine    a slow solution to begin with
  cd mine && harness test                  build it, judge the stage it is at, and what to do next

Examples:
  harness                                  judge our solutions of all levels
  harness level0                           judge our level 0
  harness level0 --solution ./highlight.py judge a program of yours, in any language
  harness level0 --json result.json        keep the result for a program
  harness level0 --stage 2                 a stage of the ladder towards it
  harness level4 --seed 7                  judge our level 4 on the flaky network
  harness network --nodes 3 -- ./node {id} run any program on the flaky network

Exit status: 0 all passed, 1 a solution failed or could not be decided on, 2 usage or set-up error,
130 interrupted.";

/// Runs, judges and scores solutions to the levels of Stripe's third Capture the Flag (2014).
///
/// Without a command, every level's own solution is judged on a default case.
#[derive(Debug, Parser)]
#[command(name = "harness", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Also write the results as JSON; `-` for stdout, with all else on stderr
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,

    /// Leave the results out of the history that is kept in your data folder
    #[arg(long, global = true)]
    no_history: bool,

    /// Tell on stdout how the run stands, as JSON lines; all else goes to stderr
    #[arg(long, global = true, conflicts_with = "json")]
    live: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Dictionary highlighter: mark the words that the dictionary does not know
    Level0(level0::Args),
    /// Gitcoin miner: land a commit with a small id before the bots do
    Level1(Box<level1::Args>),
    /// Rate-limiting proxy: let the mice through a flood of elephants
    Level2(level2::Args),
    /// Code search: find every line that holds a text
    Level3(level3::Args),
    /// SQL on five nodes over a flaky network
    Level4(level4::Args),
    /// Any program on a flaky network
    Network(Box<simulate::Args>),
    /// Consensus, or any run of several nodes, as a picture in space and time
    Trace(trace::Args),
    /// The problem of a level, its contract, its stages and hints
    Describe(texts::Args),
    /// A small, slow solution to a level in a language of choice
    New(kits::Args),
    /// Build the program in this folder and judge the stage it is at
    Test(TestArgs),
    /// The same at every change of a file
    Watch(project::WatchArgs),
    /// The solutions of a class, in sandboxes, with a table and a page
    Grade(Box<grade::Args>),
    /// All of it in a browser: problems, your solutions, runs, the history
    Dashboard(dashboard::Args),
}

/// What `harness` without a command judges: one default case a level, as if typed by hand.
const DEFAULT_RUNS: &[&[&str]] = &[
    &["level0", "--seed", "1", "--words", "1000"],
    &["level1"],
    &["level2"],
    &["level3"],
    &["level4", "--seed", "345077290890720933"],
];

/// Parses the arguments, judges, prints and writes the report, and returns the exit status.
pub fn main<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Parsed {
        cli,
        settings,
        attempt,
    } = match parse(arguments.iter().cloned()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            let status = if error.use_stderr() {
                SETUP_ERROR
            } else {
                PASSED
            };
            return ExitCode::from(status);
        }
    };
    if let Err(error) = interrupt::install() {
        console::log(&format!("harness: cannot listen for signals: {error}"));
        return ExitCode::from(SETUP_ERROR);
    }
    let words = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    let mut report = Report::new(words.collect());
    if !cli.no_history {
        report.keep();
    }
    if cli.live {
        live_feed::open();
    }
    let target = cli.json.map(Target::from);
    if target == Some(Target::Stdout) {
        console::give_stdout_to_json();
    }
    if let Some(Err(error)) = target.as_ref().map(|target| report.open(target)) {
        console::log(&format!("harness: {error:#}"));
        return ExitCode::from(SETUP_ERROR);
    }
    match cli.command {
        Some(command) => run_or_stumble(command, settings, attempt, &mut report),
        None => judge_all(&settings, &mut report),
    }
    let status = conclude(&report, target.as_ref());
    if report.is_kept() {
        keep(&report);
    }
    status
}

/// Adds the results to the history, if that is possible: it is no reason for a run to fail.
fn keep(report: &Report) {
    match logbook::keep(report) {
        Ok(ids) => live_feed::tell("kept", &ids),
        Err(error) => console::log(&format!(
            "harness: not kept in the history (--no-history says nothing): {error}"
        )),
    }
}

/// Prints and writes the report; the exit status that follows from it.
fn conclude(report: &Report, target: Option<&Target>) -> ExitCode {
    report.print();
    let interrupted = interrupt::requested();
    let mut status = if interrupted {
        console::log("harness: interrupted");
        EXIT_INTERRUPTED
    } else if report.has_errors() {
        SETUP_ERROR
    } else if report.has_failed() {
        FAILED
    } else {
        PASSED
    };
    if let Some(Err(error)) = target.map(|target| report.write(target, interrupted)) {
        console::log(&format!("harness: {error:#}"));
        status = status.max(SETUP_ERROR);
    }
    ExitCode::from(status)
}

/// A command line that was understood.
struct Parsed {
    cli: Cli,
    settings: Settings,
    /// The stage of a ladder that it names.
    attempt: Option<Attempt>,
}

fn parse<I>(arguments: I) -> Result<Parsed, clap::Error>
where
    I: IntoIterator<Item = OsString>,
{
    let mut command = Cli::command();
    let arguments = classic::normalise(&command, arguments);
    let program = arguments.first().map(|word| word.to_string_lossy());
    let program = program.map_or_else(|| "harness".to_owned(), Cow::into_owned);
    command.build();
    let matches = command.clone().try_get_matches_from(&arguments)?;
    let refuse = |error: anyhow::Error| {
        clap::Error::raw(ErrorKind::ValueValidation, format!("{error:#}\n")).with_cmd(&command)
    };
    let Some(attempt) = attempt(&matches).map_err(refuse)? else {
        return Ok(Parsed {
            settings: Settings::new(&program, &command, &matches),
            cli: Cli::from_arg_matches(&matches)?,
            attempt: None,
        });
    };
    let flags = matches.subcommand().and_then(|(name, inner)| {
        let level = command.find_subcommand(name)?;
        Some(attempt.flags(level, inner))
    });
    let flags = flags.transpose().map_err(refuse)?.unwrap_or_default();
    let matches = command
        .clone()
        .try_get_matches_from(with_flags(arguments, &flags))?;
    let settings = Settings::new(&program, &command, &matches).set_by_stage(&flags);
    Ok(Parsed {
        settings,
        cli: Cli::from_arg_matches(&matches)?,
        attempt: Some(attempt),
    })
}

/// The stage that a command line names, if it does.
fn attempt(matches: &ArgMatches) -> Result<Option<Attempt>> {
    let Some((name, inner)) = matches.subcommand() else {
        return Ok(None);
    };
    let Ok(level) = level_arg::parse(name) else {
        return Ok(None);
    };
    let stage = inner.try_get_one::<u8>("stage").ok().flatten();
    stage.map(|&stage| Attempt::new(level, stage)).transpose()
}

/// A command line with further flags, before what belongs to the solution.
fn with_flags(mut arguments: Vec<OsString>, flags: &[&str]) -> Vec<OsString> {
    let end = arguments.iter().position(|word| word == "--");
    let end = end.unwrap_or(arguments.len());
    arguments.splice(end..end, flags.iter().map(OsString::from));
    arguments
}

/// Judges our solutions of all levels, built by one call of cargo. What cannot be set up for one
/// level does not keep the others from being judged.
fn judge_all(settings: &Settings, report: &mut Report) {
    if let Err(error) = solution::build_all() {
        if !interrupt::requested() {
            report.stumble(&error);
        }
        return;
    }
    for run in DEFAULT_RUNS {
        if interrupt::requested() {
            return;
        }
        let words = std::iter::once(settings.program()).chain(run.iter().copied());
        match parse(words.map(OsString::from)) {
            Ok(parsed) => run_parsed(parsed, report),
            Err(error) => report.stumble(&error.into()),
        }
    }
}

fn run_parsed(parsed: Parsed, report: &mut Report) {
    if let Some(command) = parsed.cli.command {
        run_or_stumble(command, parsed.settings, parsed.attempt, report);
    }
}

/// Does what the command says, and puts into the report what could not be set up.
fn run_or_stumble(
    command: Command,
    settings: Settings,
    attempt: Option<Attempt>,
    report: &mut Report,
) {
    let program = settings.program().to_owned();
    report.begin(settings, attempt);
    let outcome = match command {
        Command::Level0(args) => level0::run(&args, report),
        Command::Level1(args) => level1::run(&args, report),
        Command::Level2(args) => level2::run(&args, report),
        Command::Level3(args) => level3::run(&args, report),
        Command::Level4(args) => level4::run(&args, report),
        Command::Network(args) => simulate::run(&args, report),
        Command::Trace(args) => trace::run(&args),
        Command::Describe(args) => texts::run(&args),
        Command::New(args) => kits::run(&args),
        Command::Test(args) => test(&args, &program, report),
        Command::Watch(args) => project::watch(&args, report.is_kept()),
        Command::Grade(args) => grade::run(&args),
        Command::Dashboard(args) => dashboard::run(&args, report.is_kept()),
    };
    // An interrupt is said when the report is concluded.
    if let Err(error) = outcome
        && !interrupt::requested()
    {
        report.stumble(&error);
    }
}

/// Judges a project at one or all of its stages.
fn test(args: &TestArgs, program: &str, report: &mut Report) -> Result<()> {
    let mut session = Session::start(args)?;
    while let Some(stage) = session.next_stage() {
        let parsed = parse(session.words(program, stage))?;
        let before = report.results().count();
        run_parsed(parsed, report);
        interrupt::check()?;
        // What could not be set up is in the report already.
        let Some(result) = report.results().nth(before) else {
            return Ok(());
        };
        session.record(stage, result)?;
    }
    report.conclude_with(session.advice());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_default_run_parses() {
        for run in DEFAULT_RUNS {
            let words = std::iter::once("harness").chain(run.iter().copied());
            assert!(
                parse(words.map(OsString::from))
                    .unwrap()
                    .cli
                    .command
                    .is_some(),
                "{run:?}"
            );
        }
    }

    fn parse_line(line: &str) -> Result<Parsed, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn every_stage_parses_and_replays_as_it_was_called() {
        for level in 0..crate::ladder::LEVELS {
            for stage in 1..=crate::ladder::of_level(level).len() {
                let line = format!("harness level{level} --stage={stage}");
                let parsed = parse_line(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(parsed.settings.replay(&[]), line);
                assert_eq!(parsed.attempt.unwrap().number() as usize, stage);
            }
        }
    }

    #[test]
    fn a_stage_sets_flags_before_those_of_the_solution() {
        let parsed = parse_line("harness level4 --stage 3 --seed 9 -- --seed 1").unwrap();
        let settings = parsed.settings.json(&[]);
        assert_eq!(settings["monkeys"], "latency,jitter,lagsplit");
        assert_eq!(settings["seed"], "9");
        assert_eq!(settings["arguments"], serde_json::json!(["--seed", "1"]));
        assert_eq!(
            parsed.settings.replay(&[]),
            "harness level4 --stage=3 --seed=9 -- --seed 1"
        );
    }

    #[test]
    fn what_a_stage_sets_is_not_to_be_set_beside_it() {
        let refused = |line: &str| parse_line(line).err().map(|error| error.to_string());
        let both = refused("harness level4 --stage 3 --duration 1s").unwrap();
        assert!(
            both.contains("--stage 3 of level 4 sets --duration itself"),
            "{both}"
        );
        let none = refused("harness level1 --stage 9").unwrap();
        assert!(none.contains("1 (a coin), 2 (a moved head)"), "{none}");
        assert!(refused("harness level0 --stage 0").is_some());
        assert!(refused("harness level0 --stage x").is_some());
    }
}
