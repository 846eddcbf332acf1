//! The command line: which level, judged how, reported where.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{classic, console, level0, level1, level2, level3, level4, report::Report, simulate};
use octopus::interrupt::{self, EXIT_INTERRUPTED, Interrupted};

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

Exit status: 0 all passed, 1 a solution failed, 2 usage or set-up error, 130 interrupted.";

/// Runs, judges and scores solutions to the levels of Stripe's third Capture the Flag (2014).
///
/// Without a command, every level's own solution is judged on a default case.
#[derive(Debug, Parser)]
#[command(name = "harness", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Also write the results as JSON
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
    let cli = match parse(arguments) {
        Ok(cli) => cli,
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
    let mut report = Report::default();
    let outcome = judge(cli.command, &mut report);
    report.print();
    let interrupted = interrupt::requested()
        || outcome
            .as_ref()
            .is_err_and(anyhow::Error::is::<Interrupted>);
    let mut status = match outcome {
        _ if interrupted => {
            console::log("harness: interrupted");
            EXIT_INTERRUPTED
        }
        Err(error) => {
            console::log(&format!("harness: {error:#}"));
            SETUP_ERROR
        }
        Ok(true) if report.passed() => PASSED,
        Ok(_) => FAILED,
    };
    if let Some(path) = cli.json
        && let Err(error) = report.write_json(&path, interrupted)
    {
        console::log(&format!("harness: {error:#}"));
        status = status.max(SETUP_ERROR);
    }
    ExitCode::from(status)
}

fn parse<I>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = OsString>,
{
    let command = Cli::command();
    let arguments = classic::normalise(&command, arguments);
    Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Judges what the command names; `false` if what it ran failed and the report does not say so.
fn judge(command: Option<Command>, report: &mut Report) -> Result<bool> {
    let Some(command) = command else {
        for run in DEFAULT_RUNS {
            let words = std::iter::once("harness").chain(run.iter().copied());
            judge(parse(words.map(OsString::from))?.command, report)?;
        }
        return Ok(true);
    };
    match command {
        Command::Level0(args) => level0::run(&args, report)?,
        Command::Level1(args) => level1::run(&args, report)?,
        Command::Level2(args) => level2::run(&args, report)?,
        Command::Level3(args) => level3::run(&args, report)?,
        Command::Level4(args) => level4::run(&args, report)?,
        Command::Network(args) => return simulate::run(&args),
    }
    Ok(true)
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
                parse(words.map(OsString::from)).unwrap().command.is_some(),
                "{run:?}"
            );
        }
    }
}
