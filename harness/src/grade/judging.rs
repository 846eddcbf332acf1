//! One run: a level's own judge, in a room, with a student's program in a sandbox inside of it.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    fetch::{self, Found},
    record::{Outcome, Record, Run, bounded},
    room::{self, Building, Purpose, Room},
};
use crate::{noise::Watch, solution_log};

/// How often a run is judged before a busy machine is blamed.
const ATTEMPTS_MOST: u32 = 3;

/// A pause before another attempt: what kept the machine busy may be over then.
const PAUSE: Duration = Duration::from_secs(2);

/// The most bytes of a judge's document, and of a page with charts.
const DOCUMENT_MOST: u64 = 16 << 20;
const CHARTS_MOST: u64 = 64 << 20;

/// Unpacks what comes in, and becomes the judge.
const JUDGE: &str = r#"cd "$HOME" && tar -xf - && exec "$@" </dev/null"#;

/// The program of a project, in an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Built<'a> {
    pub archive: &'a Path,
    pub project: &'a Found,
}

/// Judges until the machine is quiet; `charts` is where a page with charts goes.
///
/// # Errors
/// We were interrupted, or something on our side is wrong for all runs.
pub(super) fn judge(
    building: &Building,
    built: Built<'_>,
    run: &Run,
    digest: &str,
    limit: Duration,
    charts: &Path,
) -> Result<Record> {
    for attempt in 1.. {
        let watch = Watch::start();
        let (mut record, may_be_slowness) = once(building, built, run, digest, limit, charts)?;
        let is_noisy = watch.stop().is_noisy();
        record.attempts = attempt;
        record.language.clone_from(&built.project.manifest.language);
        let is_passed = record.outcome == Outcome::Passed;
        let is_suspect = !is_passed && may_be_slowness && is_noisy;
        if !is_suspect {
            return Ok(record);
        }
        if attempt == ATTEMPTS_MOST {
            record.outcome = Outcome::Undecided;
            return Ok(record);
        }
        room::pause(PAUSE);
    }
    unreachable!("attempts are counted")
}

/// Judges once; also whether a slow machine can be to blame for what is wrong.
fn once(
    building: &Building,
    built: Built<'_>,
    run: &Run,
    digest: &str,
    limit: Duration,
    charts: &Path,
) -> Result<(Record, bool)> {
    let room = building.room(Purpose::Judge)?;
    let mut command = building.command(&room, Purpose::Judge, "sh".as_ref())?;
    command.args(["-c", JUDGE, "sh"]);
    command.arg(std::env::current_exe()?);
    command.args(words(&room, built.project, run));
    let input = File::open(built.archive).context("cannot read a built submission")?;
    let ended = room.run(command, input.into(), None, limit)?;
    if ended.status.is_none() {
        let mut record = Record::new(run.clone(), digest, Outcome::Failed);
        record.kind = Some("time_limit".to_owned());
        let limit = humantime::format_duration(limit);
        record.message = Some(format!(
            "not judged after {limit} (--time-limit of `grade`)"
        ));
        record.said = solution_log::lines_of(&ended.said);
        return Ok((record, true));
    }
    let document = room::read_left(&room.out().join(RESULT), DOCUMENT_MOST);
    let document = document.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let document = document.unwrap_or_default();
    let Some(mut record) = Record::judged(run.clone(), digest, &document) else {
        let mut record = Record::new(run.clone(), digest, Outcome::Error);
        let said = solution_log::lines_of(&ended.said);
        let error = document["error"].as_str().filter(|_| !document.is_null());
        let error = error.or(said.last().map(String::as_str));
        record.kind = Some("judge".to_owned());
        record.message = Some(bounded(error.unwrap_or("the judge ended without a word")));
        record.said = said;
        return Ok((record, false));
    };
    if let Some(page) = room::read_left(&room.out().join(CHARTS), CHARTS_MOST) {
        fs::write(charts, page).with_context(|| format!("cannot write {}", charts.display()))?;
        let name = charts.file_name().unwrap_or_default();
        record.charts = Some(name.to_string_lossy().into_owned());
    }
    let cause = &document["results"][0]["failure"]["cause"];
    Ok((record, cause != "solution"))
}

const RESULT: &str = "result.json";
const CHARTS: &str = "charts.html";

/// The judge's command line.
fn words(room: &Room, project: &Found, run: &Run) -> Vec<String> {
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec![
        // What is judged for somebody else is in their record, and there is no home in a room.
        "--no-history".to_owned(),
        format!("level{}", run.level),
        format!("--solution={}", shown(&fetch::program(room, project))),
        format!("--json={}", shown(&room.out().join(RESULT))),
    ];
    if let Some(stage) = run.stage {
        words.push(format!("--stage={stage}"));
    }
    // Level 1 has none: its search is chance anyhow.
    if run.level != 1 {
        words.push(format!("--seed={}", run.seed));
    }
    if run.level >= 2 {
        words.push(format!("--report={}", shown(&room.out().join(CHARTS))));
    }
    words
}
