//! The report for programs: schema 1.

use std::{fs, process::Command, time::SystemTime};

use anyhow::Result;
use serde::Serialize;

use super::CaseResult;
use crate::solution;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    harness: &'static str,
    commit: Option<String>,
    machine: Machine,
    started: String,
    passed: bool,
    results: &'a [CaseResult],
}

#[derive(Serialize)]
struct Machine {
    cpu: Option<String>,
    cores: usize,
    os: String,
}

pub(super) fn render(started: SystemTime, results: &[CaseResult], passed: bool) -> Result<String> {
    let document = Document {
        schema: 1,
        harness: env!("CARGO_PKG_VERSION"),
        commit: commit(),
        machine: Machine {
            cpu: cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: operating_system(),
        },
        started: humantime::format_rfc3339_seconds(started).to_string(),
        passed,
        results,
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
    use serde_json::{Value, json};

    use super::*;
    use crate::report::{Failure, Unit};

    #[test]
    fn the_document_has_the_pinned_shape() {
        let solution = vec!["./mine".to_owned()];
        let result = CaseResult::new(0, "generated-1", solution, Unit::S)
            .scored(0.5, Some(2.0))
            .figure("wall_best_s", 0.5)
            .fail(Failure::new("wrong_output", "line 3 differs").at("line 3"));
        let text = render(SystemTime::UNIX_EPOCH, &[result], false).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["started"], "1970-01-01T00:00:00Z");
        assert_eq!(document["passed"], false);
        assert!(document["machine"]["cores"].as_u64() >= Some(1));
        assert_eq!(
            document["results"][0],
            json!({
                "level": 0, "case": "generated-1", "solution": ["./mine"], "passed": false,
                "score": 0.5, "reference": 2.0, "ratio": 4.0, "unit": "s",
                "figures": {"wall_best_s": 0.5},
                "failure": {"kind": "wrong_output", "message": "line 3 differs", "where": "line 3"},
            })
        );
    }
}
