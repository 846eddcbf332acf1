//! The report in a real browser: headless Chromium draws it. Skipped, with a message, where no
//! Chromium is installed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Stdio};

/// The browser, if there is one.
fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|run| run.status.success())
    })
}

#[test]
fn a_run_of_any_program_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--no-history")
        .args(["network", "--nodes", "2", "--seed", "9007199254740993"])
        .args(["--duration", "2s", "--monkeys", "none"])
        .args(["--report", "run.html", "--quiet"])
        .args(["--", "sh", "-c", "echo '</script><b>'; exit 3"])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let path = folder.path().join("run.html");
    let page = std::fs::read_to_string(&path).unwrap();
    for outside in ["https://", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let Some(browser) = chromium() else {
        eprintln!("SKIPPED: no Chromium is installed, so the page was not looked at");
        return;
    };
    let shown = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--disable-background-networking"])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg("--dump-dom")
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&shown.stdout);
    // The script came to its end, and drew.
    assert!(page.contains("data-panels=\"4\""), "{page}");
    assert_eq!(page.matches("<svg ").count(), 4);
    assert!(page.contains("<td>9007199254740993</td>"), "a seed is text");
    assert!(page.contains("node 0 ended by itself (exit status: 3)"));
}
