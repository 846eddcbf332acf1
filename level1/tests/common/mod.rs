//! A gitcoin server in a throw-away folder: a bare repository without rules, unless a test gives
//! it a hook.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The ledger every game starts with.
pub const LEDGER: &str = "Private Gitcoin ledger\n==============\ngdb: 25\nandy: 15\n";

/// A folder with `server.git`, a bare repository.
pub struct Game {
    folder: TempDir,
}

impl Game {
    /// A chain of one commit with this content of `difficulty.txt`.
    pub fn new(difficulty: &str) -> Self {
        Self::with_files(&[
            ("LEDGER.txt", LEDGER),
            ("difficulty.txt", difficulty),
            ("README.md", "A gitcoin chain.\n"),
            ("notes/more.txt", "In a folder.\n"),
        ])
    }

    /// A repository of one commit with these files.
    pub fn with_files(files: &[(&str, &str)]) -> Self {
        let game = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let seed = game.path("seed");
        fs::create_dir(&seed).unwrap();
        git(&seed, &["init", "--quiet", "--initial-branch", "master"]);
        for (name, content) in files {
            let path = seed.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        git(&seed, &["add", "."]);
        git(
            &seed,
            &["commit", "--quiet", "--message", "Begin the chain"],
        );
        git(
            game.folder.path(),
            &["clone", "--quiet", "--bare", "seed", "server.git"],
        );
        game
    }

    /// A path in the game's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program under test, in the game's folder.
    pub fn level1(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_level1"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        plain_git(&mut command);
        command
    }

    /// Runs git in the server's repository.
    pub fn server_git(&self, arguments: &[&str]) -> String {
        git(&self.path("server.git"), arguments)
    }

    /// The ids on `master`, the newest first.
    pub fn history(&self) -> Vec<String> {
        self.server_git(&["rev-list", "--first-parent", "master"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The ledger at the head.
    pub fn ledger(&self) -> String {
        self.server_git(&["show", "master:LEDGER.txt"]) + "\n"
    }

    /// What the head's commit changed, as `git diff --name-status` prints it.
    pub fn changed_files(&self) -> String {
        self.server_git(&["diff", "--name-status", "master^", "master"]) + "\n"
    }

    /// Gives the server a `pre-receive` hook.
    pub fn pre_receive(&self, script: &str) {
        let path = self.path("server.git/hooks/pre-receive");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Adds a commit that changes a file, as somebody with access to the server would.
    pub fn commit_as_server(&self, name: &str, content: &str) {
        let seed = self.path("seed");
        fs::write(seed.join(name), content).unwrap();
        git(
            &seed,
            &["commit", "--quiet", "--all", "--message", "Change"],
        );
        git(&seed, &["push", "--quiet", "../server.git", "master"]);
    }
}

/// A running miner that does not outlive its test.
pub struct Miner(pub Child);

/// How long a miner may take for what takes a good one a second: a bound on a failing test.
const PATIENCE: Duration = Duration::from_secs(120);

impl Miner {
    /// Waits for the miner's end.
    pub fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the miner does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs git and returns what it printed, without the last newline.
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(arguments);
    plain_git(&mut command);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        output_text(&output)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end_matches('\n')
        .to_owned()
}

/// Shields a command, and the git it calls, from the settings of whoever runs the tests.
fn plain_git(command: &mut Command) {
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Tester")
        .env("GIT_AUTHOR_EMAIL", "tester@example.com")
        .env("GIT_COMMITTER_NAME", "Tester")
        .env("GIT_COMMITTER_EMAIL", "tester@example.com");
}

/// Both outputs of a program, for a failing test's message.
pub fn output_text(output: &Output) -> String {
    format!(
        "{}{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
