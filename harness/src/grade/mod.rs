//! `harness grade`: a class's solutions, unpacked, built and judged in sandboxes, in one run.
//!
//! The roster (`roster`) says what there is; `fetch` unpacks and builds it, `judging` runs a level's
//! own judge on it, each in a `room`. What a run gave is a `record`, kept as a file, so that a
//! grading can go on where it was left. Of all records together (`class`) come `tables` and a
//! `page`.
//!
//! Two sandboxes lie around a student's program: the judge's, with a network of its own, and within
//! it one that the judge makes for each process that it starts, from which the judge can neither be
//! seen nor reached but by what the level is about.

mod args;
mod class;
mod fetch;
mod judging;
mod output;
mod page;
mod record;
mod room;
mod roster;
mod scoreboard;
mod tables;
mod tools;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use octopus::{WorkDir, interrupt};
use sha2::{Digest, Sha256};

pub use args::Args;
pub use scoreboard::{Cell, Row, RunMark, Scoreboard};

use self::{
    class::Class,
    fetch::{Found, Refused, Unpacked},
    judging::Built,
    output::Output,
    record::{Outcome, Record, Run, bounded},
    room::Building,
    roster::{Roster, Submission},
    tables::printable,
};
use crate::console;

/// What all workers have in common.
struct Grading<'a> {
    args: &'a Args,
    roster: &'a Roster,
    building: Building,
    output: Output,
    store: WorkDir,
    /// Of the settings that a result depends on.
    settings: String,
    class: Mutex<Class>,
    waiting: Mutex<VecDeque<usize>>,
}

/// Grades a class.
///
/// # Errors
/// The roster cannot be read, there can be no sandboxes, results cannot be written, or some runs
/// could not be judged.
pub fn run(args: &Args) -> Result<()> {
    let roster = Roster::load(&args.roster)?;
    args.check_stages()?;
    let building = args.building()?;
    building.check()?;
    if !building.has_sandboxes {
        console::log("harness: without sandboxes: submissions have all the rights that you have");
    }
    let title = roster.title.clone().unwrap_or_else(|| "Grades".to_owned());
    let grading = Grading {
        args,
        roster: &roster,
        settings: args.settings(),
        output: Output::open(&args.out)?,
        store: WorkDir::temporary()?,
        class: Mutex::new(Class::new(title, args.levels.clone(), args.has_stages())),
        waiting: Mutex::new((0..roster.submissions.len()).collect()),
        building,
    };
    {
        // Everybody has a row, whatever becomes of what was handed in.
        let mut class = grading.class();
        for submission in &roster.submissions {
            class.student(&submission.student);
        }
    }
    let failed = grading.work();
    let class = grading.finish()?;
    console::print(&tables::table(&class));
    console::print(&format!("\n{}", grading.output.shown()));
    failed?;
    let records = class
        .students
        .iter()
        .flat_map(|student| student.levels.values());
    let errors = records
        .flatten()
        .filter(|record| record.outcome == Outcome::Error);
    let errors = errors.count();
    ensure!(
        errors == 0,
        "{errors} runs could not be judged; they are tried again the next time"
    );
    Ok(())
}

impl Grading<'_> {
    fn class(&self) -> MutexGuard<'_, Class> {
        self.class.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all submissions judged, by so many workers; the first error of any.
    fn work(&self) -> Result<()> {
        thread::scope(|scope| {
            let workers = (0..self.args.jobs.get()).map(|_| scope.spawn(|| self.work_alone()));
            let workers: Vec<_> = workers.collect();
            let mut outcome = Ok(());
            for worker in workers {
                let ended = worker
                    .join()
                    .unwrap_or_else(|_panic| Err(anyhow::anyhow!("a worker panicked")));
                outcome = outcome.and(ended);
            }
            outcome
        })
    }

    fn work_alone(&self) -> Result<()> {
        loop {
            interrupt::check()?;
            let next = || {
                let mut waiting = self.waiting.lock();
                let waiting = waiting.as_mut().ok()?;
                waiting.pop_front()
            };
            let Some(number) = next() else {
                return Ok(());
            };
            let submission = &self.roster.submissions[number];
            self.grade(number, submission)
                .with_context(|| printable(&submission.student))?;
        }
    }

    /// Judges all runs of what was handed in.
    fn grade(&self, number: usize, submission: &Submission) -> Result<()> {
        let archive = self.archive(&number.to_string());
        let unpacked = match fetch::unpack(&self.building, submission, &archive)? {
            Ok(unpacked) => unpacked,
            Err(refused) => return self.refuse(submission, &self.args.levels, "", &refused),
        };
        for mistake in &unpacked.mistakes {
            let student = printable(&submission.student);
            console::log(&format!("{student}: left out: {}", bounded(mistake)));
        }
        for (found, place) in unpacked.projects.iter().zip(0..) {
            let level = found.manifest.level;
            if self.args.levels.contains(&level) {
                let built = self.archive(&format!("{number}-{place}"));
                self.grade_project(submission, &unpacked, found, built)?;
            }
        }
        let _gone_later = std::fs::remove_file(archive);
        Ok(())
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.store.path().join(format!("{name}.tar"))
    }

    fn grade_project(
        &self,
        submission: &Submission,
        unpacked: &Unpacked,
        found: &Found,
        into: PathBuf,
    ) -> Result<()> {
        let level = found.manifest.level;
        let digest = self.digest(unpacked, found);
        let runs = self.runs(&submission.student, level);
        let known: Vec<Option<Record>> = runs.iter().map(|run| self.known(run, &digest)).collect();
        if known.iter().all(Option::is_some) {
            let records = known.into_iter().flatten().collect();
            self.put(&submission.student, level, records);
            return Ok(());
        }
        let (building, limit) = (&self.building, self.args.rooms.build_time_limit);
        let shown = printable(&submission.student);
        console::log(&format!("{shown}: level {level}: unpacked, is built"));
        let environment = &self.roster.environment;
        let built = match fetch::build(building, unpacked, found, environment, limit, &into)? {
            Ok(built) => built,
            Err(refused) => return self.refuse(submission, &[level], &digest, &refused),
        };
        let mut records = Vec::new();
        for (run, known) in runs.into_iter().zip(known) {
            interrupt::check()?;
            let record = match known {
                Some(record) => record,
                None => self.judge(&run, found, &built, &digest)?,
            };
            records.push(record);
            // What there is already is seen, should we not come to the end.
            self.put(&submission.student, level, records.clone());
        }
        let _gone_later = std::fs::remove_file(into);
        Ok(())
    }

    fn judge(&self, run: &Run, found: &Found, archive: &PathBuf, digest: &str) -> Result<Record> {
        let built = Built {
            archive,
            project: found,
        };
        let charts = self.output.charts(run);
        let limit = self.args.rooms.time_limit;
        let record = judging::judge(&self.building, built, run, digest, limit, &charts)?;
        self.output.keep(&record)?;
        let mut told = format!("{}: {}", run.shown(), record.outcome.word());
        if let Some(kind) = &record.kind {
            told.extend([" (", kind, ")"]);
        }
        console::log(&format!("{}: {told}", printable(&run.student)));
        Ok(record)
    }

    /// The runs of a student's solution to a level, the same for all.
    fn runs(&self, student: &str, level: u8) -> Vec<Run> {
        let run = |stage, seed| Run {
            student: student.to_owned(),
            level,
            stage,
            seed,
        };
        let first = self.args.seed;
        if self.args.has_stages() {
            let stages = self.args.stages_of(level);
            return stages.map(|stage| run(Some(stage), first)).collect();
        }
        let seeds = 0..u64::from(self.args.seeds.get());
        seeds
            .map(|offset| run(None, first.wrapping_add(offset)))
            .collect()
    }

    /// A record that was kept of the same run of the same program under the same settings.
    fn known(&self, run: &Run, digest: &str) -> Option<Record> {
        if self.args.again {
            return None;
        }
        let record = self.output.record(run)?;
        let is_same = record.run == *run && record.digest == digest;
        let is_final = matches!(record.outcome, Outcome::Passed | Outcome::Failed);
        (is_same && is_final).then_some(record)
    }

    /// What a result depends on: the files, which of them is judged, and how.
    fn digest(&self, unpacked: &Unpacked, found: &Found) -> String {
        let mut digest = Sha256::new();
        for part in [
            unpacked.digest.as_bytes(),
            found.folder.as_os_str().as_encoded_bytes(),
            self.settings.as_bytes(),
        ] {
            digest.update(part);
            digest.update([0]);
        }
        hex::encode(digest.finalize())
    }

    fn refuse(
        &self,
        submission: &Submission,
        levels: &[u8],
        digest: &str,
        refused: &Refused,
    ) -> Result<()> {
        let student = &submission.student;
        let message = bounded(&refused.message);
        console::log(&format!("{}: {message}", printable(student)));
        for &level in levels {
            let runs = self.runs(student, level).into_iter();
            let records = runs.map(|run| Record::refused(run, digest, refused));
            let records: Vec<Record> = records.collect();
            // Another of their submissions may have been better.
            if self.class().student(student).levels.contains_key(&level) {
                continue;
            }
            for record in &records {
                self.output.keep(record)?;
            }
            self.put(student, level, records);
        }
        Ok(())
    }

    fn put(&self, student: &str, level: u8, records: Vec<Record>) {
        self.class().student(student).levels.insert(level, records);
    }

    /// Writes what there is, and gives it.
    fn finish(&self) -> Result<Class> {
        let mut class = self.class();
        if class.levels.is_empty() || self.args.has_all_levels() {
            // Columns for what was handed in.
            let levels = class
                .students
                .iter()
                .flat_map(|student| student.levels.keys());
            let mut levels: Vec<u8> = levels.copied().collect();
            levels.sort_unstable();
            levels.dedup();
            class.levels = levels;
        }
        self.output.write(&class)?;
        Ok(class.clone())
    }
}
