//! `level2`: reads flags, runs the proxy, and says in one line what went wrong.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use level2::{Flags, Inherited, Notes, inherited, run};

fn main() -> ExitCode {
    let notes = Notes::stderr();
    let outcome = serve(&notes);
    if let Err(error) = &outcome {
        notes.write(format_args!("{error:#}"));
    }
    notes.flush();
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn serve(notes: &Notes) -> Result<()> {
    let flags = Flags::parse();
    let sockets = inherited().context("cannot take over the sockets of systemd")?;
    let config = flags.clone().resolve(Inherited::of(&sockets))?;
    Ok(run(config, &flags, sockets, notes)?)
}
