//! Finding the program to judge: ours, built by cargo (`build`), or anybody's, looked at before it
//! is run (`executable`), with the files that lie beside it (`neighbours`), shut in where it has to
//! be (`confinement`).

mod build;
mod confinement;
mod executable;
mod neighbours;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

pub use confinement::CONFINEMENT;
pub use executable::{NotRunnable, cannot_run};
use octopus::sandbox::Folder;

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

    /// Judge stage K of the level's ladder instead (`harness describe levelN` lists them)
    ///
    /// The stage sets flags of its own, and `passed` means that stage.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..))]
    pub stage: Option<u8>,

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
    /// SHA-256 of its file in hex, if it could be read.
    pub sha256: Option<String>,
}

impl Solution {
    /// Finds the program that the flags name, building ours if that is the one.
    ///
    /// # Errors
    /// The program does not exist, cannot be run ([`NotRunnable`] says why), or the build failed:
    /// set-up errors.
    pub fn find(level: u8, arguments: &SolutionArgs) -> Result<Self> {
        let (program, ours) = match &arguments.solution {
            Some(path) => (foreign(path)?, false),
            None => (own(level)?, true),
        };
        Ok(Self {
            sha256: executable::sha256(&program),
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
        let level_arguments = level_arguments.into_iter().map(Into::into);
        let words = self.words(level_arguments.collect(), Folder::Private);
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// The words of such a command; the first is a program. `folder` is what the folder that it is
    /// run in is to it, should it be shut in: one that it shares with the judge, or its own.
    pub fn words(&self, mut arguments: Vec<OsString>, folder: Folder) -> Vec<OsString> {
        arguments.extend(self.arguments.iter().cloned());
        confinement::words(&self.program, &arguments, folder)
    }

    /// Links the files beside the program into a folder that it is run in, for one that calls its
    /// helpers by relative paths; nothing for ours, which has none.
    pub fn link_neighbours(&self, folder: &Path) -> Result<()> {
        if !self.ours {
            neighbours::link(&self.program, folder).with_context(|| {
                let program = self.program.display();
                format!(
                    "cannot link the files beside {program} into {}",
                    folder.display()
                )
            })?;
        }
        Ok(())
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

/// Builds our solutions of all levels by one call of cargo, side by side, if we run in the
/// workspace; finding them takes no time afterwards.
pub fn build_all() -> Result<()> {
    let Some(workspace) = workspace() else {
        return Ok(());
    };
    let packages = (0..=4).map(|level| format!("level{level}"));
    let there = packages.filter(|name| workspace.join(name).join("Cargo.toml").is_file());
    build::packages(&workspace, &there.collect::<Vec<_>>())
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
    let shown = name.display();
    let path = if name.components().count() > 1 {
        std::path::absolute(name)?
    } else {
        executable::on_path(name)
            .with_context(|| format!("{shown}: no such program on the PATH"))?
    };
    executable::check(&path).map_err(|reason| anyhow!("{shown}: {reason}"))?;
    Ok(path)
}

fn foreign(path: &Path) -> Result<PathBuf> {
    let refused = |reason: NotRunnable| anyhow!("--solution {}: {reason}", path.display());
    let program = std::fs::canonicalize(path).map_err(|_| refused(NotRunnable::Missing))?;
    executable::check(&program).map_err(refused)?;
    Ok(program)
}

/// The program of our own solution to a level, built now if it was not yet.
///
/// # Errors
/// There is neither a workspace nor a program beside the harness, or it cannot be built.
pub fn own(level: u8) -> Result<PathBuf> {
    let name = format!("level{level}");
    if let Some(workspace) = workspace() {
        ensure!(
            workspace.join(&name).join("Cargo.toml").is_file(),
            "this workspace has no {name}: name a program with --solution PATH"
        );
        return build::program(&workspace, &name);
    }
    let beside = env::current_exe()
        .ok()
        .map(|harness| harness.with_file_name(&name));
    match beside {
        Some(program) if program.is_file() => Ok(program),
        _ => bail!("neither a workspace nor {name} beside the harness: use --solution PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_that_cannot_run_is_refused_by_name() {
        let refused = |path: &str| foreign(Path::new(path)).unwrap_err().to_string();
        assert!(refused("/no/such/program").contains("/no/such/program"));
        assert!(refused("/").contains("not a file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(refused(&file.path().to_string_lossy()).contains("not executable"));
    }
}
