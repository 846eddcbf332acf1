//! A player's folder: a program that plays a level, a manifest (`ctf3.toml`) that says how it is
//! built and run, and how far it has got on the ladder (`.ctf3/progress.json`).
//!
//! `harness test` builds the program and judges the stage that it is at (`session`); `harness watch`
//! does so whenever a file changes.

mod manifest;
mod progress;
mod session;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

pub use manifest::{Manifest, ManifestError};
pub use progress::{Progress, Run};
pub use session::{Session, TestArgs};
pub use watch::{WatchArgs, run as watch};

use crate::{console, input_file, solution::cannot_run};
use octopus::{ProcessGroup, interrupt};

/// The most bytes of a manifest.
const MANIFEST_MAX: u64 = 64 << 10;

/// How often a build is looked after.
const GLANCE: Duration = Duration::from_millis(100);

/// A player's folder.
#[derive(Debug, Clone)]
pub struct Project {
    folder: PathBuf,
    manifest: Manifest,
}

impl Project {
    /// The project in a folder.
    ///
    /// # Errors
    /// There is no manifest, or it cannot be understood; the message says where.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        let folder =
            std::fs::canonicalize(folder).with_context(|| format!("{shown}: no such folder"))?;
        ensure!(folder.is_dir(), "{shown}: not a folder");
        let path = folder.join(Manifest::FILE);
        let shown = path.display();
        ensure!(
            path.exists(),
            "{shown}: there is none. `harness new LEVEL --lang LANGUAGE` makes a folder with one"
        );
        // A pipe would be waited for.
        ensure!(path.is_file(), "{shown}: not a file");
        let text = input_file::read_text(&path, MANIFEST_MAX)
            .with_context(|| format!("cannot read {shown}"))?;
        let manifest = Manifest::parse(&text).with_context(|| format!("{shown}"))?;
        Ok(Self { folder, manifest })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it says of itself.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The program, whether it is built or not.
    pub fn program(&self) -> PathBuf {
        self.folder.join(self.manifest.run.trim_start_matches("./"))
    }

    /// Runs the build command, if there is one; what it says goes to stderr.
    ///
    /// # Errors
    /// The command failed, or the program is not there after it.
    pub fn build(&self) -> Result<()> {
        if let Some(build) = &self.manifest.build {
            console::log(&format!("harness: {build}"));
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("exec 1>&2; {build}")])
                .current_dir(&self.folder)
                .stdin(Stdio::null());
            let mut group = ProcessGroup::spawn(&mut command)
                .map_err(|error| cannot_run("sh".as_ref(), &error))?;
            let status = loop {
                if let Some(status) = group.wait_for(GLANCE)? {
                    break status;
                }
                interrupt::check()?;
            };
            ensure!(status.success(), "the build failed ({status}): {build}");
        }
        let program = self.program();
        let what = match program.metadata() {
            Ok(metadata) if metadata.is_file() => return Ok(()),
            Ok(_) => "is no file",
            Err(_) => "is not there",
        };
        let run = &self.manifest.run;
        bail!("{}: `run` names {run}, which {what}", Manifest::FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_is_no_small_file_is_refused_in_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Manifest::FILE);
        let told = || format!("{:#}", Project::open(folder.path()).unwrap_err());
        std::fs::create_dir(&path).unwrap();
        assert!(told().ends_with("ctf3.toml: not a file"), "{}", told());
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "#".repeat(MANIFEST_MAX as usize + 1)).unwrap();
        assert!(told().ends_with("it has more than 64 KiB"), "{}", told());
        std::fs::write(&path, "level = 0\nrun = './x'").unwrap();
        let project = Project::open(folder.path()).unwrap();
        assert_eq!(project.manifest().level, 0);
        assert!(
            project
                .build()
                .unwrap_err()
                .to_string()
                .ends_with("./x, which is not there")
        );
        std::fs::create_dir(folder.path().join("x")).unwrap();
        assert!(
            project
                .build()
                .unwrap_err()
                .to_string()
                .ends_with("./x, which is no file")
        );
        let told = format!("{:#}", Project::open(&path).unwrap_err());
        assert!(told.ends_with("ctf3.toml: not a folder"), "{told}");
    }
}
