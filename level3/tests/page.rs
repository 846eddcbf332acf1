//! The page in a real browser: headless Chromium loads it, runs its script and shows what came.
//!
//! Skipped, with a message, where no Chromium is installed. A screenshot is left under
//! `target/` for people to look at.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Cluster, write_tree};

/// The browser, if there is one.
fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|run| run.status.success())
        })
}

#[test]
fn a_search_is_shown_grouped_by_file_with_marks() {
    let Some(browser) = chromium() else {
        eprintln!("SKIPPED: no Chromium is installed, so the page was not looked at");
        return;
    };
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        [
            (
                "src/first.c",
                "int main(void)\n{\n\treturn needle(\"<b>\");\n}\n",
            ),
            ("src/second.c", "\u{1f600} needle needle\nnothing\n"),
        ],
    );
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    let url = format!("http://{}/#q=needle&context=1", cluster.master.address);
    let profile = tempfile::tempdir().unwrap();
    let shot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    let run = |what: &str| {
        let output = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .arg("--window-size=1000,700")
            // Waits until nothing is being loaded any more, on a clock that only then moves on.
            .arg("--virtual-time-budget=10000")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args([what, &url])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let page = run("--dump-dom");
    assert_eq!(page.matches("<section>").count(), 2, "{page}");
    assert_eq!(page.matches("<mark>needle</mark>").count(), 3, "{page}");
    assert!(page.contains("<h2>src/first.c</h2>"), "{page}");
    assert!(page.contains(r#"data-place="src/second.c:1""#), "{page}");
    assert!(page.contains("2 lines in 2 files"), "{page}");
    assert!(
        page.contains("\u{1f600} <mark>"),
        "marks must count characters: {page}"
    );
    assert!(
        page.contains("&lt;b&gt;"),
        "text must not become markup: {page}"
    );
    assert!(
        page.contains(r#"<div class="hit near"><span class="number">2</span>{</div>"#),
        "{page}"
    );
    run(&format!("--screenshot={}", shot.display()));
    assert!(std::fs::metadata(&shot).unwrap().len() > 1000);
    eprintln!("screenshot: {}", shot.display());
}
