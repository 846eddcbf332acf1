//! The report for programs: schema 2, described in `docs/results.md`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{CaseResult, Entry, Failure, Report, Unit, Verdict};
use crate::solution;

/// The number that changes when a reader of the old form would misread the new one.
const SCHEMA: u32 = 2;

/// Where the JSON goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To stdout, once, at the end.
    Stdout,
    /// Into a file.
    File(PathBuf),
}

impl Target {
    /// Writes the record of a run that has begun; nothing to stdout.
    pub(super) fn open(&self, text: &str) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => write_file(path, text),
        }
    }

    /// Writes the record of a run that has ended.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        match self {
            Self::Stdout => std::io::stdout()
                .lock()
                .write_all(text.as_bytes())
                .context("cannot write the results to stdout"),
            Self::File(path) => write_file(path, text),
        }
    }
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("--json {}: cannot be written", path.display()))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(flatten)]
    run: Run<'a>,
    passed: bool,
    error: Option<String>,
    results: Vec<Judged<'a>>,
}

/// Where the results come from.
#[derive(Serialize)]
struct Run<'a> {
    harness: &'static str,
    commit: Option<String>,
    machine: Machine,
    started: String,
    ended: String,
    command: &'a [String],
}

impl<'a> From<&'a Report> for Run<'a> {
    fn from(report: &'a Report) -> Self {
        Self {
            harness: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            machine: Machine {
                cpu: cpu_model(),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                os: operating_system(),
            },
            started: humantime::format_rfc3339_seconds(report.started).to_string(),
            ended: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: &report.command,
        }
    }
}

#[derive(Serialize)]
struct Machine {
    cpu: Option<String>,
    cores: usize,
    os: String,
}

#[derive(Serialize)]
struct Judged<'a> {
    level: Option<u8>,
    case: &'a str,
    solution: &'a [String],
    solution_sha256: Option<&'a str>,
    settings: Map<String, Value>,
    verdict: Verdict,
    passed: bool,
    remarks: &'a [String],
    stage: Option<u8>,
    stages_total: Option<u8>,
    score: Option<f64>,
    reference: Option<f64>,
    ratio: Option<f64>,
    unit: Option<Unit>,
    figures: &'a Map<String, Value>,
    load: Option<Value>,
    noisy: Option<bool>,
    noise: Option<Value>,
    failure: Option<&'a Failure>,
    replay: String,
}

impl<'a> From<&'a Entry> for Judged<'a> {
    fn from(entry: &'a Entry) -> Self {
        let result: &CaseResult = &entry.result;
        let noise = result.noise.as_ref();
        Self {
            level: result.level,
            case: &result.case,
            solution: &result.solution,
            solution_sha256: result.solution_sha256.as_deref(),
            settings: entry.settings.json(&result.chosen),
            verdict: result.verdict(),
            passed: result.passed(),
            remarks: &result.remarks,
            stage: result.stage.map(|stage| stage.number),
            stages_total: result.stage.map(|stage| stage.total),
            score: result.score,
            reference: result.reference,
            ratio: result.ratio,
            unit: result.unit,
            figures: &result.figures,
            load: noise.map(super::super::noise::Noise::load_json),
            noisy: noise.map(super::super::noise::Noise::is_noisy),
            noise: noise.map(super::super::noise::Noise::json),
            failure: result.failure.as_ref(),
            replay: entry.replay(),
        }
    }
}

/// A case as JSON.
pub(super) fn describe(entry: &Entry) -> Result<Value> {
    Ok(serde_json::to_value(Judged::from(entry))?)
}

/// A run as JSON, without its results.
pub(super) fn run(report: &Report) -> Result<Value> {
    Ok(serde_json::to_value(Run::from(report))?)
}

/// A report as text; `unfinished` says why it is not the whole of the run.
pub(super) fn render(report: &Report, unfinished: Option<&str>) -> Result<String> {
    let errors = report.errors.iter().map(String::as_str).chain(unfinished);
    let errors: Vec<&str> = errors.collect();
    let document = Document {
        schema: SCHEMA,
        run: Run::from(report),
        passed: report.passed() && errors.is_empty(),
        error: (!errors.is_empty()).then(|| errors.join("\n")),
        results: report.entries.iter().map(Judged::from).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The commit of the workspace that the harness runs in, if it runs in one.
fn commit() -> Option<String> {
    let workspace = solution::workspace()?;
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace)
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn operating_system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::noise::Noise;

    fn rendered(report: &Report, unfinished: Option<&str>) -> Value {
        serde_json::from_str(&render(report, unfinished).unwrap()).unwrap()
    }

    #[test]
    fn the_document_has_the_documented_shape() {
        let mut report = Report::new(vec!["harness".into(), "level0".into()]);
        let noise = Noise {
            load_before: Some(0.5),
            ..Noise::measured(Some(60.0), Some(9.0), None)
        };
        let result = CaseResult::of_program("generated-1", vec!["./mine".into()])
            .scored(0.5, Some(2.0))
            .figure("wall_best_s", 0.5)
            .remark("10 words")
            .setting("seed", "9007199254740993")
            .under(noise)
            .fail(Failure::new("wrong_output", "line 3 differs").at("line 3"));
        report.add(result);
        let document = rendered(&report, None);
        assert_eq!(document["schema"], 2);
        assert_eq!(document["passed"], false);
        assert_eq!(document["error"], Value::Null);
        assert_eq!(document["command"], json!(["harness", "level0"]));
        assert!(document["machine"]["cores"].as_u64() >= Some(1));
        assert_eq!(
            document["results"][0],
            json!({
                "level": null, "case": "generated-1", "solution": ["./mine"],
                "solution_sha256": null, "settings": {"seed": "9007199254740993"},
                "verdict": "failed", "passed": false, "remarks": ["10 words"],
                "stage": null, "stages_total": null,
                "score": 0.5, "reference": 2.0, "ratio": 4.0, "unit": null,
                "figures": {"wall_best_s": 0.5},
                "load": {"before": 0.5, "after": null}, "noisy": true,
                "noise": {
                    "others_percent": 60.0, "others_limit_percent": 20.0, "own_percent": 9.0,
                    "late_p99_ms": null, "late_limit_ms": 10.0,
                    "reason": "other processes had 60 % of the processors' time, 20 % count as noise",
                },
                "failure": {
                    "kind": "wrong_output", "message": "line 3 differs", "where": "line 3",
                    "said": [], "next": [], "cause": "solution",
                },
                "replay": "",
            })
        );
    }

    #[test]
    fn nothing_judged_and_nothing_set_up_are_no_passes() {
        let mut report = Report::new(Vec::new());
        assert_eq!(rendered(&report, None)["passed"], false);
        report.add(CaseResult::of_program("c", Vec::new()));
        assert_eq!(rendered(&report, None)["passed"], true);
        let unfinished = rendered(&report, Some("interrupted"));
        assert_eq!(unfinished["passed"], false);
        assert_eq!(unfinished["error"], "interrupted");
        report.stumble(&anyhow::anyhow!("no such file").context("cannot read case x"));
        let stumbled = rendered(&report, None);
        assert_eq!(stumbled["passed"], false);
        assert_eq!(stumbled["error"], "cannot read case x: no such file");
    }
}
