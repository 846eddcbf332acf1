//! `rqlited`: level4 with the command line of rqlite 10.

use std::env;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use level4::rqlited::{Launch, USAGE, translate};
use level4::{Fault, RunError, note, run_program, set_program, set_verbose, start_again};

fn main() -> ExitCode {
    set_program("rqlited");
    let origin = env::current_dir();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("{error:#}"));
            if let Some(RunError::Fault(Fault::Skip { .. })) = error.downcast_ref() {
                note(format_args!("{}", start_again(origin)));
            }
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let arguments = env::args_os().skip(1).map(|argument| {
        let text = argument.into_string();
        text.map_err(|argument| anyhow::anyhow!("{}: no UTF-8", argument.display()))
    });
    let arguments: Vec<String> = arguments.collect::<Result<_, _>>()?;
    match translate(arguments)? {
        // Nobody may be reading.
        Launch::Help => drop(write!(std::io::stdout(), "{USAGE}")),
        Launch::Version => {
            let version = env!("CARGO_PKG_VERSION");
            drop(writeln!(std::io::stdout(), "rqlited level4-{version}"));
        }
        Launch::Node {
            settings,
            folder,
            is_verbose,
        } => {
            set_verbose(is_verbose);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            env::set_current_dir(&folder)
                .with_context(|| format!("cannot use the folder {}", folder.display()))?;
            let folder = env::current_dir().context("the folder is gone")?;
            run_program(*settings, &folder)?;
        }
    }
    Ok(())
}
