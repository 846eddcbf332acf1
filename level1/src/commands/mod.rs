//! The subcommands: from parsed flags to library calls and back to text.

pub mod bench;
pub mod devices;
pub mod mine;
mod progress;
pub mod run_git;
pub mod search;
mod sweep;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The exit code of a run that was interrupted before it was done: 128 and SIGINT's number.
const INTERRUPTED: u8 = 130;

fn interrupted_exit() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// A flag that the first interrupt sets; the second ends the process at once.
fn interrupt_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let listen = || {
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), interrupted.clone())?;
            flag::register(signal, interrupted.clone())
        };
        listen().context("cannot listen for signals")?;
    }
    Ok(interrupted)
}
