//! `harness level1 round` and `serve` on the real binary.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use harness::level1::{repository::Repository, rounds::book::Book};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    game::example,
    support::{Chain, HARNESS},
};

#[test]
fn a_round_is_ranked_and_rated() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("game.sqlite");
    let mut command = Command::new(HARNESS);
    command.args([
        "level1",
        "round",
        "--listen",
        "127.0.0.1:0",
        "--minutes",
        "0.2",
        "--db",
    ]);
    command.arg(&db).args(["--difficulty", "2"]);
    for (name, miner) in [("py", "level1.py"), ("sh", "level1.sh")] {
        command
            .arg("--player")
            .arg(format!("{name}={}", example(miner).display()));
    }
    // A player on another machine that never shows up.
    command.args(["--player", "far away"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("round 1\n"), "{shown}");
    assert!(shown.contains("far away: http://far%20away:"), "{shown}");
    let book = Book::open(&db).unwrap();
    assert_eq!(book.next_round().unwrap(), 2);
    let players = book.players().unwrap();
    let ratings: f64 = players.iter().map(|player| player.rating).sum();
    assert!((ratings - 3000.0).abs() < 1e-6, "{players:?}");
    let last = players.last().unwrap();
    assert_eq!((last.name.as_str(), last.points), ("far away", 0));
    assert_eq!(players[0].points, 50, "the winner has a coin: {shown}");
}

/// A server that is told to end when the value goes.
struct Serving {
    child: Child,
    lines: Vec<String>,
}

impl Serving {
    fn start(dir: &std::path::Path, flags: &[&str]) -> Self {
        let mut command = Command::new(HARNESS);
        command.args(["level1", "serve", "--listen", "127.0.0.1:0", "--bots", "0"]);
        command
            .args(["--difficulty", "f", "--dir"])
            .arg(dir)
            .args(flags);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // The scoreboard, then one player.
        let lines = stdout.lines().take(2).map(Result::unwrap).collect();
        Self { child, lines }
    }

    fn url(&self) -> &str {
        self.lines[1].strip_prefix("ada: ").unwrap()
    }

    fn end(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_server_goes_on_where_it_stopped() {
    let chain = Chain::new();
    let dir = chain.path("game");
    let git = |arguments: &[&str]| {
        let mut command = chain.clone.command();
        command.args(arguments).output().unwrap()
    };
    let first = Serving::start(&dir, &["--player", "ada"]);
    let fetched = git(&["fetch", "--quiet", first.url(), "+master:served"]);
    assert!(fetched.status.success(), "{fetched:?}");
    // The chain's pusher writes on top of any head whose objects it has.
    let served = Repository::open(&dir.join("level1")).unwrap();
    let (head, ledger) = (
        served.head().unwrap(),
        served.ledger(served.head().unwrap()),
    );
    let mut files = Chain::files_at(&served);
    for file in &mut files {
        if file.1 == "LEDGER.txt" {
            file.2 = format!("{}ada: 1\n", ledger.as_ref().unwrap());
        }
    }
    let coin = chain.commit(&[head], &files);
    let pushed = git(&[
        "push",
        "--quiet",
        first.url(),
        &format!("{coin}:refs/heads/master"),
    ]);
    assert!(pushed.status.success(), "{pushed:?}");
    let token = first.url().split_once('@').unwrap().0.to_owned();
    assert_eq!(first.end(), Some(130));

    let second = Serving::start(&dir, &[]);
    assert!(second.url().starts_with(&token));
    let heads = git(&["ls-remote", second.url()]);
    let heads = String::from_utf8(heads.stdout).unwrap();
    assert!(heads.contains(&coin.to_string()), "{heads}");
    assert_eq!(second.end(), Some(130));
}

#[test]
fn a_server_without_players_is_refused() {
    let output = Command::new(HARNESS)
        .args(["level1", "serve"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--player NAME"), "{said}");
}
