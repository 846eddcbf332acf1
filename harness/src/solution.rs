//! Finding the program to judge: ours, built by cargo, or anybody's.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use octopus::interrupt;

/// The flags by which every level names its solution.
#[derive(Debug, Clone, Default, Args)]
pub struct SolutionArgs {
    /// Judge this program (default: ours, built when needed)
    ///
    /// The path is resolved against the current folder. Without it the workspace's own solution
    /// is built by cargo; outside the workspace, the program of that name beside the harness is
    /// taken.
    #[arg(short = 'r', long, value_name = "PATH")]
    pub solution: Option<PathBuf>,

    /// Arguments for the solution, after `--`
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

/// A program that plays a level.
#[derive(Debug, Clone)]
pub struct Solution {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// What the user gives it in addition to what the level does.
    pub arguments: Vec<OsString>,
    /// Whether it is the workspace's own.
    pub ours: bool,
}

impl Solution {
    /// Finds the program that the flags name, building ours if that is the one.
    ///
    /// # Errors
    /// The program does not exist or is not executable, or the build failed: set-up errors.
    pub fn find(level: u8, arguments: &SolutionArgs) -> Result<Self> {
        let (program, ours) = match &arguments.solution {
            Some(path) => (foreign(path)?, false),
            None => (own(level)?, true),
        };
        Ok(Self {
            program,
            arguments: arguments.arguments.clone(),
            ours,
        })
    }

    /// A command that runs the program with the level's arguments, then the user's.
    pub fn command<I>(&self, level_arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut command = Command::new(&self.program);
        command
            .args(level_arguments.into_iter().map(Into::into))
            .args(&self.arguments);
        command
    }

    /// The command line for reports, without what the level adds.
    pub fn shown(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        let arguments = self
            .arguments
            .iter()
            .map(|a| a.to_string_lossy().into_owned());
        std::iter::once(program).chain(arguments).collect()
    }
}

/// The root of the workspace that we run in, if any: found upwards from the current folder, else
/// from the harness binary (which cargo puts below it).
pub fn workspace() -> Option<PathBuf> {
    let starts = [env::current_dir().ok(), env::current_exe().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find_map(|folder| {
            let is_root = folder.join("Cargo.lock").is_file()
                && folder.join("harness/Cargo.toml").is_file()
                && folder.join("level0/Cargo.toml").is_file();
            is_root.then(|| folder.to_owned())
        })
}

/// The absolute path of a program given as a path or, like in a shell, by its name alone.
///
/// # Errors
/// There is none of that name, or it is not executable.
pub fn find_program(name: &Path) -> Result<PathBuf> {
    // Links stay as they are: some programs look at the name that they are called by.
    let runs = |path: &PathBuf| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if name.components().count() > 1 {
        let path = std::path::absolute(name)?;
        return Some(path)
            .filter(runs)
            .with_context(|| format!("{}: not an executable file", name.display()));
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(runs)
        .with_context(|| format!("{}: no such program on the PATH", name.display()))
}

fn foreign(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let program = std::fs::canonicalize(path)
        .with_context(|| format!("--solution {shown}: cannot be found"))?;
    ensure!(program.is_file(), "--solution {shown}: not a file");
    let executable = rustix::fs::access(&program, rustix::fs::Access::EXEC_OK).is_ok();
    ensure!(
        executable,
        "--solution {shown}: not executable (chmod +x {shown})"
    );
    Ok(program)
}

fn own(level: u8) -> Result<PathBuf> {
    let name = format!("level{level}");
    if let Some(workspace) = workspace() {
        ensure!(
            workspace.join(&name).join("Cargo.toml").is_file(),
            "this workspace has no {name}: name a program with --solution PATH"
        );
        return build(&workspace, &name);
    }
    let beside = env::current_exe()
        .ok()
        .map(|harness| harness.with_file_name(&name));
    match beside {
        Some(program) if program.is_file() => Ok(program),
        _ => bail!("neither a workspace nor {name} beside the harness: use --solution PATH"),
    }
}

/// Builds a package with cargo, whose progress goes to stderr, and returns its program's path as
/// cargo tells it, wherever the target folder is.
fn build(workspace: &Path, name: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(["build", "--release", "--package", name])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo to build our solution")?;
    let mut program = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            program = executable(&line?, name).or(program);
        }
    }
    let status = child.wait()?;
    interrupt::check()?;
    ensure!(status.success(), "cargo could not build {name}");
    program.with_context(|| format!("cargo built {name}, but named no program"))
}

/// The program that a line of cargo's messages announces, if it is the one called `name`.
fn executable(message: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let wanted = message["reason"] == "compiler-artifact"
        && target["name"] == name
        && target["kind"].as_array()?.iter().any(|kind| kind == "bin");
    wanted
        .then(|| message["executable"].as_str().map(PathBuf::from))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_taken_from_cargos_messages() {
        let message = r#"{"reason": "compiler-artifact", "target": {"name": "level0",
            "kind": ["bin"]}, "executable": "/elsewhere/release/level0"}"#;
        assert_eq!(
            executable(message, "level0"),
            Some("/elsewhere/release/level0".into())
        );
        assert_eq!(executable(message, "level1"), None);
        assert_eq!(executable(&message.replace("bin", "lib"), "level0"), None);
        assert_eq!(executable("Compiling level0", "level0"), None);
    }

    #[test]
    fn a_solution_that_cannot_run_is_refused_by_name() {
        let refused = |path: &str| foreign(Path::new(path)).unwrap_err().to_string();
        assert!(refused("/no/such/program").contains("/no/such/program"));
        assert!(refused("/").contains("not a file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(refused(&file.path().to_string_lossy()).contains("not executable"));
    }
}
