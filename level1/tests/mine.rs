//! The real binary against bare repositories on this machine: coins, races, moved heads.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Game, Miner, output_text};
use std::io::{BufRead, BufReader};
use std::process::{ChildStderr, Command, Stdio};

/// A difficulty that a test machine of any kind meets in a moment.
const EASY: &str = "001";

/// A difficulty that nothing meets.
const HOPELESS: &str = "00000000000000000000000000000001";

#[test]
fn classic_form_lands_a_coin_from_a_fresh_clone() {
    let game = Game::new("000fffffffffffffffffffffffffffffffffffff\n");
    let output = game.level1(&["server.git", "ann"]).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));

    let ids = game.history();
    assert_eq!(ids.len(), 2);
    assert!(ids[0].as_str() < "000fffffffffffffffffffffffffffffffffffff");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.starts_with(&format!("coin 1: {}", ids[0])),
        "{stdout}"
    );
    assert!(stdout.trim_end().ends_with(" MH/s"), "{stdout}");

    assert_eq!(game.ledger(), format!("{}ann: 1\n", common::LEDGER));
    assert_eq!(game.changed_files(), "M\tLEDGER.txt\n");
    game.server_git(&["fsck", "--strict"]);
    // The clone stands on the coin, with clean files.
    let clone = game.path("server");
    assert_eq!(common::git(&clone, &["rev-parse", "master"]), ids[0]);
    assert_eq!(common::git(&clone, &["status", "--porcelain"]), "");
}

#[test]
fn many_coins_come_from_one_clone_and_add_up() {
    let game = Game::new(EASY);
    for _ in 0..2 {
        let output = game
            .level1(&["mine", "--coins", "3", "server.git", "gdb"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", output_text(&output));
    }
    assert_eq!(game.history().len(), 7);
    assert_eq!(game.ledger(), common::LEDGER.replace("gdb: 25", "gdb: 31"));
    game.server_git(&["fsck", "--strict"]);
}

#[test]
fn every_backend_mines() {
    for backend in level1::Backend::supported() {
        let game = Game::new(EASY);
        let arguments = ["mine", "--backend", backend.name(), "server.git", "ann"];
        let output = game.level1(&arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{backend}: {}",
            output_text(&output)
        );
        assert_eq!(game.history().len(), 2, "{backend}");
    }
}

#[test]
fn a_lost_race_starts_again_on_the_new_head() {
    let game = Game::new(EASY);
    // The hook lets somebody else be faster, once, and refuses what then comes too late.
    game.pre_receive(
        "read old new ref\n\
         unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         if test ! -e raced; then\n\
         touch raced\n\
         other=$(echo other | git commit-tree -p master master^{tree})\n\
         git update-ref refs/heads/master $other\n\
         fi\n\
         test $(git rev-parse master) = $old || { echo 'you are late' >&2; exit 1; }\n",
    );
    let output = game.level1(&["server.git", "ann"]).output().unwrap();
    let text = output_text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("somebody was faster"), "{text}");
    assert!(text.contains("1 races lost"), "{text}");
    assert_eq!(game.history().len(), 3);
    assert_eq!(game.ledger(), format!("{}ann: 1\n", common::LEDGER));
}

/// A miner that was started on a hopeless difficulty and has said that it mines.
fn hopeless_miner(game: &Game) -> (Miner, BufReader<ChildStderr>) {
    let mut miner = game
        .level1(&["mine", "--refresh", "0.05", "server.git", "ann"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(miner.stderr.take().unwrap());
    // A graphics driver, or the choice of a backend, may have something to say first.
    let mut said = String::new();
    while !said.contains("mining for ann on ") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    (Miner(miner), stderr)
}

#[test]
fn a_head_that_moves_during_the_search_is_noticed() {
    let game = Game::new(HOPELESS);
    let (mut miner, stderr) = hopeless_miner(&game);
    game.commit_as_server("difficulty.txt", EASY);
    assert!(miner.end().success());
    let told: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    assert!(
        told.iter().any(|line| line.contains("ms after its fetch")),
        "{told:?}"
    );
    assert_eq!(game.history().len(), 3);
    assert_eq!(game.ledger(), format!("{}ann: 1\n", common::LEDGER));
}

#[test]
fn a_replaced_repository_is_survived() {
    let game = Game::new(HOPELESS);
    let (mut miner, _stderr) = hopeless_miner(&game);
    // For a moment there is no repository at all; then there is one with another history.
    let other = Game::new(EASY);
    std::fs::rename(game.path("server.git"), game.path("gone.git")).unwrap();
    std::fs::rename(other.path("server.git"), game.path("server.git")).unwrap();
    assert!(miner.end().success());
    assert_eq!(game.history().len(), 2);
    game.server_git(&["fsck", "--strict"]);
    // The classic clone follows to the other history.
    let clone = game.path("server");
    assert_eq!(
        common::git(&clone, &["rev-parse", "HEAD"]),
        game.history()[0]
    );
}

#[test]
fn a_head_that_becomes_unusable_ends_the_run() {
    let game = Game::new(HOPELESS);
    let (mut miner, stderr) = hopeless_miner(&game);
    game.commit_as_server("difficulty.txt", "none today\n");
    assert_eq!(miner.end().code(), Some(2));
    let told: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    assert!(told.last().unwrap().contains("difficulty.txt"), "{told:?}");
}

#[cfg(unix)]
#[test]
fn mining_without_end_ends_well_when_interrupted() {
    let game = Game::new(EASY);
    let mut miner = game
        .level1(&["mine", "--coins", "0", "server.git", "ann"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(miner.stdout.take().unwrap());
    let mut miner = Miner(miner);
    let mut line = String::new();
    for _ in 0..2 {
        stdout.read_line(&mut line).unwrap();
    }
    assert!(line.contains("coin 2: "), "{line}");
    let kill = Command::new("kill")
        .args(["-INT", &miner.0.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert!(miner.end().success());
    let coins = game.history().len() - 1;
    assert!(coins >= 2);
    assert_eq!(game.ledger(), format!("{}ann: {coins}\n", common::LEDGER));
    let clone = game.path("server");
    assert_eq!(
        common::git(&clone, &["rev-parse", "HEAD"]),
        game.history()[0]
    );
}
