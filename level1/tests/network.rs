//! The real binary against a server that stalls, hangs up, restarts; and against its user's own
//! settings for pushes.
//!
//! The server is a listener of this test that hands each connection to `git daemon --inetd`, or
//! does not: nothing here depends on how fast anything is.
#![cfg(all(unix, not(feature = "gpu")))]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Game, LEDGER, Miner, git, output_text};
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const EASY: &str = "001";
const HOPELESS: &str = "00000000000000000000000000000001";

/// How long anything may take that should take a moment: a bound on a failing test.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Serve,
    /// Takes connections and says nothing.
    Stall,
    /// Hangs up.
    Gone,
    /// Hangs up on pushes.
    NoPush,
}

/// A server whose manners can be changed.
struct Daemon {
    url: String,
    mode: Arc<Mutex<Mode>>,
    /// The connections that were not served, as they come.
    refused: Receiver<TcpStream>,
    over: Arc<AtomicBool>,
}

impl Daemon {
    fn start(game: &Game) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://{}/server.git", listener.local_addr().unwrap());
        let mode = Arc::new(Mutex::new(Mode::Serve));
        let over = Arc::new(AtomicBool::new(false));
        let (sender, refused) = mpsc::channel();
        let folder = game.path(".");
        let (shared, ended) = (Arc::clone(&mode), Arc::clone(&over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let (mode, folder, sender) = (Arc::clone(&shared), folder.clone(), sender.clone());
                thread::spawn(move || treat(stream, &mode, &folder, &sender));
            }
        });
        Self {
            url,
            mode,
            refused,
            over,
        }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// The next connection that was not served.
    fn refused(&self) -> TcpStream {
        self.refused.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}

fn treat(stream: TcpStream, mode: &Mutex<Mode>, folder: &Path, refused: &Sender<TcpStream>) {
    // The request is `....git-upload-pack /path` or `....git-receive-pack /path`.
    let mut start = [0; 16];
    while stream
        .peek(&mut start)
        .is_ok_and(|count| 0 < count && count < start.len())
    {
        thread::yield_now();
    }
    let is_push = start[4..].starts_with(b"git-receive");
    let mode = *mode.lock().unwrap();
    match mode {
        Mode::Serve => serve(stream, folder),
        Mode::NoPush if !is_push => serve(stream, folder),
        Mode::Stall => {
            // The test holds the connection open.
            let _ = refused.send(stream);
        }
        Mode::Gone | Mode::NoPush => {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = refused.send(stream);
        }
    }
}

fn serve(stream: TcpStream, folder: &Path) {
    let output = OwnedFd::from(stream.try_clone().unwrap());
    let _ = Command::new("git")
        .args(["daemon", "--inetd", "--export-all", "--enable=receive-pack"])
        .arg(format!("--base-path={}", folder.display()))
        .arg(folder)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(output))
        .stderr(Stdio::null())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .status();
}

/// What a program prints, line by line.
struct Lines(Receiver<String>);

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// Everything up to the line that contains `words`.
    fn until(&self, words: &str) -> String {
        let mut said = String::new();
        while !said.contains(words) {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => said = said + &line + "\n",
                Err(error) => panic!("{error}, no {words:?} in: {said}"),
            }
        }
        said
    }

    /// Everything up to the end.
    fn rest(&self) -> String {
        let mut said = String::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => said = said + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => return said,
                Err(RecvTimeoutError::Timeout) => panic!("no end after: {said}"),
            }
        }
    }
}

/// A miner with its standard error.
fn miner(game: &Game, daemon: &Daemon, arguments: &[&str]) -> (Miner, Lines) {
    let all = [
        &["mine", "--refresh", "0.05", "--dir", "clone"],
        arguments,
        &[&daemon.url, "ann"],
    ];
    let mut child: Child = game
        .level1(&all.concat())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = Lines::of(child.stderr.take().unwrap());
    (Miner(child), stderr)
}

fn interrupt(miner: &Miner) {
    let pid = miner.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// Waits until the other side has closed a connection: the git that had it is gone.
fn closed(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    // A reset is an end as well.
    let ended = stream.read_to_end(&mut rest);
    assert!(
        ended.is_ok() || ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset,
        "the connection is still open"
    );
}

fn kept_file(game: &Game) -> PathBuf {
    game.path("clone/.git/level1/find")
}

/// The id in the file that keeps a match.
fn kept_id(game: &Game) -> String {
    std::fs::read_to_string(kept_file(game)).unwrap()[..40].to_owned()
}

#[test]
fn a_server_that_stalls_is_told_once_and_mining_goes_on() {
    let game = Game::new(HOPELESS);
    let daemon = Daemon::start(&game);
    let (mut miner, stderr) = miner(&game, &daemon, &["--timeout", "15"]);
    stderr.until("mining for ann");
    daemon.set(Mode::Stall);
    let mut said = stderr.until("git fetch gave no answer within 15 s; mining on");
    // Another fetch, of whose failure nothing is said.
    let silent = [daemon.refused(), daemon.refused()];
    game.commit_as_server("difficulty.txt", EASY);
    drop(silent);
    daemon.set(Mode::Serve);
    let status = miner.end();
    said.push_str(&stderr.rest());
    assert!(status.success(), "{said}");
    // A machine that is slow enough makes an ordinary fetch look silent as well; but each silence
    // is told once, and so is its end.
    let is_silent = |line: &str| line.contains("no answer");
    let is_back = |line: &str| line.contains("answers again") || line.contains("after its fetch");
    let news: Vec<&str> = said
        .lines()
        .filter(|line| is_silent(line) || is_back(line))
        .collect();
    let twice = |pair: &[&str]| is_silent(pair[0]) && is_silent(pair[1]);
    assert!(!news.windows(2).any(twice), "{said}");
    assert_eq!(game.ledger(), format!("{LEDGER}ann: 1\n"));
}

#[test]
fn an_interrupt_ends_a_miner_whose_git_waits_for_a_server() {
    let game = Game::new(HOPELESS);
    let daemon = Daemon::start(&game);
    let (mut miner, stderr) = miner(&game, &daemon, &["--timeout", "86400"]);
    stderr.until("mining for ann");
    daemon.set(Mode::Stall);
    let stalled = daemon.refused();
    interrupt(&miner);
    assert_eq!(miner.end().code(), Some(130));
    closed(stalled);
}

#[cfg(target_os = "linux")]
#[test]
fn git_ends_with_a_miner_that_is_killed() {
    let game = Game::new(HOPELESS);
    let daemon = Daemon::start(&game);
    let (mut miner, stderr) = miner(&game, &daemon, &["--timeout", "86400"]);
    stderr.until("mining for ann");
    daemon.set(Mode::Stall);
    let stalled = daemon.refused();
    miner.0.kill().unwrap();
    miner.0.wait().unwrap();
    closed(stalled);
}

#[test]
fn a_clone_that_stalls_can_be_interrupted() {
    let game = Game::new(HOPELESS);
    let daemon = Daemon::start(&game);
    daemon.set(Mode::Stall);
    let (mut miner, _stderr) = miner(&game, &daemon, &[]);
    let stalled = daemon.refused();
    interrupt(&miner);
    assert_eq!(miner.end().code(), Some(130));
    closed(stalled);
    assert!(!game.path("clone").exists());
}

#[test]
fn mining_without_end_survives_a_server_that_goes_and_comes_back() {
    let game = Game::new(EASY);
    let daemon = Daemon::start(&game);
    daemon.set(Mode::NoPush);
    let (mut miner, stderr) = miner(&game, &daemon, &["--coins", "0"]);
    stderr.until("cannot push");
    let kept = kept_id(&game);
    daemon.set(Mode::Gone);
    // More attempts than a run for some coins makes.
    for _ in 0..8 {
        daemon.refused();
    }
    daemon.set(Mode::Serve);
    let stdout = Lines::of(miner.0.stdout.take().unwrap());
    let first = stdout.until("coin 1: ");
    assert!(first.contains(&kept), "{first}");
    stdout.until("coin 2: ");
    interrupt(&miner);
    assert!(miner.end().success());
    let history = game.history();
    assert_eq!(history[history.len() - 2], kept);
}

#[test]
fn a_match_is_kept_until_another_run_has_pushed_it() {
    let game = Game::new(EASY);
    let daemon = Daemon::start(&game);
    daemon.set(Mode::NoPush);
    let (mut first, stderr) = miner(&game, &daemon, &["--coins", "0"]);
    stderr.until("cannot push");
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let kept = kept_id(&game);

    daemon.set(Mode::Serve);
    let (mut second, stderr) = miner(&game, &daemon, &[]);
    let said = stderr.rest();
    assert!(second.end().success(), "{said}");
    assert!(said.contains(&kept), "{said}");
    assert_eq!(game.history()[0], kept);
    assert!(!kept_file(&game).exists());
    assert_eq!(game.ledger(), format!("{LEDGER}ann: 1\n"));
}

#[test]
fn a_match_that_was_overtaken_is_forgotten() {
    let game = Game::new(EASY);
    let daemon = Daemon::start(&game);
    daemon.set(Mode::NoPush);
    let (mut first, stderr) = miner(&game, &daemon, &["--coins", "0"]);
    stderr.until("cannot push");
    interrupt(&first);
    let said = stderr.rest();
    // Without end, an interrupt is the way to end.
    assert!(first.end().success(), "{said}");
    assert!(said.contains("is kept in"), "{said}");
    game.commit_as_server("difficulty.txt", "002");

    daemon.set(Mode::Serve);
    let (mut second, stderr) = miner(&game, &daemon, &[]);
    let said = stderr.rest();
    assert!(second.end().success(), "{said}");
    assert!(said.contains("was overtaken"), "{said}");
    assert_eq!(game.history().len(), 3);
    assert!(!kept_file(&game).exists());
}

#[test]
fn what_its_user_has_set_for_pushes_is_none_of_the_miners() {
    let game = Game::new(EASY);
    let hooks = game.path("hooks");
    std::fs::create_dir(&hooks).unwrap();
    for hook in ["pre-push", "reference-transaction", "post-checkout"] {
        let path = hooks.join(hook);
        std::fs::write(&path, format!("#!/bin/sh\necho {hook} >&2\nexit 1\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = format!(
        "[push]\n gpgSign = true\n followTags = true\n pushOption = x\n recurseSubmodules = check\n\
         default = nothing\n negotiate = true\n useForceIfIncludes = true\n\
         [core]\n hooksPath = {}\n[commit]\n gpgSign = true\n[tag]\n gpgSign = true\n\
         [fetch]\n recurseSubmodules = true\n prune = true\n[submodule]\n recurse = true\n\
         [transfer]\n fsckObjects = true\n[remote]\n pushDefault = elsewhere\n\
         [color]\n ui = always\n",
        hooks.display()
    );
    std::fs::write(game.path("settings"), settings).unwrap();
    let daemon = Daemon::start(&game);
    git(&game.path("."), &["clone", "--quiet", &daemon.url, "clone"]);
    let clone = game.path("clone");
    git(&clone, &["tag", "--annotate", "--message", "mine", "mine"]);
    git(&clone, &["config", "remote.origin.mirror", "true"]);
    let output = game
        .level1(&["mine", "--dir", "clone", &daemon.url, "ann"])
        .env("GIT_CONFIG_GLOBAL", game.path("settings"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
    assert_eq!(game.history().len(), 2);
    assert_eq!(game.server_git(&["tag", "--list"]), "");
}

#[test]
fn tokens_do_not_appear_in_errors() {
    let game = Game::new(EASY);
    let daemon = Daemon::start(&game);
    daemon.set(Mode::Gone);
    let address = daemon.url.strip_prefix("git://").unwrap();
    for url in [
        format!("http://ann:s3cret@{address}"),
        format!("http://s3cret@{address}"),
        "nowhere://ann:s3cret@host/level1".to_owned(),
    ] {
        let output = game.level1(&[&url, "ann"]).output().unwrap();
        let text = output_text(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}
