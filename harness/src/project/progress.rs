//! How far a project has got: the stages it has passed, and its last runs.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    ladder,
    report::{CaseResult, Verdict},
};

/// How many runs are remembered.
const RUNS_MAX: usize = 100;

/// The most that is read of a progress file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What is remembered of a project.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    passed: BTreeSet<u8>,
    runs: Vec<Run>,
}

/// One judged stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The stage, from 1.
    pub stage: u8,
    /// Whether it was passed.
    pub passed: bool,
    /// `passed`, `failed` or `undecided`.
    pub verdict: String,
    /// The level's score in its own unit, if there was one.
    pub score: Option<f64>,
    /// When, as RFC 3339 says it.
    pub at: String,
}

impl Run {
    /// What a result says of a stage, now.
    pub fn of(stage: u8, result: &CaseResult) -> Self {
        let verdict = match result.verdict() {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Undecided => "undecided",
        };
        Self {
            stage,
            passed: result.passed(),
            verdict: verdict.to_owned(),
            score: result.score,
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
}

impl Progress {
    fn path(folder: &Path) -> PathBuf {
        folder.join(".ctf3").join("progress.json")
    }

    /// What is known of the project in a folder; nothing of one that was never judged.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = Self::path(folder);
        let shown = path.display();
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        anyhow::ensure!(
            size <= FILE_MAX,
            "{shown} is too large: remove it to begin anew"
        );
        let text = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{shown} is damaged: remove it to begin anew"))
    }

    /// Keeps it in the project's folder: whole, or as it was before.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = Self::path(folder);
        let write = || -> io::Result<()> {
            let home = path.parent().unwrap_or(folder);
            fs::create_dir_all(home)?;
            let file = tempfile::NamedTempFile::new_in(home)?;
            serde_json::to_writer_pretty(&file, self)?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Adds a run.
    pub fn add(&mut self, run: Run) {
        if run.passed {
            self.passed.insert(run.stage);
        }
        self.runs.push(run);
        let excess = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..excess);
    }

    /// Whether a stage was passed once.
    pub fn has_passed(&self, stage: u8) -> bool {
        self.passed.contains(&stage)
    }

    /// The first stage of a level that was not passed yet; none if there is none.
    pub fn current(&self, level: u8) -> Option<u8> {
        let stages = 1..=ladder::of_level(level).len() as u8;
        stages.into_iter().find(|stage| !self.has_passed(*stage))
    }

    /// The points of all stages that were passed, and of all that there are.
    pub fn points(&self, level: u8) -> (u32, u32) {
        let stages = || ladder::of_level(level).iter().zip(1..);
        let had = stages().filter(|(_, number)| self.has_passed(*number));
        (
            had.map(|(stage, _)| stage.points).sum(),
            stages().map(|(stage, _)| stage.points).sum(),
        )
    }

    /// The last ten runs, the newest last: as high as their stage, the lowest for a failure.
    pub fn sparkline(&self, level: u8) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let total = ladder::of_level(level).len().max(1);
        let last = self.runs.iter().skip(self.runs.len().saturating_sub(10));
        last.map(|run| {
            let height = usize::from(run.stage) * (BARS.len() - 1) / total;
            let height = if run.passed { height.max(1) } else { 0 };
            BARS[height.min(BARS.len() - 1)]
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stage: u8, passed: bool) -> Run {
        Run {
            stage,
            passed,
            verdict: String::new(),
            score: None,
            at: String::new(),
        }
    }

    #[test]
    fn progress_is_kept_and_goes_from_stage_to_stage() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::load(folder.path()).unwrap();
        assert_eq!(progress.current(4), Some(1));
        for (stage, passed) in [(1, true), (3, true), (2, false)] {
            progress.add(run(stage, passed));
        }
        progress.save(folder.path()).unwrap();
        let again = Progress::load(folder.path()).unwrap();
        assert_eq!(again, progress);
        assert_eq!(again.current(4), Some(2));
        assert_eq!(again.points(4).0, 20);
        assert_eq!(again.sparkline(4), "▂▃▁");
        for stage in 1..=9 {
            progress.add(run(stage, true));
        }
        assert_eq!(progress.current(4), None);
        assert_eq!(progress.points(4).0, progress.points(4).1);
        assert_eq!(progress.sparkline(4).chars().count(), 10);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        Progress::default().save(folder.path()).unwrap();
        fs::write(Progress::path(folder.path()), "{").unwrap();
        let error = Progress::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("progress.json is damaged"), "{error}");
    }
}
