//! The way in as a player walks it, with the real binary: a kit is written, built, passes the first
//! stage, and fails a later one for the reason that the level's text names.
//!
//! Kits in languages whose tool chain is not here are left out, with a message.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use harness::{kits::Kit, ladder, project::Progress, solution::find_program};
use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// A folder of its own for each test; everything the harness leaves behind would show in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tmp")).unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn harness(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("--no-history");
        command
            .args(arguments)
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.harness(arguments).output().unwrap()
    }

    /// Runs the harness and gives the only result, and the exit status.
    fn judge(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let json = self.path("result.json");
        let mut command = self.harness(arguments);
        let run = command.arg("--json").arg(&json).output().unwrap();
        let text = fs::read_to_string(json).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let result = document["results"][0].take();
        assert!(result.is_object(), "{}", said(&run));
        (result, run.status.code())
    }
}

fn said(run: &Output) -> String {
    let stdout = String::from_utf8_lossy(&run.stdout);
    format!("{stdout}{}", String::from_utf8_lossy(&run.stderr))
}

/// The kits of a level whose tool chain is here.
fn kits(level: u8) -> impl Iterator<Item = &'static Kit> {
    let of_level = harness::kits::all().filter(move |kit| kit.level == level);
    of_level.filter(|kit| {
        let needs = kit.needs().iter();
        let mut missing = needs.filter(|name| find_program(Path::new(name)).is_err());
        let Some(missing) = missing.next() else {
            return true;
        };
        let (level, language) = (kit.level, kit.language);
        eprintln!("SKIPPED: level {level} in {language}: no {missing}");
        false
    })
}

/// Writes a kit and has it pass the first stage by `harness test`. What a busy machine leaves
/// undecided is tried again.
fn pass_first_stage(kit: &Kit, flags: &[&str]) -> Home {
    let home = Home::new();
    let (level, language) = (kit.level, kit.language);
    let name = format!("level{level}");
    let new = home.run(&["new", &name, "--lang", language, "mine"]);
    assert!(new.status.success(), "{}", said(&new));
    let mut test = vec!["test", "mine", "--"];
    test.extend(flags);
    let started = Instant::now();
    let text = loop {
        let run = home.run(&test);
        let text = said(&run);
        if run.status.success() {
            break text;
        }
        let may_repeat = text.contains("UNDECIDED") && started.elapsed() < PATIENCE;
        assert!(may_repeat, "level {level}, {language}: {text}");
    };
    assert!(text.contains("stage 1 of"), "{text}");
    assert!(text.contains("Next is stage 2 of"), "{text}");
    let progress = Progress::load(&home.path("mine")).unwrap();
    assert!(progress.has_passed(1) && !progress.has_passed(2));
    home
}

/// Has a kit that was written and built fail a stage as the text says: by a failure of this kind,
/// with the stage's lesson.
fn fail_stage(kit: &Kit, home: &Home, flags: &[&str], fails: u8, kind: &str) {
    let run = kit.manifest().unwrap().run;
    let program = home.path("mine").join(run.trim_start_matches("./"));
    let program = format!("--solution={}", program.display());
    let (name, stage) = (format!("level{}", kit.level), format!("--stage={fails}"));
    let mut arguments = vec![name.as_str(), &stage, &program];
    arguments.extend(flags);
    let started = Instant::now();
    let result = loop {
        let (result, status) = home.judge(&arguments);
        assert_eq!(status, Some(1), "{result}");
        if result["failure"]["kind"] == kind {
            break result;
        }
        let may_repeat = result["verdict"] == "undecided" && started.elapsed() < PATIENCE;
        assert!(may_repeat, "{}: {result}", kit.language);
    };
    assert_eq!(result["stage"], fails);
    let total = ladder::of_level(kit.level).len();
    assert_eq!(result["stages_total"], total);
    let lesson = result["failure"]["next"][0].as_str().unwrap();
    assert!(lesson.starts_with(&format!("stage {fails}, ")), "{lesson}");
}

#[test]
fn kits_of_level_0_pass_the_first_stage_and_keep_the_document() {
    for kit in kits(0) {
        let home = pass_first_stage(kit, &[]);
        // The others take longer for as much.
        if kit.language == "c" {
            fail_stage(kit, &home, &[], 5, "memory");
        }
    }
}

#[test]
fn kits_of_level_1_give_up_when_the_head_has_moved() {
    for kit in kits(1) {
        let home = pass_first_stage(kit, &[]);
        fail_stage(kit, &home, &[], 2, "exit_status");
        if kit.language == "python" {
            // Another chain is no better.
            fail_stage(kit, &home, &[], 4, "exit_status");
        }
    }
}

#[test]
fn kits_of_level_2_let_backends_overflow() {
    for kit in kits(2) {
        let home = pass_first_stage(kit, &[]);
        if kit.language == "python" {
            fail_stage(kit, &home, &[], 2, "stage_demands");
        }
    }
}

#[test]
fn kits_of_level_3_take_a_dead_node_for_an_empty_answer() {
    for kit in kits(3) {
        let home = pass_first_stage(kit, &["--base-port=0"]);
        fail_stage(kit, &home, &["--base-port=0"], 5, "wrong_output");
    }
}

#[test]
fn nodes_of_the_kits_of_level_4_do_not_agree() {
    for kit in kits(4) {
        let home = pass_first_stage(kit, &[]);
        fail_stage(kit, &home, &[], 2, "repeated_number");
    }
}

#[test]
fn a_text_is_printed_with_as_many_hints_as_are_asked_for() {
    let home = Home::new();
    let plain = home.run(&["describe", "level2"]);
    let text = said(&plain);
    assert!(plain.status.success(), "{text}");
    assert!(
        text.contains("Level 2: the shield") && !text.contains("Hint 1"),
        "{text}"
    );
    assert!(
        text.contains("--hints 1") && text.contains("harness new level2"),
        "{text}"
    );
    let text = said(&home.run(&["describe", "2", "--hints", "2"]));
    assert!(
        text.contains("Hint 2: ") && !text.contains("Hint 3: "),
        "{text}"
    );
}

#[test]
fn wrong_arguments_are_refused_in_a_line_that_says_what() {
    let home = Home::new();
    fs::create_dir(home.path("full")).unwrap();
    fs::write(
        home.path("full/ctf3.toml"),
        "level = 0\nrun = './x'\nbuild = 'exit 3'",
    )
    .unwrap();
    fs::create_dir(home.path("bad")).unwrap();
    fs::write(home.path("bad/ctf3.toml"), "level = 0\nran = 'x'").unwrap();
    fs::create_dir(home.path("gone")).unwrap();
    fs::write(home.path("gone/ctf3.toml"), "level = 0\nrun = './x'").unwrap();
    fs::write(home.path("file"), "").unwrap();
    let cases: [(&[&str], &str); 14] = [
        (&["describe", "level9"], "there are level0 to level4"),
        (
            &["describe", "level1", "--hints", "4"],
            "level 1 has 3 hints",
        ),
        (
            &["new", "level1"],
            "--lang is missing; for level 1 there are python, shell",
        ),
        (
            &["new", "level1", "--lang", "cobol"],
            "no kit of level 1 in cobol; there are python",
        ),
        (
            &["new", "level0", "--lang", "c", "full"],
            "full is not empty",
        ),
        (
            &["new", "level0", "--lang", "c", "file"],
            "file is there, and not a folder",
        ),
        (&["test", "file"], "file: not a folder"),
        (&["test", "nowhere"], "nowhere: no such folder"),
        (&["test"], "ctf3.toml: there is none"),
        (
            &["test", "full"],
            "the build failed (exit status: 3): exit 3",
        ),
        (&["test", "bad"], "line 2: unknown field `ran`"),
        (&["test", "gone"], "`run` names ./x, which is not there"),
        (
            &["test", "gone", "--stage", "7"],
            "--stage 7: level 0 has the stages 1 (exact)",
        ),
        (&["watch", "nowhere"], "nowhere: no such folder"),
    ];
    for (arguments, what) in cases {
        let run = home.run(arguments);
        let text = said(&run);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {text}");
        let lines = text.lines().filter(|line| line.contains(what));
        assert_eq!(lines.count(), 1, "{arguments:?}: {text}");
    }
}

/// What comes out of a pipe, line by line.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            sender.send(line.unwrap()).unwrap();
        }
    });
    lines
}

/// All lines up to one that has a text in it.
fn up_to(lines: &Receiver<String>, what: &str) -> String {
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => seen.extend([line.as_str(), "\n"]),
            Err(error) => panic!("{error}: no {what:?} in {seen}"),
        }
        if seen.contains(what) {
            return seen;
        }
    }
}

#[test]
fn a_change_is_a_reason_to_judge_again() {
    let home = Home::new();
    // A solution that is wrong in one way, then in another.
    fs::create_dir(home.path("mine")).unwrap();
    let manifest = "level = 0\nrun = './x.sh'\nwatch = ['x.sh']\n";
    fs::write(home.path("mine/ctf3.toml"), manifest).unwrap();
    let script = home.path("mine/x.sh");
    fs::write(&script, "#!/bin/sh\ncat\n").unwrap();
    let mut mode = fs::metadata(&script).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&script, mode).unwrap();

    let mut watch = home.harness(&["watch", "mine"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(watch.stdout.take().unwrap());
    let seen = up_to(&lines, "waiting for a change");
    assert!(seen.contains("wrong_output"), "{seen}");
    // Another size, so that no clock is too coarse to see it.
    fs::write(&script, "#!/bin/sh\nexit 7 # at once\n").unwrap();
    let seen = up_to(&lines, "waiting for a change");
    assert!(
        seen.contains("exit_status") && seen.contains("▁▁"),
        "{seen}"
    );
    assert!(seen.contains("x.sh has changed"), "{seen}");
    // A manifest that watches more is followed.
    fs::write(home.path("mine/words.txt"), "one").unwrap();
    let more = "level = 0\nrun = './x.sh'\nwatch = ['x.sh', 'words.txt']\n";
    fs::write(home.path("mine/new"), more).unwrap();
    fs::rename(home.path("mine/new"), home.path("mine/ctf3.toml")).unwrap();
    up_to(&lines, "ctf3.toml has changed");
    up_to(&lines, "waiting for a change");
    fs::write(home.path("mine/words.txt"), "one two").unwrap();
    up_to(&lines, "words.txt has changed");

    let pid = rustix::process::Pid::from_child(&watch);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let started = Instant::now();
    while watch.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < PATIENCE, "it does not end");
        thread::sleep(LOOK);
    }
}
