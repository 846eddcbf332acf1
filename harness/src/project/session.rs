//! `harness test`: which stages of a project are judged, and what is said afterwards.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Result, ensure};

use super::{
    Project,
    progress::{Progress, Run},
};
use crate::{
    ladder::{self, Stage},
    report::{CaseResult, Verdict},
};

/// Builds the program in a folder and judges it at the stage it has reached.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  harness test                       the first stage that is not passed yet
  harness test --all mine            every stage of the project in the folder `mine`
  harness test --stage 3 -- --report run.html -v

What is passed is remembered in `.ctf3`, in the folder.")]
pub struct TestArgs {
    /// The folder, with a `ctf3.toml` in it
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// Judge this stage
    #[arg(long, value_name = "K", conflicts_with = "all")]
    pub stage: Option<u8>,

    /// Judge every stage, whatever becomes of those before
    #[arg(long)]
    pub all: bool,

    /// Further flags of `harness levelN`, after `--`
    #[arg(last = true, value_name = "FLAGS")]
    pub flags: Vec<OsString>,
}

/// A project that is being judged, stage by stage.
#[derive(Debug)]
pub struct Session {
    project: Project,
    progress: Progress,
    /// The stages to be judged, the next one last.
    waiting: Vec<u8>,
    flags: Vec<OsString>,
    judged: Vec<(u8, Verdict)>,
}

impl Session {
    /// Opens and builds the project.
    ///
    /// # Errors
    /// It cannot be opened or built, or has no such stage.
    pub fn start(args: &TestArgs) -> Result<Self> {
        let project = Project::open(&args.dir)?;
        let level = project.manifest().level;
        let progress = Progress::load(project.folder())?;
        let total = ladder::of_level(level).len() as u8;
        let waiting = match args.stage {
            Some(stage) => {
                ladder::Attempt::new(level, stage)?;
                vec![stage]
            }
            None if args.all => (1..=total).rev().collect(),
            None => vec![progress.current(level).unwrap_or(total)],
        };
        project.build()?;
        Ok(Self {
            project,
            progress,
            waiting,
            flags: args.flags.clone(),
            judged: Vec::new(),
        })
    }

    /// The next stage to be judged.
    pub fn next_stage(&mut self) -> Option<u8> {
        self.waiting.pop()
    }

    /// The command line of the harness that judges a stage; `program` is how the harness was called.
    pub fn words(&self, program: &str, stage: u8) -> Vec<OsString> {
        let mut solution = OsString::from("--solution=");
        solution.push(self.project.program());
        let level = self.project.manifest().level;
        let words = [
            program.into(),
            format!("level{level}").into(),
            format!("--stage={stage}").into(),
            solution,
        ];
        words
            .into_iter()
            .chain(self.flags.iter().cloned())
            .collect()
    }

    /// Remembers what became of a stage.
    pub fn record(&mut self, stage: u8, result: &CaseResult) -> Result<()> {
        let of_level = result.level == Some(self.project.manifest().level);
        ensure!(of_level, "a result of another level");
        self.progress.add(Run::of(stage, result));
        self.judged.push((stage, result.verdict()));
        self.progress.save(self.project.folder())
    }

    /// What to do next, for people.
    pub fn advice(&self) -> String {
        let level = self.project.manifest().level;
        let stages = ladder::of_level(level);
        let named = |number: u8| -> Option<(&Stage, String)> {
            let stage = stages.get(usize::from(number).checked_sub(1)?)?;
            let total = stages.len();
            Some((stage, format!("stage {number} of {total}, {}", stage.title)))
        };
        let mut lines = vec![String::new()];
        for (number, verdict) in &self.judged {
            if let Some((stage, name)) = named(*number) {
                let points = match verdict {
                    Verdict::Passed => format!(", {} points", stage.points),
                    Verdict::Failed | Verdict::Undecided => String::new(),
                };
                lines.push(format!("{name}: {}{points}", verdict.shown()));
            }
        }
        let (points, all) = self.progress.points(level);
        lines.push(format!(
            "{points} of {all} points on the ladder of level {level}"
        ));
        let is_undecided = |(_, verdict): &(u8, Verdict)| *verdict == Verdict::Undecided;
        if self.judged.iter().any(is_undecided) {
            lines.push("Undecided: the machine had other things to do. Try again.".to_owned());
        }
        lines.push(String::new());
        let current = self.progress.current(level).unwrap_or_default();
        match named(current) {
            None => lines.push(format!(
                "All stages are passed. The contest itself: harness level{level} --solution {}",
                self.project.program().display()
            )),
            Some((stage, name)) => {
                let optional = if stage.is_optional { " (optional)" } else { "" };
                let was_tried = self.judged.iter().any(|(tried, _)| *tried == current);
                let begin = if was_tried { "You are at" } else { "Next is" };
                lines.push(format!("{begin} {name}{optional}. {}", stage.idea));
                lines.push(format!(
                    "`harness describe level{level} --hints 1` has the contract and a hint."
                ));
            }
        }
        lines.join("\n")
    }
}
