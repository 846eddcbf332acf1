//! The dashboard as a user has it: the binary, a folder with solutions, and a real browser (headless
//! Chromium; skipped, with a message, where none is installed).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../level3/tests/common/browser.rs"]
mod browser;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use browser::Browser;
use rustix::process::{Pid, Signal, kill_process};

/// A dashboard that ends with the value.
struct Dashboard {
    process: Child,
    url: String,
}

impl Dashboard {
    fn start(home: &Path) -> Self {
        fs::create_dir(home.join("scratch")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["dashboard", "--listen", "127.0.0.1:0"])
            .arg(home.join("solutions"))
            .env("HOME", home)
            .env("XDG_DATA_HOME", home.join("data"))
            .env("TMPDIR", home.join("scratch"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let first = stdout.lines().next().unwrap().unwrap();
        let url = first.strip_prefix("dashboard: ").unwrap().to_owned();
        Self { process, url }
    }

    /// The URL of a page.
    fn page(&self, path: &str) -> String {
        let (start, _) = self.url.split_once("/?").unwrap();
        format!("{start}{path}")
    }

    /// Ctrl-C; the exit status.
    fn end(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A folder with a program of a few words of shell.
fn solution(home: &Path, name: &str, level: u8, script: &str) {
    let folder = home.join("solutions").join(name);
    fs::create_dir_all(&folder).unwrap();
    let manifest = format!("level = {level}\nlanguage = 'shell'\nrun = './solution'\n");
    fs::write(folder.join("ctf3.toml"), manifest).unwrap();
    let program = folder.join("solution");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_stage_is_started_watched_stopped_and_found_again() {
    let home = tempfile::tempdir().unwrap();
    solution(home.path(), "echo", 0, "cat");
    solution(home.path(), "idle", 4, "exec sleep 1000");
    let dashboard = Dashboard::start(home.path());
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.call("Page.navigate", serde_json::json!({"url": dashboard.url}));
    // The token does not stay in the address bar.
    browser.until(&format!("location.href === '{}'", dashboard.page("/")));
    browser.until_shown("h1", "Capture the Flag 3");

    // What is judged is told, and is in the history then.
    browser.open(&dashboard.page("/levels/0"));
    browser.until_shown("article", "dictionary");
    browser.click(".stages button");
    browser.until("document.querySelector('[data-over]')");
    browser.until_shown("#run", "not passed");
    browser.until_shown("#run", "the result");
    browser.click("#run a[href^='/results/']");
    browser.until_shown("h1", "Level 0, stage 1");
    browser.until_shown(".status", "failed");

    // What goes on is drawn, and can be stopped.
    browser.open(&dashboard.page("/levels/4"));
    browser.click(".stages button");
    browser.until("document.querySelector('svg.network circle.running')");
    browser.click(".stop button");
    browser.until("document.querySelector('[data-over]')");
    browser.until_shown("#run", "stopped");

    // A run that goes on ends with the dashboard.
    browser.open(&dashboard.page("/levels/4"));
    browser.click(".stages button");
    browser.until("document.querySelector('svg.network circle.running')");
    assert_eq!(browser.complaints, Vec::<String>::new());
    assert_eq!(dashboard.end(), Some(130));
    // Its folder goes with it; that of the run that failed was kept.
    let folders = || fs::read_dir(home.path().join("scratch")).unwrap().count();
    for _ in 0..600 {
        if folders() == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(folders(), 1);
}

#[test]
fn a_class_that_was_not_graded_is_refused_in_a_line() {
    let home = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["dashboard", "--listen", "127.0.0.1:0", "--class", "nowhere"])
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("--class nowhere: "), "{said}");
    assert!(said.contains("no results of `harness grade`"), "{said}");
    assert!(run.stdout.is_empty());
}
