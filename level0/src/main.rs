//! The `level0` program: flags in, exit code out.
#![forbid(unsafe_code)]

mod cli;

use level0::{Job, Markers, Report};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code when a file cannot be read or written, and for wrong flags.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let job = plain_job(&arguments).unwrap_or_else(cli::job_from_flags);
    if job.input.is_none() && io::stdin().is_terminal() {
        let _ = writeln!(
            io::stderr(),
            "level0: reading the document from the terminal; end it with Ctrl-D"
        );
    }
    match level0::run(&job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be reading.
            let _ = writeln!(io::stderr(), "level0: {error}");
            ExitCode::from(FAILURE)
        }
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
