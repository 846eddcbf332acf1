//! Wall time of whole processes, and the floor under it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::solution::cannot_run;
use octopus::ProcessGroup;

/// An empty program that takes longer than this is stuck.
const FLOOR_LIMIT: Duration = Duration::from_secs(10);

/// How a timed run ended.
pub(super) enum Timed {
    /// By itself, after this long.
    Ended { wall: Duration, status: ExitStatus },
    /// It was killed at the time limit.
    Killed,
    /// It was killed when it had printed more than it may.
    TooMuch,
}

/// How often what a program has printed is measured.
const GLANCE: Duration = Duration::from_millis(50);

/// What a program may print beside what is right, in bytes.
pub(super) const SPARE: u64 = 16 << 20;

/// Runs `command < input > output 2> log`; the time counts from before the start to the end of the
/// process. It may print about `most` bytes to each of output and log: one that prints without an
/// end would fill the disk before the time limit.
pub(super) fn run(
    mut command: Command,
    input: &Path,
    output: &Path,
    log: &Path,
    limit: Duration,
    most: u64,
) -> Result<Timed> {
    let create = |path: &Path| {
        File::create(path).with_context(|| format!("cannot create {}", path.display()))
    };
    let printed = [create(output)?, create(log)?];
    command
        .stdin(File::open(input).context("cannot open the document")?)
        .stdout(printed[0].try_clone()?)
        .stderr(printed[1].try_clone()?);
    let start = Instant::now();
    let mut group = ProcessGroup::spawn(&mut command)
        .map_err(|error| cannot_run(command.get_program().as_ref(), &error))?;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let ended = group.wait_for(left.min(GLANCE))?;
        let wall = start.elapsed();
        let is_within = |file: &File| file.metadata().is_ok_and(|found| found.len() <= most);
        if !printed.iter().all(is_within) {
            return Ok(Timed::TooMuch);
        }
        match ended {
            Some(status) => return Ok(Timed::Ended { wall, status }),
            None if wall >= limit => return Ok(Timed::Killed),
            None => {}
        }
    }
}

/// The smallest and the middle value; zero of none.
pub(super) fn best_and_median(seconds: &mut [f64]) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    let best = seconds.first().copied().unwrap_or_default();
    (
        best,
        seconds.get(seconds.len() / 2).copied().unwrap_or_default(),
    )
}

/// A program that does nothing: what it costs to start one is the floor under every time. It is
/// timed between the runs of the solution, so that both meet the same machine.
pub(super) struct Floor {
    program: PathBuf,
    is_empty_rust: bool,
}

impl Floor {
    /// An empty Rust program where `rustc` is there to build one, else `true`.
    pub(super) fn build(folder: &Path) -> Self {
        let empty = folder.join("empty");
        let is_empty_rust = build_empty_program(&empty);
        Self {
            program: if is_empty_rust { empty } else { "true".into() },
            is_empty_rust,
        }
    }

    /// Which program that is.
    pub(super) fn name(&self) -> &'static str {
        if self.is_empty_rust {
            "an empty Rust program"
        } else {
            "true"
        }
    }

    /// Times it once; none if it did not end.
    pub(super) fn time(&self) -> Result<Option<Duration>> {
        let nowhere = Path::new("/dev/null");
        let command = Command::new(&self.program);
        Ok(
            match run(command, nowhere, nowhere, nowhere, FLOOR_LIMIT, 0)? {
                Timed::Ended { wall, .. } => Some(wall),
                Timed::Killed | Timed::TooMuch => None,
            },
        )
    }
}

/// Compiles `fn main() {}` as the workspace's release profile would; `false` if it cannot.
fn build_empty_program(path: &Path) -> bool {
    let source = path.with_extension("rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let built = Command::new("rustc")
        .args([
            "--edition=2024",
            "-Copt-level=3",
            "-Clto=thin",
            "-Ccodegen-units=1",
            "-o",
        ])
        .arg(path)
        .arg(&source)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    built.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_median_of_the_runs() {
        assert_eq!(best_and_median(&mut [0.3, 0.1, 0.2]), (0.1, 0.2));
        assert_eq!(best_and_median(&mut [0.5]), (0.5, 0.5));
        assert_eq!(best_and_median(&mut []), (0.0, 0.0));
    }
}
