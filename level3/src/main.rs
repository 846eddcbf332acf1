//! The `level3` program: parses flags, runs what they ask for, and prints the error if there is
//! one.

#![forbid(unsafe_code)]

mod cli;
mod client;
mod servers;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Search(search)) = &cli.command {
        return client::run(search);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            level3::note!("level3: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::StartServers(settings)) = cli.command {
        return servers::run_all(&settings);
    }
    if cli.role.die_with_parent {
        servers::end_with_parent()?;
    }
    match cli.role.id {
        Some(id) => servers::run_node(id, &cli.settings),
        None if cli.role.master => servers::run_master(&cli.settings),
        None => {
            Cli::command().print_help().context("cannot print help")?;
            bail!("nothing to run: give --master, --id N, or start-servers");
        }
    }
}
