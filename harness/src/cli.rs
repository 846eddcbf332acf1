//! The command line: which level, judged how, reported where.

use std::{borrow::Cow, ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    classic, console, level0, level1, level2, level3, level4,
    report::{Report, Target},
    settings::Settings,
    simulate, solution,
};
use octopus::interrupt::{self, EXIT_INTERRUPTED};

const PASSED: u8 = 0;
const FAILED: u8 = 1;
const SETUP_ERROR: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  harness                                  judge our solutions of all levels
  harness level0                           judge our level 0
  harness level0 --solution ./highlight.py judge a program of yours, in any language
  harness level0 --json result.json        keep the result for a program
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
    Network(simulate::Args),
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
    let (cli, settings) = match parse(arguments.iter().cloned()) {
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
    let target = cli.json.map(Target::from);
    if target == Some(Target::Stdout) {
        console::give_stdout_to_json();
    }
    if let Some(Err(error)) = target.as_ref().map(|target| report.open(target)) {
        console::log(&format!("harness: {error:#}"));
        return ExitCode::from(SETUP_ERROR);
    }
    match cli.command {
        Some(command) => judge_or_stumble(command, settings, &mut report),
        None => judge_all(&settings, &mut report),
    }
    conclude(&report, target.as_ref())
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

fn parse<I>(arguments: I) -> Result<(Cli, Settings), clap::Error>
where
    I: IntoIterator<Item = OsString>,
{
    let mut command = Cli::command();
    let arguments = classic::normalise(&command, arguments);
    let program = arguments.first().map(|word| word.to_string_lossy());
    let program = program.map_or_else(|| "harness".to_owned(), Cow::into_owned);
    command.build();
    let matches = command.clone().try_get_matches_from(arguments)?;
    let settings = Settings::new(&program, &command, &matches);
    Ok((Cli::from_arg_matches(&matches)?, settings))
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
            Ok((cli, settings)) => {
                if let Some(command) = cli.command {
                    judge_or_stumble(command, settings, report);
                }
            }
            Err(error) => report.stumble(&error.into()),
        }
    }
}

/// Judges what the command names, and puts into the report what could not be set up.
fn judge_or_stumble(command: Command, settings: Settings, report: &mut Report) {
    report.begin(settings);
    let outcome = match command {
        Command::Level0(args) => level0::run(&args, report),
        Command::Level1(args) => level1::run(&args, report),
        Command::Level2(args) => level2::run(&args, report),
        Command::Level3(args) => level3::run(&args, report),
        Command::Level4(args) => level4::run(&args, report),
        Command::Network(args) => simulate::run(&args, report),
    };
    // An interrupt is said when the report is concluded.
    if let Err(error) = outcome
        && !interrupt::requested()
    {
        report.stumble(&error);
    }
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
                    .0
                    .command
                    .is_some(),
                "{run:?}"
            );
        }
    }
}
