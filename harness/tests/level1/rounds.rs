//! `harness level1 round` and `serve` on the real binary.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    thread,
};

use harness::level1::{git::Git, repository::Repository, rounds::book::Book};
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
    command.arg("--no-history");
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
    for (format, words) in [
        ("table", "round 1\n"),
        ("csv", "far away,0,0,"),
        ("json", "\"name\": \"far away\""),
    ] {
        let printed = results(&db, &["--format", format]);
        assert!(printed.contains(words), "{printed}");
    }
    let coins = results(&db, &["--format", "csv", "--coins", "--round", "1"]);
    assert!(coins.lines().count() > 1, "{coins}");
    let book = Book::open(&db).unwrap();
    assert_eq!(book.records().next_round().unwrap(), 2);
    let players = book.records().players().unwrap();
    let ratings: f64 = players.iter().map(|player| player.rating).sum();
    assert!((ratings - 3000.0).abs() < 1e-6, "{players:?}");
    let last = players.last().unwrap();
    assert_eq!((last.name.as_str(), last.points), ("far away", 0));
    assert_eq!(players[0].points, 50, "the winner has a coin: {shown}");
}

/// What `harness level1 results` prints.
fn results(db: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(HARNESS);
    command.arg("--no-history");
    command.args(["level1", "results", "--db"]).arg(db);
    let output = command.args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A round that is being played, with a player `sh` who is run here.
struct Playing {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Playing {
    fn start(db: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(HARNESS);
        command.arg("--no-history");
        command.args(["level1", "round", "--listen", "127.0.0.1:0", "--db"]);
        command.arg(db).args(["--difficulty", "f", "--player"]);
        command.arg(format!("sh={}", example("level1.sh").display()));
        command.args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Reads on to the line that holds these words, and returns it.
    fn wait_for(&mut self, words: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "`{words}` is not in\n{said}");
            if line.contains(words) {
                return line;
            }
            said += &line;
        }
    }

    /// Sends a signal; returns the exit status and what was printed.
    fn end(self, signal: Signal) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let (status, printed, _) = self.wait();
        (status, printed)
    }

    /// Waits for its end; returns the exit status, what was printed, and what was said.
    fn wait(mut self) -> (ExitStatus, String, String) {
        let reader = thread::spawn(move || {
            let mut said = String::new();
            self.stderr.read_to_string(&mut said).unwrap();
            said
        });
        let mut printed = String::new();
        self.stdout.read_to_string(&mut printed).unwrap();
        let said = reader.join().unwrap();
        (self.child.wait().unwrap(), printed, said)
    }
}

#[test]
fn a_round_that_is_interrupted_is_booked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("game.sqlite");
    let failing = dir.path().join("failing");
    fs::write(&failing, "#!/bin/sh\nseq 3 20\necho no luck >&2\nexit 3\n").unwrap();
    fs::set_permissions(&failing, fs::Permissions::from_mode(0o755)).unwrap();
    let failing = format!("eve={}", failing.display());
    let flags = ["--player", &failing, "--bots", "1", "--bot-interval", "0.5"];
    let mut playing = Playing::start(&db, &flags);
    // Its last ten lines, of both streams.
    playing.wait_for("the miner of eve ended with exit status: 3");
    for line in (12..=20).map(|number| number.to_string()) {
        assert_eq!(playing.wait_for("  ").trim(), line);
    }
    playing.wait_for("  no luck");
    playing.wait_for("sh lands ");
    playing.wait_for("bot-1 lands ");

    // Meanwhile nobody else may play with this file, and everybody may read it.
    let mut second = Command::new(HARNESS);
    second.args(["level1", "round", "--listen", "127.0.0.1:0", "--db"]);
    let refused = second.arg(&db).args(["--player", "ada"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("in use by another host (process "), "{said}");
    assert!(results(&db, &[]).contains("no round is over yet"));

    let (status, printed) = playing.end(Signal::INT);
    assert_eq!(status.code(), Some(130), "{printed}");
    assert!(
        printed.contains("round 1: ended early by the host"),
        "{printed}"
    );
    let book = Book::open(&db).unwrap();
    let round = book.records().round(1).unwrap().unwrap();
    assert_eq!(round.results[0].name, "sh");
    assert!(round.results[0].coins > 0);
    assert_eq!(
        (round.results[1].name.as_str(), round.results[1].coins),
        ("eve", 0)
    );
    assert_eq!(round.results.len(), 2, "bots are not ranked");
    let coins = book.records().coins(1).unwrap();
    assert!(coins.iter().any(|coin| coin.name == "bot-1"));
}

#[test]
fn a_round_whose_host_is_killed_is_booked_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("game.sqlite");
    let mut playing = Playing::start(&db, &[]);
    playing.wait_for("sh lands ");
    playing.end(Signal::KILL);
    let mut next = Playing::start(&db, &["--minutes", "0.02", "--linger", "1h"]);
    let line = next.wait_for("the result stays at ");
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.split('/').next().unwrap();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = get("/");
    assert!(
        page.contains("<b>Round 2</b> is over, and it was the last."),
        "{page}"
    );
    assert!(page.contains("href=\"/rounds/1\""), "{page}");
    let first = get("/rounds/1");
    assert!(
        first.contains("the host was gone before its end"),
        "{first}"
    );
    assert!(get("/rounds/1/coins.csv").contains(",sh,"));
    assert!(get("/rounds.csv").contains("\n1,"));
    // Everything has its result: Ctrl-C interrupts nothing.
    let (status, printed) = next.end(Signal::INT);
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(printed.contains("round 1: its host was gone"), "{printed}");
    let book = Book::open(&db).unwrap();
    assert!(book.records().round(1).unwrap().unwrap().results[0].coins > 0);
    assert_eq!(book.unfinished().unwrap(), Vec::<u64>::new());
}

#[test]
fn a_round_whose_chain_was_tampered_with_is_booked() {
    let dir = tempfile::tempdir().unwrap();
    let (db, root) = (dir.path().join("game.sqlite"), dir.path().join("root"));
    let mut playing = Playing::start(&db, &["--root", root.to_str().unwrap()]);
    playing.wait_for("sh lands ");
    let git = Git::new(&root.join("server/current-round"));
    let first = git.run(&["rev-list", "--max-parents=0", "master"]).unwrap();
    git.run(&["update-ref", "refs/heads/master", first.trim()])
        .unwrap();
    let (status, printed, said) = playing.wait();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("round 1 was ended and is booked"), "{said}");
    assert!(said.contains("somebody else moved it"), "{said}");
    assert!(printed.contains("round 1\n"), "{printed}");
    let round = Book::open(&db)
        .unwrap()
        .records()
        .round(1)
        .unwrap()
        .unwrap();
    assert!(round.results[0].coins > 0);
    assert!(round.note.unwrap().contains("somebody else moved it"));
}

#[test]
fn what_can_fail_fails_before_the_round() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(
        path("text"),
        "this is not a database, and long enough to tell",
    )
    .unwrap();
    fs::create_dir(path("folder")).unwrap();
    let db = path("game.sqlite");
    let name = "a name begins with";
    for (flags, words) in [
        (
            ["--player", "ada", "--player", "ada"],
            "--player ada is given twice",
        ),
        (["--player", "ada", "--player", "-x"], name),
        (["--player", "ada", "--player", "."], name),
        (["--player", "ada", "--player", " "], "a name is not blank"),
        (
            ["--player", "ada", "--player", "a\tb"],
            "a name has letters",
        ),
        (
            ["--player", "ada", "--player", "b=./no-such"],
            "cannot find ./no-such",
        ),
        (
            ["--player", "ada", "--player", "b=no-such"],
            "cannot find no-such in PATH",
        ),
        (["--player", "ada", "--minutes", "1e17"], "30 days"),
        (
            ["--player", "ada", "--freeze", "20m"],
            "hides a whole round",
        ),
        (
            ["--player", "ada", "--db", &path("no/folder/x")],
            "cannot open",
        ),
        (
            ["--player", "ada", "--db", &path("folder")],
            "is not a file",
        ),
        (
            ["--player", "ada", "--db", &path("text")],
            "as the game's book",
        ),
    ] {
        let mut command = Command::new(HARNESS);
        command.arg("--no-history");
        command.args(["level1", "round", "--listen", "127.0.0.1:0"]);
        if !flags.contains(&"--db") {
            command.args(["--db", &db]);
        }
        // Flags with a value that begins with `-` are written with `=`.
        for pair in flags.chunks(2) {
            command.arg(format!("{}={}", pair[0], pair[1]));
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
    }
    let mut serve = Command::new(HARNESS);
    serve.args(["level1", "serve", "--player", "ada", "--player", "ada"]);
    assert_eq!(serve.output().unwrap().status.code(), Some(2));
}

/// A server that is told to end when the value goes.
struct Serving {
    child: Child,
    lines: Vec<String>,
}

impl Serving {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(HARNESS);
        command.arg("--no-history");
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
    // Meanwhile the folder is taken.
    let mut second = Command::new(HARNESS);
    second.args(["level1", "serve", "--listen", "127.0.0.1:0", "--dir"]);
    let refused = second.arg(&dir).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("in use by another host"), "{said}");
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
        .arg("--no-history")
        .args(["level1", "serve"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--player NAME"), "{said}");
}
