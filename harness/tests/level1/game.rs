//! `harness level1` on the real binary, with miners of other languages.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::support::HARNESS;

pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// Plays a game and returns the harness's output and the one result of its report.
fn play(solution: &Path, flags: &[&str]) -> (Output, Value) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report.json");
    let mut command = Command::new(HARNESS);
    command.arg("--no-history");
    command.args(["level1", "--solution"]).arg(solution);
    command.arg("--json").arg(&json).args(flags);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    (output, report["results"][0].clone())
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("solution");
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn slow_miners_of_other_languages_pass_an_easy_game() {
    for (miner, difficulty) in [("level1.sh", "2"), ("level1.py", "002")] {
        let flags = [
            "--difficulty",
            difficulty,
            "--bots",
            "2",
            "--bot-interval",
            "5",
        ];
        let (output, result) = play(&example(miner), &flags);
        assert!(output.status.success(), "{miner}: {output:?}");
        assert_eq!(result["passed"], true);
        assert_eq!(result["unit"], "coins");
        assert_eq!(result["score"], 1.0);
        assert!(result["figures"]["time_to_coin_s"].as_f64().unwrap() > 0.0);
        let begun = result["figures"]["pushes_begun"].as_u64().unwrap();
        assert_eq!(result["figures"]["pushes_refused"], begun - 1);
    }
}

#[test]
fn a_solution_that_lands_nothing_fails_and_its_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let lazy = script(
        dir.path(),
        "seq 100 110\necho it is '7.5 MH/s'\necho no luck >&2\nexit 3\n",
    );
    let (output, result) = play(&lazy, &["--bots", "0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let failure = &result["failure"];
    assert_eq!(failure["kind"], "exit_status");
    assert!(failure["message"].as_str().unwrap().contains('3'));
    assert_eq!(result["figures"]["rate_mh_s"], 7.5);
    // Its last ten lines of both streams, what to try next, and the same game once more.
    let lines: Vec<&str> = failure["said"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(lines.len(), 10, "{lines:?}");
    for line in ["110", "it is 7.5 MH/s", "no luck"] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert!(!failure["next"].as_array().unwrap().is_empty());
    let replay = result["replay"].as_str().unwrap();
    assert!(replay.contains(" level1 "), "{replay}");
    assert!(replay.contains("--bots=0"), "{replay}");
    let said = String::from_utf8(output.stderr).unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!((table + &said).contains("no luck"));
    let (_, kept) = said.split_once("files are kept in ").unwrap();
    let kept = Path::new(kept.lines().next().unwrap());
    assert!(kept.join("server/level1/config").exists());
    fs::remove_dir_all(kept).unwrap();
}

#[test]
fn a_helper_beside_the_solution_is_found_from_its_clone() {
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("helper");
    fs::write(&helper, "#!/bin/sh\necho a coin >../message\n").unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let miner = script(
        dir.path(),
        "git clone --quiet \"$1\" clone && cd clone && ../helper && echo \"$2: 1\" >>LEDGER.txt\n\
         while git commit --quiet --all --file ../message; do\n\
         case $(git rev-parse HEAD) in f*) ;; *) break ;; esac\n\
         git reset --quiet --soft origin/master; echo again >>../message; done\n\
         git push --quiet origin HEAD:master\n",
    );
    let (output, result) = play(&miner, &["--bots", "0", "--difficulty", "f"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(result["passed"], true);
}

#[test]
fn a_cheat_is_told_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let cheat = script(
        dir.path(),
        "git clone --quiet \"$1\" clone && cd clone\n\
         echo \"$2: 5\" >>LEDGER.txt\n\
         git commit --quiet --all --message cheat\n\
         git push --quiet origin HEAD:master\n",
    );
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    // Work is checked first: every id will do.
    let (output, result) = play(
        &cheat,
        &["--bots=0", "--difficulty=ffffffff", "--root", root],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(result["failure"]["kind"], "exit_status");
    let message = result["failure"]["message"].as_str().unwrap();
    assert!(
        message.contains("a new entry begins with 1 coin"),
        "{message}"
    );
    assert_eq!(result["figures"]["refused_amount"], 1);
    assert_eq!(result["figures"]["pushes_refused"], 1);
}

#[test]
fn a_solution_that_never_ends_runs_into_the_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let idle = script(dir.path(), "exec sleep 600\n");
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    let (output, result) = play(
        &idle,
        &["--bots", "1", "--time-limit", "1s", "--root", root],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(result["failure"]["kind"], "time_limit");
    assert_eq!(result["score"], 0.0);
}

#[test]
fn an_interrupted_game_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let solution = script(dir.path(), "echo $$ is ready\nexec sleep 600\n");
    let mut command = Command::new(HARNESS);
    command.arg("--no-history");
    command.args(["level1", "--solution"]).arg(solution);
    command
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut harness = command.spawn().unwrap();
    let stderr = BufReader::new(harness.stderr.take().unwrap());
    let mut lines = stderr.lines().map(Result::unwrap);
    let ready = lines.find_map(|line| line.strip_suffix(" is ready").map(str::to_owned));
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1);
    kill_process(Pid::from_child(&harness), Signal::TERM).unwrap();
    assert_eq!(harness.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    let solution = Pid::from_raw(ready.unwrap().parse().unwrap()).unwrap();
    assert!(
        test_kill_process(solution).is_err(),
        "the solution still runs"
    );
}

#[test]
fn wrong_flags_are_set_up_errors() {
    for (flags, words) in [
        (["--difficulty", "000000"], "no id is below it"),
        (["--difficulty", "xyz"], "hex digits"),
        (["--user", "a/b"], "a name has letters"),
        (["--bot-interval", "0"], "more than 0"),
        (["--solution", "/no/such/miner"], "/no/such/miner"),
    ] {
        let output = Command::new(HARNESS)
            .arg("--no-history")
            .arg("level1")
            .args(flags)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}
