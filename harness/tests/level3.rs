//! `harness level3` as its users meet it: the real binary, judging a small search in Python.
//!
//! Trees are small and every run takes ports that are free (`--base-port 0`).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
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

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    fn harness(&self, solution: &Path, arguments: &[&str]) -> Output {
        self.command(solution, arguments).output().unwrap()
    }

    fn command(&self, solution: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("--no-history");
        command
            .args(["level3", "--base-port", "0", "--solution"])
            .arg(solution)
            .args(arguments)
            .arg("--json")
            .arg(self.home.path().join("result.json"))
            .env("TMPDIR", self.home.path().join("tmp"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.home.path());
        command
    }

    fn judge(&self, solution: &Path, arguments: &[&str]) -> (Output, Value) {
        let output = self.harness(solution, arguments);
        let result = self.result(&output);
        (output, result)
    }

    fn result(&self, output: &Output) -> Value {
        let text = fs::read(self.home.path().join("result.json"))
            .unwrap_or_else(|_| panic!("no report: {output:?}"));
        let document: Value = serde_json::from_slice(&text).unwrap();
        document["results"][0].clone()
    }

    /// What is left in the temporary folder.
    fn left_behind(&self) -> usize {
        fs::read_dir(self.home.path().join("tmp")).unwrap().count()
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/level3.py")
}

/// A solution that is made for these tests.
fn solution(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("solutions").join(name)
}

fn number(result: &Value, figure: &str) -> f64 {
    result["figures"][figure]
        .as_f64()
        .unwrap_or_else(|| panic!("no {figure} in {result}"))
}

const SMALL: &[&str] = &["--seed", "3", "--num-trees", "1", "--max-words", "600"];

#[test]
fn a_search_in_python_is_graded_on_a_generated_tree() {
    let bench = Bench::new();
    let (output, result) = bench.judge(&example(), SMALL);
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert_eq!(result["passed"], true);
    assert!(number(&result, "hits") >= 40.0, "{result}");
    assert!(number(&result, "mean_ms") > 0.0);
    assert!(result["reference"].is_null());
    for node in 1..=3 {
        let figure = format!("node{node}_peak_mb");
        if cfg!(target_os = "linux") {
            assert!(number(&result, &figure) > 1.0, "{result}");
        }
    }
    assert_eq!(bench.left_behind(), 0);
}

#[test]
fn an_original_case_is_read_with_its_recorded_answers() {
    let bench = Bench::new();
    let case = |output: &str| {
        let text = format!(
            r#"{{"id": "level3-x", "input": ["--seed", "3", "--num-trees", "1", "--max-words",
                "600", "--num-keys", "1", "--print"], "output": {output},
                "wall_clock_time": 1000.0}}"#
        );
        bench.write("case.json", text);
        bench.harness(&example(), &["--case", "case.json"])
    };
    let output = case(r#"[["NOWHERE/AT_ALL:1"]]"#);
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("is not the brute-force search's"), "{log}");

    let output = case("null");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("level3-x") && table.contains("1000 s"),
        "{table}"
    );
}

#[test]
fn any_tree_and_any_needle() {
    let bench = Bench::new();
    bench.write(
        "tree/a b/c",
        "plus + and é & 100 %\nlast line without newline",
    );
    bench.write("tree/.hidden", "plus");
    let tree = bench.home.path().join("tree");
    let queries = bench.write("queries", "plus +\n\né & 1\n100 %\nout new\nabsent\n");
    let arguments = [
        "--tree",
        tree.to_str().unwrap(),
        "--queries",
        queries.to_str().unwrap(),
    ];
    let (output, result) = bench.judge(&example(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert!(
        (number(&result, "queries") - 5.0).abs() < 0.5,
        "the empty line is skipped"
    );
    assert!((number(&result, "hits") - 4.0).abs() < 0.5, "{result}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_dies_is_excused_only_if_the_answers_say_so() {
    let bench = Bench::new();
    let arguments = [SMALL, &["--kill-node", "--fault-node", "3"]].concat();
    let (output, result) = bench.judge(&example(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert!(number(&result, "marked_incomplete") >= 1.0, "{result}");
    assert!(
        result["score"].is_null(),
        "latencies with a dead node are no score"
    );

    let (output, result) = bench.judge(&solution("gappy_search.py"), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(result["failure"]["kind"], "wrong_output");
    assert!(
        result["failure"]["where"]
            .as_str()
            .unwrap()
            .starts_with("query "),
        "{result}"
    );
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(message.contains("missing"), "{message}");
    assert!(result["score"].is_null() && result["figures"]["mean_ms"].is_null());
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_is_started_again_says_so_until_it_has_its_files() {
    let judge = |nodes: &str| {
        let bench = Bench::new();
        let faults = ["--kill-node", "--restart-limit", "5m"];
        let mut command =
            bench.command(&solution("reviving_search.py"), &[SMALL, &faults].concat());
        let output = command.env("SEARCH_NODES", nodes).output().unwrap();
        bench.result(&output)
    };
    let result = judge("careful");
    assert_eq!(result["verdict"], "passed", "{result}");
    assert!(number(&result, "whole_again_s") > 0.0, "{result}");

    let result = judge("forgetful");
    assert_eq!(result["verdict"], "failed", "{result}");
    assert_eq!(result["failure"]["kind"], "wrong_output", "{result}");
}

/// Judges a liar; every one of them is found out, and none has a mean.
fn caught(lie: &str, arguments: &[&str]) -> Value {
    let bench = Bench::new();
    let arguments = [SMALL, arguments].concat();
    let output = bench
        .command(&solution("lying_search.py"), &arguments)
        .env("SEARCH_LIES", lie)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let result = bench.result(&output);
    assert!(
        result["score"].is_null() && result["figures"]["mean_ms"].is_null(),
        "{result}"
    );
    let said = result["failure"]["said"].as_array().unwrap();
    assert!(
        said.iter()
            .any(|line| line.as_str().unwrap().contains("lying about")),
        "{result}"
    );
    result
}

#[cfg(target_os = "linux")]
#[test]
fn only_a_dead_node_excuses_an_answer_that_is_not_whole() {
    let result = caught("partial", &["--kill-node"]);
    assert_eq!(result["failure"]["kind"], "not_answered", "{result}");
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(message.contains("marked partial"), "{message}");
}

#[test]
fn all_wrong_answers_are_counted_and_three_are_shown() {
    for (lie, words) in [("twice", "is listed twice"), ("wrong", "is missing")] {
        let result = caught(lie, &[]);
        let message = result["failure"]["message"].as_str().unwrap();
        assert_eq!(message.matches(words).count(), 3, "{message}");
        assert!(
            message.contains("queries are answered wrongly"),
            "{message}"
        );
        assert!(message.contains("more"), "{message}");
        assert!(number(&result, "answered_wrongly") > 3.0, "{result}");
        assert_eq!(result["verdict"], "failed");
    }
}

#[test]
fn a_query_without_an_answer_is_told_in_words() {
    let result = caught("hang", &["--time-limit", "20s"]);
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(message.contains("not done after 20s"), "{message}");
    assert!(message.contains("were not asked"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_crawls_is_waited_for() {
    let bench = Bench::new();
    let arguments = [SMALL, &["--num-keys", "5", "--slow-node", "20"]].concat();
    let (output, result) = bench.judge(&example(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert!(number(&result, "slowest_ms") >= 2.0, "{result}");
}

#[test]
fn what_cannot_be_set_up_is_said() {
    let bench = Bench::new();
    let refused = |arguments: &[&str], part: &str| {
        let output = bench.harness(&example(), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains(part), "{part}: {log}");
    };
    refused(&["--tree", "nowhere", "--queries", "q"], "--tree nowhere");
    refused(&["--tree", "."], "--queries");
    refused(&["--min-words", "9", "--max-words", "2"], "--min-words 9");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--no-history")
        .args(["level3", "--base-port", &port, "--solution"])
        .arg(example())
        .args(SMALL)
        .env("TMPDIR", bench.home.path().join("tmp"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("port {port} is taken")));
}
