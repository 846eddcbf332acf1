//! Wall time of whole processes, and the floor under it.

use std::{
    fs::File,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::Arena;
use octopus::{ProcessGroup, interrupt};

/// How a timed run ended.
pub(super) enum Timed {
    /// By itself, after this long.
    Ended { wall: Duration, status: ExitStatus },
    /// It was killed at the time limit.
    Killed,
}

/// Runs `command < input > output`; the time counts from before the start to the end of the
/// process.
pub(super) fn run(
    mut command: Command,
    input: &Path,
    output: &Path,
    limit: Duration,
) -> Result<Timed> {
    command
        .stdin(File::open(input).context("cannot open the document")?)
        .stdout(
            File::create(output).with_context(|| format!("cannot create {}", output.display()))?,
        )
        .stderr(Stdio::inherit());
    let start = Instant::now();
    let mut group = ProcessGroup::spawn(&mut command)
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    let ended = group.wait_for(limit)?;
    let wall = start.elapsed();
    Ok(ended.map_or(Timed::Killed, |status| Timed::Ended { wall, status }))
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

/// What it costs to start a program that does nothing.
pub(super) struct Floor {
    pub(super) best_s: f64,
    /// Which program that was.
    pub(super) program: &'static str,
}

impl Floor {
    /// Times an empty Rust program where `rustc` is there to build one, else `true`.
    pub(super) fn measure(arena: &Arena, runs: usize) -> Result<Self> {
        let empty = arena.folder.join("empty");
        let (path, program) = if build_empty_program(&empty) {
            (empty.as_path(), "an empty Rust program")
        } else {
            (Path::new("true"), "true")
        };
        let mut walls = Vec::new();
        let nowhere = Path::new("/dev/null");
        for _ in 0..runs {
            interrupt::check()?;
            let limit = Duration::from_secs(10);
            if let Timed::Ended { wall, .. } = run(Command::new(path), nowhere, nowhere, limit)? {
                walls.push(wall.as_secs_f64());
            }
        }
        Ok(Self {
            best_s: best_and_median(&mut walls).0,
            program,
        })
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
