//! Wrong inputs of `level1 mine`: one clear line, exit code 2, and the clone as it was found.
// These tests count the lines on stderr. With a graphics kernel built in, `auto` may tell about the
// device first, and some drivers have a word to say as well.
#![cfg(not(feature = "gpu"))]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Game, LEDGER, git, output_text};
use std::process::{Command, Output};

/// Expects exit code 2 and one line on standard error, apart from the miner's opening line, that
/// says `words`.
fn refused(mut command: Command, words: &str) {
    let output: Output = command.output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.starts_with("mining "))
        .collect();
    let [error] = errors[..] else {
        panic!("not one line: {text}")
    };
    assert!(
        error.starts_with("level1: ") && error.contains(words),
        "{text}"
    );
    let parts: Vec<&str> = error.split(": ").collect();
    assert!(
        parts.windows(2).all(|pair| pair[0] != pair[1]),
        "doubled: {text}"
    );
}

/// A wrong server leaves no clone behind.
fn refused_without_a_clone(game: &Game, url: &str, words: &str) {
    refused(game.level1(&["mine", "--dir", "clone", url, "ann"]), words);
    assert!(!game.path("clone").exists(), "{url} left a clone");
}

#[test]
fn what_is_no_repository() {
    let game = Game::new("1");
    std::fs::create_dir(game.path("folder")).unwrap();
    refused_without_a_clone(&game, "folder", "folder");
    refused_without_a_clone(&game, "absent", "absent");
}

#[test]
fn a_repository_without_the_branch() {
    let game = Game::new("1");
    game.server_git(&["branch", "--move", "master", "main"]);
    refused_without_a_clone(&game, "server.git", "master");
}

#[test]
fn no_ledger_or_no_difficulty() {
    let game = Game::with_files(&[("difficulty.txt", "1"), ("ledger.txt", LEDGER)]);
    refused_without_a_clone(&game, "server.git", "no file LEDGER.txt");
    let game = Game::with_files(&[("difficulty.txt", "1"), ("LEDGER.txt/folder", LEDGER)]);
    refused_without_a_clone(&game, "server.git", "no file LEDGER.txt");
    let game = Game::with_files(&[("LEDGER.txt", LEDGER)]);
    refused_without_a_clone(&game, "server.git", "no file difficulty.txt");
}

#[test]
fn difficulties_that_cannot_be_read_or_met() {
    for difficulty in ["hard\n", "0x01", "00000A\n", "1 2\n", "1\n\n", "\u{e9}"] {
        let game = Game::new(difficulty);
        refused_without_a_clone(&game, "server.git", "hexadecimal");
    }
    for difficulty in [
        "",
        "\n",
        "0\n",
        "0000000000000000000000000000000000000000\n",
    ] {
        let game = Game::new(difficulty);
        refused_without_a_clone(&game, "server.git", "no hash can be less");
    }
}

#[test]
fn names_outside_the_ledgers_alphabet() {
    let game = Game::new("1");
    for name in ["", "a:b", "a/b", "a\nb", "\u{e9}", "a\tb"] {
        refused(game.level1(&["server.git", name]), "no player's name");
    }
    assert!(!game.path("server").exists());
}

#[test]
fn nobody_at_the_other_end() {
    let game = Game::new("1");
    // A port that was free a moment ago, and that nothing listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for protocol in ["git", "http"] {
        let url = format!("{protocol}://127.0.0.1:{port}/level1.git");
        refused_without_a_clone(&game, &url, "127.0.0.1");
    }
}

#[test]
fn no_git_to_call() {
    let game = Game::new("1");
    let mut command = game.level1(&["server.git", "ann"]);
    command.env("PATH", game.path("empty"));
    refused(command, "is git installed");
}

#[test]
fn a_push_that_is_refused_for_another_reason_than_a_race() {
    let game = Game::new("001");
    game.pre_receive("echo 'no coins on Sundays' >&2\nexit 1\n");
    refused(game.level1(&["server.git", "ann"]), "no coins on Sundays");
    assert_eq!(game.history().len(), 1);
    // The clone that the failed run left is as it was cloned, and another run can use it.
    let clone = game.path("server");
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), game.history()[0]);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    game.pre_receive("exit 0\n");
    let output = game.level1(&["server.git", "ann"]).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
}

#[test]
fn folders_that_hold_something_else() {
    let game = Game::new("001");
    std::fs::create_dir(game.path("server")).unwrap();
    std::fs::write(game.path("server/keep"), "mine").unwrap();
    refused(game.level1(&["server.git", "ann"]), "is no clone");
    assert_eq!(std::fs::read(game.path("server/keep")).unwrap(), b"mine");

    // A clone of something else stays as it is, and so does a repository without a remote.
    git(&game.path("seed"), &["clone", "--quiet", ".", "../other"]);
    let other = game.path("other");
    let set = |url: &str| git(&other, &["config", "remote.origin.url", url]);
    set("https://ann:s3cret@host/other");
    let mut command = game.level1(&["mine", "--dir", "other", "server.git", "ann"]);
    let said = output_text(&command.output().unwrap());
    assert!(
        said.contains("is a clone of") && !said.contains("s3cret"),
        "{said}"
    );
    set(game.path("seed").to_str().unwrap());
    refused(
        game.level1(&["mine", "--dir", "other", "server.git", "ann"]),
        "is a clone of",
    );
    refused(
        game.level1(&["mine", "--dir", "seed", "server.git", "ann"]),
        "is no clone",
    );
    refused(
        game.level1(&["mine", "--dir", "seed/notes", "server.git", "ann"]),
        "is no clone",
    );
}

#[test]
fn an_existing_clone_of_a_server_gone_wrong_stays() {
    let game = Game::new("001");
    let output = game.level1(&["server.git", "ann"]).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
    let clone = game.path("server");
    let head = git(&clone, &["rev-parse", "HEAD"]);
    git(&clone, &["pull", "--quiet"]);
    std::fs::rename(game.path("server.git"), game.path("gone.git")).unwrap();
    refused(
        game.level1(&["mine", "--dir", "server", "server.git", "ann"]),
        "server",
    );
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), head);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
}

#[test]
fn sha256_repositories_are_refused() {
    let game = Game::new("1");
    let new = game.path("new");
    std::fs::create_dir(&new).unwrap();
    git(
        &new,
        &[
            "init",
            "--quiet",
            "--object-format=sha256",
            "--initial-branch",
            "master",
        ],
    );
    std::fs::write(new.join("LEDGER.txt"), LEDGER).unwrap();
    git(&new, &["add", "."]);
    git(&new, &["commit", "--quiet", "--message", "Begin"]);
    refused_without_a_clone(&game, "new", "only SHA-1");
}

#[test]
fn options_that_make_no_sense() {
    let game = Game::new("1");
    for (arguments, words) in [
        (["--refresh", "0"], "--refresh"),
        (["--refresh", "soon"], "--refresh"),
        (["--threads", "0"], "--threads"),
        (["--coins", "1.5"], "--coins"),
        (["--author", "Ann"], "--author"),
        (["--backend", "gpu"], "built without"),
    ] {
        let output = game
            .level1(&["mine", arguments[0], arguments[1], "server.git", "ann"])
            .output();
        let output = output.unwrap();
        let text = output_text(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(!game.path("server").exists());
    }
}
