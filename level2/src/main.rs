//! `level2`: reads flags, runs the proxy, and says in one line what went wrong.

use std::process::ExitCode;

use clap::Parser;
use level2::config::Flags;
use level2::notes::note;
use level2::server;

fn main() -> ExitCode {
    match Flags::parse().resolve().and_then(server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
