//! The history of results, as the binary keeps it: in the user's data folder, or not at all.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use harness::logbook::{Logbook, Selection};

/// Runs a program that ends at once on a network of two nodes. Whatever it leaves is in `folder`.
fn run(folder: &Path, home: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(flags)
        .args(["network", "--nodes", "2", "--seed", "7", "--quiet"])
        .args(["--duration", "1s", "--", "true"])
        .env("HOME", home)
        .env("XDG_DATA_HOME", home.join("data"))
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A folder that holds a history after a run, wherever the system has it.
fn histories(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(histories(&path));
        } else if path
            .file_name()
            .is_some_and(|name| name == "history.sqlite")
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_run_is_kept_but_those_that_are_not_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = run(folder, folder, &["--no-history"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(histories(folder), Vec::<std::path::PathBuf>::new());
    for _ in 0..2 {
        let output = run(folder, folder, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let [path] = histories(folder).try_into().unwrap();
    let logbook = Logbook::open(&path).unwrap();
    let selection = Selection {
        most: 10,
        ..Selection::default()
    };
    let list = logbook.list(&selection).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].verdict, "passed");
    let kept = logbook.get(list[0].id).unwrap().unwrap();
    assert_eq!(kept.result["settings"]["seed"], "7");
    assert_eq!(
        kept.result["replay"]
            .as_str()
            .unwrap()
            .matches("history")
            .count(),
        0
    );
    assert!(kept.recording.unwrap()["panels"].as_array().unwrap().len() > 1);
}

#[test]
fn a_home_that_cannot_be_written_fails_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::write(&home, "not a folder").unwrap();
    let output = run(folder.path(), &home, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not kept in the history"), "{said}");
}
