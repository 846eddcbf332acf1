//! The `level1` program: flags in, library called, exit code out.
//!
//! Exit codes: 0 done, 2 wrong input or a failure, 130 interrupted before it was done.

mod cli;
mod commands;

use cli::{Cli, Command};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Cli::from_process().command {
        Command::Mine(args) => commands::mine::run(&args),
        Command::Search(args) => commands::search::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::RunGit { arguments } => commands::run_git::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "level1: {error:#}");
        ExitCode::from(2)
    })
}
