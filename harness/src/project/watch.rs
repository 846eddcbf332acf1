//! `harness watch`: judges a project at every change of its files.
//!
//! Each run is a process of its own (`harness test`), which a further change ends in the middle:
//! what is judged is always what is in the files now.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use notify::{RecursiveMode, Watcher};

use super::{Manifest, Progress, Project, TestArgs};
use crate::console;
use octopus::{ProcessGroup, interrupt};

/// An editor writes a file in several steps: a change is over when nothing happens for so long.
const QUIET: Duration = Duration::from_millis(200);

/// How often a run and the user are looked after.
const GLANCE: Duration = Duration::from_millis(50);

/// How long a run may take to clean up when it is ended.
const GRACE: Duration = Duration::from_secs(20);

/// Judges a project now and whenever one of its files changes, until it is interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files are those that `watch` in ctf3.toml names, and ctf3.toml itself. Ctrl-C ends it.

Examples:
  harness watch              the project in this folder
  harness watch mine --all   every stage, each time")]
pub struct WatchArgs {
    #[command(flatten)]
    test: TestArgs,
}

/// Watches until it is interrupted; results are kept in the history, or not.
pub fn run(args: &WatchArgs, is_kept: bool) -> Result<()> {
    let mut project = Project::open(&args.test.dir)?;
    let (sender, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Whatever happened: what the files are now is looked at anyhow.
        let _nobody_waits = sender.send(event.is_ok());
    })
    .context("cannot watch files")?;
    while !interrupt::requested() {
        // A manifest that cannot be understood at the moment is told by the run.
        project = Project::open(&args.test.dir).unwrap_or(project);
        let files = watched(&project);
        for folder in folders(&files) {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("cannot watch {}", folder.display()))?;
        }
        let seen = look(&files);
        if run_once(args, is_kept, &files, &seen, &changes)? == Ended::ByItself {
            tell(&project)?;
        }
        wait_for_change(&files, &seen, &changes)?;
        if let Some(file) = changed(&files, &seen) {
            let name = file.file_name().unwrap_or_default().display();
            console::print(&format!("\n{name} has changed: it is judged again"));
        }
    }
    Ok(())
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByItself,
    /// A file changed, or the user has had enough.
    Early,
}

/// The files whose change counts.
fn watched(project: &Project) -> Vec<PathBuf> {
    let names = project.manifest().watch.iter().map(String::as_str);
    let names = names.chain([Manifest::FILE]);
    names
        .map(|name| project.folder().join(name.trim_start_matches("./")))
        .collect()
}

/// The folders that they are in: a file that an editor replaces is seen there only.
fn folders(files: &[PathBuf]) -> Vec<&Path> {
    let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

/// What a file looks like from outside: when it was changed, and its size.
type Look = Option<(SystemTime, u64)>;

fn look(files: &[PathBuf]) -> Vec<Look> {
    let look = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(look).collect()
}

/// The first file that is another one than was seen.
fn changed<'a>(files: &'a [PathBuf], seen: &[Look]) -> Option<&'a Path> {
    let now = look(files);
    let mut pairs = files.iter().zip(now.iter().zip(seen));
    let (file, _) = pairs.find(|(_, (now, seen))| now != seen)?;
    Some(file)
}

/// Judges once; ends early if a file changes meanwhile, or if the user has had enough.
fn run_once(
    args: &WatchArgs,
    is_kept: bool,
    files: &[PathBuf],
    seen: &[Look],
    changes: &Receiver<bool>,
) -> Result<Ended> {
    let harness = std::env::current_exe().context("cannot find the harness's own path")?;
    let test = &args.test;
    let mut command = Command::new(harness);
    command.arg("test").arg(&test.dir).stdin(Stdio::null());
    if let Some(stage) = test.stage {
        command.arg(format!("--stage={stage}"));
    }
    if test.all {
        command.arg("--all");
    }
    if !is_kept {
        command.arg("--no-history");
    }
    command.arg("--").args(&test.flags);
    let mut group = ProcessGroup::spawn(&mut command).context("cannot run the harness")?;
    loop {
        if group.wait_for(GLANCE)?.is_some() {
            return Ok(Ended::ByItself);
        }
        let has_changed = changes.try_iter().count() > 0 && look(files) != seen;
        if has_changed || interrupt::requested() {
            group.terminate(GRACE)?;
            return Ok(Ended::Early);
        }
    }
}

/// The last runs in a line.
fn tell(project: &Project) -> Result<()> {
    if interrupt::requested() {
        return Ok(());
    }
    let progress = Progress::load(project.folder())?;
    let level = project.manifest().level;
    console::print(&format!(
        "\nlast runs {} · waiting for a change (Ctrl-C ends)",
        progress.sparkline(level)
    ));
    Ok(())
}

/// Waits until a file is another one than was seen, and nothing happens any more.
fn wait_for_change(files: &[PathBuf], seen: &[Look], changes: &Receiver<bool>) -> Result<()> {
    while !interrupt::requested() {
        if look(files) != seen {
            while changes.recv_timeout(QUIET).is_ok() {
                if interrupt::requested() {
                    break;
                }
            }
            return Ok(());
        }
        match changes.recv_timeout(GLANCE) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                ensure!(interrupt::requested(), "files are not watched any more");
            }
        }
    }
    Ok(())
}
