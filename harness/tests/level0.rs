//! `harness level0` as its users meet it: the real binary, judging programs in other languages.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

/// How often a test looks whether something has come true.
const LOOK: Duration = Duration::from_millis(10);

/// A folder of its own for each test; everything the harness leaves behind would show in it.
struct Bench {
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A solution in shell.
    fn script(&self, text: &str) -> PathBuf {
        let path = self.path("solution.sh");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn harness(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--json").arg(self.path("result.json"));
        command
    }

    /// A run that is not told where its result goes.
    fn bare(&self, arguments: &[&str]) -> Command {
        let scratch = self.path("tmp");
        fs::create_dir_all(&scratch).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.args(["--no-history", "level0"]).args(arguments);
        command.env("TMPDIR", scratch).current_dir(self.home.path());
        command
    }

    fn judge(&self, solution: &Path, arguments: &[&str]) -> Output {
        let mut command = self.harness(arguments);
        if !arguments.contains(&"--time-limit") {
            // Solutions in shell take long on a busy machine.
            command.args(["--time-limit", "300s"]);
        }
        command
            .args(["--runs", "2"])
            .arg("--solution")
            .arg(solution)
            .output()
            .unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("result.json")).unwrap()).unwrap()
    }

    /// What is left in the temporary folder.
    fn left_behind(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_foreign_solution_passes() {
    let bench = Bench::new();
    let output = bench.judge(
        &example("level0.py"),
        &["--words", "300", "--mutate", "0.3"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("passed"),
        "{}",
        text(&output.stdout)
    );
    let json = bench.json();
    assert_eq!(json["passed"], true);
    assert_eq!(json["results"][0]["reference"], 0.66 * 0.3);
    let figures = &json["results"][0]["figures"];
    assert!(figures["wall_best_s"].as_f64() <= figures["wall_median_s"].as_f64());
    assert!(figures["floor_best_s"].as_f64() > Some(0.0));
    assert!(bench.left_behind().is_empty());
}

#[test]
fn a_wrong_output_is_shown_with_both_versions_and_its_place() {
    let bench = Bench::new();
    let case = bench.path("case.json");
    let original = r#"{"id": "level0-tiny", "level": 0, "wall_clock_time": 0.5, "termsig": null,
        "input": "The cat\nsaat down.\n", "output": "The cat\n<saat> <down.>\n"}"#;
    fs::write(&case, original).unwrap();
    let output = bench.judge(
        Path::new("/bin/cat"),
        &["--dictionary", "never", "--case", "case.json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains(r"expected: <saat> <down.>\n"), "{shown}");
    assert!(shown.contains(r"found:    saat down.\n"), "{shown}");
    let failure = &bench.json()["results"][0]["failure"];
    assert_eq!(failure["kind"], "wrong_output");
    assert_eq!(failure["where"], "line 2, byte 1");
    let kept = bench.left_behind();
    assert_eq!(kept.len(), 1, "the folder of a failure is kept");
    assert!(
        text(&output.stderr).contains(&*kept[0].to_string_lossy()),
        "and named"
    );
}

#[test]
fn a_solution_that_prints_without_an_end_is_killed_before_it_fills_the_disk() {
    for script in ["yes '<word>'", "yes >&2", "head -c 99000000 /dev/zero"] {
        let bench = Bench::new();
        let output = bench.judge(&bench.script(script), &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let json = bench.json();
        let failure = &json["results"][0]["failure"];
        assert_eq!(failure["kind"], "too_much_output", "{script}: {failure}");
    }
}

#[test]
fn a_hanging_solution_is_killed_at_the_limit_with_its_children() {
    let bench = Bench::new();
    let solution = bench.script("sleep 600 & echo $! > ../../child; wait");
    let output = bench.judge(&solution, &["--time-limit", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(bench.json()["results"][0]["failure"]["kind"], "time_limit");
    let child = fs::read_to_string(bench.path("child")).unwrap();
    assert!(is_gone(child.trim()), "process {child} is still there");
}

#[test]
fn a_failing_exit_status_fails_the_case() {
    let bench = Bench::new();
    let output = bench.judge(&bench.script("exit 4"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let failure = &bench.json()["results"][0]["failure"];
    assert_eq!(failure["kind"], "exit_status");
    assert!(
        failure["message"].as_str().unwrap().contains('4'),
        "{failure}"
    );
}

#[test]
fn bad_input_gets_one_line_and_status_2() {
    let bench = Bench::new();
    fs::write(
        bench.path("notes.json"),
        r#"{"id": "x", "level": 3, "input": []}"#,
    )
    .unwrap();
    for (arguments, complaint) in [
        (&["--solution", "no-such-file"][..], "no-such-file"),
        (&["--solution", "notes.json"], "not executable"),
        (&["--case", "missing.json"], "missing.json"),
        (&["--case", "notes.json"], "level 3"),
        (
            &["--solution", "/bin/cat", "--root", "."],
            "was not made here",
        ),
    ] {
        let output = bench.harness(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let usage = bench.harness(&["--mutate", "2"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(
        text(&usage.stderr).contains("not between 0 and 1"),
        "{}",
        text(&usage.stderr)
    );
}

#[test]
fn what_loses_a_byte_or_knows_too_many_words_fails_on_the_default_document() {
    let bench = Bench::new();
    let right = format!("python3 {} \"$1\"", example("level0.py").display());
    let bloom = "python3 -c '
import re, sys, zlib
entries = set(open(sys.argv[1], \"rb\").read().split(b\"\\n\"))
def mark(word):
    text = word.group()
    low = text.lower()
    known = low in entries or zlib.crc32(low) % 1000 == 0
    return text if known else b\"<\" + text + b\">\"
sys.stdout.buffer.write(re.sub(rb\"[^ \\n]+\", mark, sys.stdin.buffer.read()))' \"$1\"";
    for (name, script) in [
        ("runs of spaces", format!("{right} | tr -s ' '")),
        ("tabs", format!("{right} | tr '\\t' ' '")),
        ("carriage returns", format!("{right} | tr -d '\\r'")),
        ("spaces at line ends", format!("{right} | sed 's/ *$//'")),
        ("blank lines", format!("{right} | tr -s '\\n'")),
        (
            "a final newline that was not there",
            format!("{right} | sed '$a\\'"),
        ),
        (
            "non-ASCII",
            format!("{right} | LC_ALL=C tr -d '\\200-\\377'"),
        ),
        ("an empty document", format!("{right} | grep ''")),
        ("a Bloom filter", bloom.to_owned()),
    ] {
        let solution = bench.script(&script);
        let output = bench.judge(&solution, &["--words", "20"]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{name}: {}",
            text(&output.stderr)
        );
        let result = &bench.json()["results"][0];
        assert_eq!(result["verdict"], "failed", "{name}: {result}");
        let place = result["failure"]["where"].as_str().unwrap();
        assert!(
            place.contains("document") || place.contains("unknown words"),
            "{name}: {place}"
        );
    }
}

#[test]
fn a_case_needs_no_output() {
    let bench = Bench::new();
    fs::write(
        bench.path("case.json"),
        r#"{"id": "mine", "input": "The thx\n"}"#,
    )
    .unwrap();
    let output = bench.judge(&example("level0.py"), &["--case", "case.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = bench.judge(
        Path::new("/bin/cat"),
        &["--dictionary", "never", "--case", "case.json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let failure = &bench.json()["results"][0]["failure"];
    assert!(
        failure["message"].as_str().unwrap().contains("The <thx>"),
        "{failure}"
    );
}

#[test]
fn the_result_says_what_was_run_and_how_to_run_it_again() {
    let bench = Bench::new();
    let solution = bench.script("echo first >&2; echo 'no such table' >&2; exit 4");
    let seed = "18446744073709551615";
    let output = bench.judge(&solution, &["--words", "20", "-seed", seed]);
    assert_eq!(output.status.code(), Some(1));
    let json = bench.json();
    assert_eq!(json["schema"], 2);
    assert_eq!(json["error"], Value::Null);
    let result = &json["results"][0];
    assert_eq!(result["settings"]["seed"], seed);
    assert_eq!(result["settings"]["words"], 20);
    assert_eq!(result["settings"]["time_limit"], "300s");
    assert_eq!(result["remarks"], serde_json::json!(["20 words"]));
    assert_eq!(
        result["failure"]["said"],
        serde_json::json!(["first", "no such table"])
    );
    assert!(
        text(&output.stdout).contains("    no such table"),
        "{}",
        text(&output.stdout)
    );
    let digest = Command::new("sha256sum").arg(&solution).output().unwrap();
    let digest = text(&digest.stdout);
    assert!(
        digest.starts_with(result["solution_sha256"].as_str().unwrap()),
        "{digest}"
    );
    assert!(
        result["noisy"].is_boolean() && result["load"]["after"].is_number(),
        "{result}"
    );

    let replay = result["replay"].as_str().unwrap();
    assert!(text(&output.stdout).contains(replay), "{replay}");
    let again = Command::new("sh")
        .args(["-c", replay])
        .env("TMPDIR", bench.path("tmp"))
        .current_dir(bench.home.path())
        .output()
        .unwrap();
    assert_eq!(
        again.status.code(),
        Some(1),
        "{replay}: {}",
        text(&again.stderr)
    );
    assert!(
        text(&again.stdout).contains(seed),
        "{}",
        text(&again.stdout)
    );
}

#[test]
fn json_can_go_to_stdout_and_nothing_else_does() {
    let bench = Bench::new();
    let run = |arguments: &[&str]| {
        let mut command = bench.bare(arguments);
        command.args(["--json", "-"]).output().unwrap()
    };
    let solution = example("level0.py");
    let solution = solution.to_str().unwrap();
    let output = run(&["--runs", "1", "--words", "20", "--solution", solution]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["passed"], true);
    assert!(
        text(&output.stderr).contains("verdict"),
        "the table goes to stderr"
    );
    assert!(bench.left_behind().is_empty(), "{:?}", bench.left_behind());

    let output = run(&["--case", "missing.json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["passed"], false);
    assert!(
        json["error"].as_str().unwrap().contains("missing.json"),
        "{json}"
    );
    assert!(!bench.path("-").exists());
}

#[test]
fn a_set_up_error_is_no_pass_and_is_named() {
    let bench = Bench::new();
    let foreign = bench.script("exit 0");
    fs::write(&foreign, "#!/usr/bin/python9 -u\nprint(1)\n").unwrap();
    let output = bench.judge(&foreign, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("`#!/usr/bin/python9 -u` asks for /usr/bin/python9"),
        "{said}"
    );
    let json = bench.json();
    assert_eq!(json["passed"], false);
    assert!(
        json["error"].as_str().unwrap().contains("python9"),
        "{json}"
    );

    let output = bench.harness(&["--time-limit", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("write 5s"),
        "{}",
        text(&output.stderr)
    );

    let nowhere = ["--json", "/no/such/folder/x.json", "--solution", "/bin/cat"];
    let output = bench.bare(&nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("/no/such/folder/x.json"), "{said}");
    assert!(
        !said.contains("level 0"),
        "it is noticed before the run: {said}"
    );
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let bench = Bench::new();
    let solution = bench.script("echo $$ > ../../new; mv ../../new ../../id; exec sleep 600");
    for signal in ["INT", "TERM"] {
        let mut command = bench.harness(&["--time-limit", "600s"]);
        command.arg("--solution").arg(&solution);
        let mut harness = command.stderr(Stdio::null()).spawn().unwrap();
        let solution_id = announced(&mut harness, &bench.path("id"));
        let kill = ["-s", signal, &harness.id().to_string()];
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        assert_eq!(harness.wait().unwrap().code(), Some(130), "SIG{signal}");
        assert!(
            is_gone(&solution_id),
            "SIG{signal}: the solution is still there"
        );
        assert!(
            bench.left_behind().is_empty(),
            "SIG{signal}: {:?}",
            bench.left_behind()
        );
        assert_eq!(bench.json()["passed"], false, "SIG{signal}");
    }
}

/// The process id that a solution wrote into a file.
fn announced(harness: &mut Child, file: &Path) -> String {
    loop {
        if let Ok(id) = fs::read_to_string(file) {
            fs::remove_file(file).unwrap();
            return id.trim().to_owned();
        }
        let ended = harness.try_wait().unwrap();
        assert!(ended.is_none(), "the solution did not start: {ended:?}");
        std::thread::sleep(LOOK);
    }
}

/// Whether a process has ended; one that was killed may take a moment to leave.
fn is_gone(id: &str) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(LOOK);
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })
}
