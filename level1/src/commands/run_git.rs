//! `level1 run-git`, hidden: git that does not outlive who called it.
//!
//! The kernel tells a process of its parent's death only if the process itself asks, so the miner
//! calls git by way of its own program, which asks and then becomes git.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Has the miner's git go this way, where that is possible.
pub fn prepare() {
    #[cfg(target_os = "linux")]
    if let Ok(program) = std::env::current_exe() {
        level1::end_git_with_us(program, crate::cli::RUN_GIT);
    }
}

/// Becomes git, where that is possible.
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let mut git = Command::new("git");
    git.args(arguments);
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        use std::os::unix::process::CommandExt;
        set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent")?;
        let error = git.exec();
        Err(level1::GitError::Missing(error).into())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let status = git.status().map_err(level1::GitError::Missing)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.context("git was ended by a signal")?))
    }
}
