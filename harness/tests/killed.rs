//! Nothing of a run is left behind: no process, no folder, no socket, however hard the monkeys act
//! and however the harness ends, by SIGKILL too.
#![cfg(target_os = "linux")] // Elsewhere descendants that left their group cannot be found.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

/// A node behind a shell, with descendants in its group, in a session of their own, and in one
/// without an environment. Each has the run's folder in its command line, by which it is found.
const NODE: &str = r#"
hold="while :; do sleep 1; done"
sh -c "$hold" "$0" &
setsid sh -c "$hold" "$0" &
(setsid env -i setsid sh -c "$hold" "$0"; :) &
echo born
wait
"#;

/// The harness in a folder of its own, whose temporary folders are made there too.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    fn start(&self, flags: &[&str]) -> Child {
        let own = self.folder.path().to_str().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("--no-history");
        command
            .args(["network", "--nodes", "3"])
            .args(flags)
            .args(["--", "sh", "-c", NODE, own])
            .current_dir(self.folder.path())
            .env("TMPDIR", self.folder.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        command.spawn().unwrap()
    }

    /// Waits until a run has made a node's folder in its own.
    fn wait_for_a_node(&self) {
        let start = Instant::now();
        let has_node = || {
            let folders = fs::read_dir(self.folder.path().join("tmp")).unwrap();
            folders
                .flatten()
                .any(|folder| folder.path().join("node0").exists())
        };
        while !has_node() {
            assert!(start.elapsed() < Duration::from_secs(60), "no node");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing of the run is left; how long that took.
    fn wait_until_clean(&self) -> Duration {
        let start = Instant::now();
        loop {
            let folders: Vec<_> = fs::read_dir(self.folder.path().join("tmp"))
                .unwrap()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            let processes = processes_of(self.folder.path());
            if folders.is_empty() && processes.is_empty() {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "still there: {folders:?} {processes:#?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Processes that name a folder in their environment or their command line.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name| fs::read(process.path().join(name)).unwrap_or_default();
        let (environment, command) = (read("environ"), read("cmdline"));
        let names = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(folder);
        if !command.is_empty() && (names(&environment) || names(&command)) {
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

fn kill(child: &Child, signal: rustix::process::Signal, whole_group: bool) {
    let id = rustix::process::Pid::from_child(child);
    if whole_group {
        rustix::process::kill_process_group(id, signal).unwrap();
    } else {
        rustix::process::kill_process(id, signal).unwrap();
    }
}

/// Reads the nodes' lines until so many of them are born.
fn wait_for_births(child: &mut Child, births: usize) {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let born = lines
        .map_while(Result::ok)
        .filter(|line| line.ends_with("born"));
    assert_eq!(born.take(births).count(), births);
}

#[test]
fn a_harness_that_runs_another_leaves_nothing_of_either() {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let bed = Bed::new();
        let project = bed.folder.path().join("project");
        fs::create_dir(&project).unwrap();
        fs::write(project.join("ctf3.toml"), "level = 4\nrun = './node'").unwrap();
        fs::write(project.join("node"), "#!/bin/sh\nexec sleep 600\n").unwrap();
        fs::set_permissions(project.join("node"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut outer = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["--no-history", "watch"])
            .arg(&project)
            .env("TMPDIR", bed.folder.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        bed.wait_for_a_node();
        kill(&outer, signal, false);
        outer.wait().unwrap();
        bed.wait_until_clean();
    }
}

#[test]
fn a_killed_harness_leaves_no_process_and_no_folder() {
    for whole_group in [false, true] {
        let bed = Bed::new();
        let mut harness = bed.start(&["--monkeys", "none", "--duration", "10m"]);
        wait_for_births(&mut harness, 3);
        kill(&harness, rustix::process::Signal::KILL, whole_group);
        harness.wait().unwrap();
        bed.wait_until_clean();
    }
}

#[test]
fn frozen_nodes_go_too() {
    let bed = Bed::new();
    // All that freezes stays frozen for a while.
    let flags =
        "--monkeys freeze --intensity 1 --monkey-offset 0 --monkey-gap 0.001 --duration 10m";
    let flags: Vec<&str> = flags.split(' ').collect();
    let mut harness = bed.start(&flags);
    wait_for_births(&mut harness, 3);
    let start = Instant::now();
    let frozen = || {
        let stopped = |stat: String| stat.contains(") T ");
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let ours = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let own = bed.folder.path().to_str().unwrap();
            String::from_utf8_lossy(&ours).contains(own)
                && fs::read_to_string(process.path().join("stat")).is_ok_and(stopped)
        })
    };
    while !frozen() {
        assert!(start.elapsed() < Duration::from_secs(60), "none freezes");
        thread::sleep(Duration::from_millis(1));
    }
    kill(&harness, rustix::process::Signal::KILL, false);
    harness.wait().unwrap();
    bed.wait_until_clean();
}

#[test]
fn a_root_stays_and_belongs_to_one_harness_at_a_time() {
    let bed = Bed::new();
    let flags = ["--monkeys", "none", "--duration", "10m", "--root", "here"];
    let mut first = bed.start(&flags);
    wait_for_births(&mut first, 3);
    let second = bed.start(&flags).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("is in use by another run"), "{said}");
    kill(&first, rustix::process::Signal::KILL, false);
    first.wait().unwrap();
    bed.wait_until_clean();
    assert!(bed.folder.path().join("here/node0.log").exists());
    // And after the end of the first it is free.
    let mut third = bed.start(&flags);
    wait_for_births(&mut third, 3);
    kill(&third, rustix::process::Signal::TERM, false);
    assert_eq!(third.wait().unwrap().code(), Some(130));
    bed.wait_until_clean();
}

/// One short hard run, that ends by itself or is ended at some moment. How long cleaning took.
fn hard_run(seed: u64, end: Option<(rustix::process::Signal, Duration)>) -> Duration {
    let bed = Bed::new();
    let seed = seed.to_string();
    let flags = "--monkeys all --intensity 1 --monkey-offset 0 --monkey-gap 0.02 --duration 1s -q";
    let mut flags: Vec<&str> = flags.split(' ').collect();
    flags.extend(["--seed", &seed]);
    // Spof waits for a client, which there is none of.
    flags.push("--enable-spof-monkey=false");
    let mut harness = bed.start(&flags);
    if let Some((signal, after)) = end {
        thread::sleep(after);
        // It may have ended by itself.
        if harness.try_wait().unwrap().is_none() {
            kill(&harness, signal, false);
        }
    }
    let output = harness.wait_with_output().unwrap();
    if end.is_none() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
    bed.wait_until_clean()
}

/// Runs that end by themselves, by a signal that can be handled, and by one that cannot, each at
/// some moment.
fn ends() -> impl Strategy<Value = Option<(rustix::process::Signal, Duration)>> {
    use rustix::process::Signal;
    let moment = (0..1_200_u64).prop_map(Duration::from_millis);
    prop_oneof![
        1 => Just(None),
        1 => moment.clone().prop_map(|moment| Some((Signal::TERM, moment))),
        3 => moment.prop_map(|moment| Some((Signal::KILL, moment))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // The moment is random anyway; a smaller one proves nothing.
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::with_cases(8)
    })]

    #[test]
    fn short_hard_runs_leave_nothing_behind(seed: u64, end in ends()) {
        hard_run(seed, end);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    })]

    /// `cargo test -p harness --test killed -- --ignored --nocapture` shows the times.
    #[test]
    #[ignore = "takes minutes; the short form of it is always run"]
    fn a_hundred_short_hard_runs_leave_nothing_behind(seed: u64, end in ends()) {
        let cleaned = hard_run(seed, end);
        println!("{end:?}: nothing left after {} ms", cleaned.as_millis());
    }
}
