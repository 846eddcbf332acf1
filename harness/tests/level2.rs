//! `harness level2` as its users meet it: the real binary, judging small proxies in Python.
//!
//! Runs are a second or two long and only lower bounds are asserted, so that a busy machine does
//! not matter.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

struct Bench {
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tmp")).unwrap();
        Self { home }
    }

    fn judge(&self, solution: &Path, arguments: &[&str]) -> (Output, Value) {
        self.judge_with(solution, arguments, &[])
    }

    fn judge_with(
        &self,
        solution: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (Output, Value) {
        let json = self.home.path().join("result.json");
        let output = Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("--no-history")
            .args(["level2", "--solution"])
            .arg(solution)
            .args(arguments)
            .arg("--json")
            .arg(&json)
            .env("TMPDIR", self.home.path().join("tmp"))
            .envs(environment.iter().copied())
            .current_dir(self.home.path())
            .output()
            .unwrap();
        let text = fs::read(&json).unwrap_or_else(|_| panic!("no report: {output:?}"));
        let document: Value = serde_json::from_slice(&text).unwrap();
        (output, document["results"][0].clone())
    }

    /// Judges for a second, or for longer where a busy machine needs that until the result shows
    /// `enough`.
    fn judge_until(
        &self,
        solution: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        enough: impl Fn(&Value) -> bool,
    ) -> (Output, Value) {
        for seconds in ["1", "2", "10", "60"] {
            let arguments = [arguments, &["--seconds", seconds]].concat();
            let (output, result) = self.judge_with(solution, &arguments, environment);
            if enough(&result) {
                return (output, result);
            }
            eprintln!("in {seconds} s: {result}");
            fs::remove_dir_all(self.home.path().join("tmp")).unwrap();
            fs::create_dir(self.home.path().join("tmp")).unwrap();
        }
        panic!("it never came so far");
    }

    /// What is left in the temporary folder.
    fn left_behind(&self) -> usize {
        fs::read_dir(self.home.path().join("tmp")).unwrap().count()
    }
}

fn file(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

fn number(result: &Value, figure: &str) -> f64 {
    result["figures"][figure]
        .as_f64()
        .unwrap_or_else(|| panic!("no {figure} in {result}"))
}

/// Whether there is one of each.
fn has(figures: &'static [&'static str]) -> impl Fn(&Value) -> bool {
    move |result| {
        let found = |figure: &&str| result["figures"][*figure].as_f64() >= Some(1.0);
        figures.iter().all(found)
    }
}

#[test]
fn a_fair_shield_in_python_is_graded() {
    let bench = Bench::new();
    let served = has(&["mice_served", "elephants_served"]);
    let solution = file("examples", "level2.py");
    let (output, result) = bench.judge_until(&solution, &[], &[], served);
    assert_eq!(
        output.status.code(),
        Some(i32::from(result["passed"] != true))
    );
    assert!(
        number(&result, "overflows").abs() < 0.5,
        "two in flight cannot overflow: {result}"
    );
    assert!(number(&result, "mice_p50_ms") >= 75.0, "{result}");
    assert_eq!(result["unit"], "points");
    assert!(
        result["reference"].is_null(),
        "the reference is for 20 s: {result}"
    );
    if result["passed"] == true {
        assert_eq!(bench.left_behind(), 0);
    }
}

#[test]
fn a_proxy_that_forwards_everything_overruns_the_backends() {
    let bench = Bench::new();
    let solution = file("tests/solutions", "plain_shield.py");
    let (output, result) =
        bench.judge_until(&solution, &["--regime", "open"], &[], has(&["overflows"]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(result["failure"]["kind"], "demands_unmet");
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(message.contains("no backend overflows"), "{message}");
    assert_eq!(bench.left_behind(), 1, "the folder of a failure is kept");
}

#[test]
fn an_answer_with_a_wrong_hmac_fails_the_case() {
    let bench = Bench::new();
    let solution = file("tests/solutions", "plain_shield.py");
    let lies = [("SHIELD_LIES", "1")];
    let wrong = has(&["mice_wrong"]);
    let (output, result) = bench.judge_until(&solution, &[], &lies, wrong);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(result["failure"]["kind"], "wrong_output");
    assert_eq!(result["verdict"], "failed", "{result}");
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(message.contains(r#"found {\"hmac\":\"000\"}"#), "{message}");
    let statuses = &result["figures"]["mice_statuses"];
    assert!(statuses["200"].as_u64() >= Some(1), "{result}");
    let remark = result["remarks"][0].as_str().unwrap();
    assert!(remark.ends_with(" s"), "{remark}");
}

#[test]
fn everything_goes_over_unix_sockets_too() {
    let bench = Bench::new();
    let solution = file("tests/solutions", "plain_shield.py");
    bench.judge_until(&solution, &["--unix"], &[], |result| {
        number(result, "mice_served") + number(result, "elephants_served") >= 1.0
    });
}

#[test]
fn every_world_can_be_played() {
    let bench = Bench::new();
    let solution = file("examples", "level2.py");
    for world in [
        "flash-crowd",
        "slow-loris",
        "rotating-names",
        "backend-dies",
        "mixed-cost",
        "steady",
        "steady-and-names",
        "slow-bodies",
        "slow-readers",
        "failing-backend",
        "brown-out",
    ] {
        let (output, result) =
            bench.judge_until(&solution, &["--world", world], &[], has(&["mice_served"]));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            log.contains("passes if no backend overflows"),
            "{world}: {log}"
        );
        assert!(
            result["score"].is_null(),
            "only the contest has points: {result}"
        );
    }
}

#[test]
fn a_solution_that_ends_by_itself_is_told_with_its_status() {
    let bench = Bench::new();
    let path = bench.home.path().join("solution.sh");
    fs::write(&path, "#!/bin/sh\nexit 7\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let (output, result) = bench.judge(&path, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(result["failure"]["kind"], "exit_status");
    assert!(
        result["failure"]["message"].as_str().unwrap().contains('7'),
        "{result}"
    );
}

#[test]
fn a_proxy_that_answers_nothing_fails_in_words() {
    let bench = Bench::new();
    let path = bench.home.path().join("solution.sh");
    fs::write(&path, "#!/bin/sh\necho asleep\nexec sleep 600\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let (output, result) = bench.judge(&path, &["--time-limit", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(result["failure"]["kind"], "time_limit", "{result}");
    assert_eq!(result["failure"]["said"], serde_json::json!(["asleep"]));
}

#[test]
fn a_case_of_another_level_is_a_set_up_error() {
    let bench = Bench::new();
    let case = bench.home.path().join("level0-x.json");
    fs::write(&case, r#"{"id": "level0-x", "level": 0, "input": "a"}"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--no-history")
        .args(["level2", "--solution", "/bin/true", "--case"])
        .arg(&case)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("level 0") && log.contains("level0-x.json"),
        "{log}"
    );
}
