//! What a long-running solution says, kept in its folder: for whoever looks into a failure, and for
//! one line of it in the report.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::report::Failure;

/// The file's name in the folder of a run.
const NAME: &str = "solution.log";

/// A file that takes a solution's stdout and stderr.
#[derive(Debug)]
pub struct SolutionLog {
    path: PathBuf,
    file: File,
}

impl SolutionLog {
    /// Starts an empty log in a folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Lets a command write to the log, and read nothing.
    pub fn attach(&self, command: &mut Command) -> Result<()> {
        let share = || {
            self.file
                .try_clone()
                .context("cannot share the solution's log")
        };
        command
            .stdin(Stdio::null())
            .stdout(share()?)
            .stderr(share()?);
        Ok(())
    }

    /// The failure of a solution that ended by itself, with the last thing that it said.
    pub fn ended(&self, status: std::process::ExitStatus) -> Failure {
        let mut message = format!("the solution ended by itself with {status}");
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
            message = format!("{message}; its last words: {line}");
        }
        Failure::new("exit_status", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = SolutionLog::create(folder.path()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo no such port >&2; echo; exit 3"]);
        log.attach(&mut command).unwrap();
        let status = command.status().unwrap();
        let failure = log.ended(status);
        assert_eq!(failure.kind, "exit_status");
        let ends = failure
            .message
            .ends_with("exit status: 3; its last words: no such port");
        assert!(ends, "{}", failure.message);
    }
}
