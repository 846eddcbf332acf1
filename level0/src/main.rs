//! The `level0` program: flags in, exit code out.
#![forbid(unsafe_code)]

mod cli;

use cli::Invocation;
use level0::{Job, Markers, Report};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of `--prose --check` where a word is unknown.
const UNKNOWN: u8 = 1;

/// Exit code when a file cannot be read or written, and for wrong flags.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let plain = plain_job(&arguments).map(Invocation::Contest);
    match plain.unwrap_or_else(|| cli::parse(&arguments)) {
        Invocation::Contest(job) => highlight(&job),
        Invocation::Prose(invocation) => check(&invocation.job, invocation.check),
    }
}

/// The call of 2014, `level0 [DICTIONARY]`, without the time it takes to set up a flag parser.
fn plain_job(arguments: &[OsString]) -> Option<Job> {
    let dictionaries = match arguments {
        [] => Vec::new(),
        [path] if !path.is_empty() && !path.as_encoded_bytes().starts_with(b"-") => {
            vec![PathBuf::from(path)]
        }
        _ => return None,
    };
    Some(Job {
        dictionaries,
        input: None,
        output: None,
        report: Report::Document(Markers::ANGLE_BRACKETS),
        threads: None,
    })
}

fn highlight(job: &Job) -> ExitCode {
    if job.input.is_none() {
        say_if_waiting();
    }
    match level0::run(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(FAILURE)
        }
    }
}

fn check(job: &level0::prose::Job, unknown_fails: bool) -> ExitCode {
    if (job.paths.is_empty() && job.add.is_empty()) || job.paths.iter().any(|path| path == "-") {
        say_if_waiting();
    }
    let mut is_complete = true;
    let checked = level0::prose::run(job, &mut |problem| {
        is_complete = false;
        say(problem);
    });
    match checked {
        Ok(_) if !is_complete => ExitCode::from(FAILURE),
        Ok(count) if unknown_fails && count.unknown > 0 => ExitCode::from(UNKNOWN),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(FAILURE)
        }
    }
}

fn say_if_waiting() {
    if io::stdin().is_terminal() {
        say(&"reading the document from the terminal; end it with Ctrl-D");
    }
}

fn say(message: &dyn Display) {
    // Nobody may be reading.
    let _ = writeln!(io::stderr(), "level0: {message}");
}
