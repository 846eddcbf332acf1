//! The `git` command: everything that touches a repository or a network.
//!
//! Calling the command rather than a library means that the user's ssh keys, credential helpers
//! and proxies work, and that a push runs the server's hooks. What a user has set for pushes of
//! their own (signing, hooks, tags that follow) is none of ours and is switched off.

mod child;
mod error;
mod objects;
mod push;

pub use error::{GitError, without_secrets};
pub use objects::{Object, check_anywhere};
pub use push::Push;

use crate::object_id::ObjectId;
use child::Limits;
use error::one_line;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Variables that would send our calls to another repository, for instance when a hook runs us.
const REPOSITORY_VARIABLES: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
];

/// Settings under which the miner's own calls run: nobody's hooks, no submodules, no upkeep in
/// the middle of a race.
const OURS: [&str; 10] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "submodule.recurse=false",
    "-c",
    "fetch.recurseSubmodules=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
];

/// A call that needs no network: something is wrong where it takes as long as this.
const LOCAL_LIMITS: Limits = Limits {
    time: Duration::from_secs(120),
    is_idle_time: false,
    stop: Vec::new(),
    grace: Duration::ZERO,
    leads_group: false,
};

/// How long a clone may go without any progress. Its user may have to type a password.
const CLONE_IDLE: Duration = Duration::from_secs(60);

/// How long a fetch or a push may take, unless somebody says otherwise.
pub const NETWORK: Duration = Duration::from_secs(30);

/// How long a push goes on when the program is to end.
const PUSH_GRACE: Duration = Duration::from_secs(2);

/// A repository on this machine.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
    /// On calls of the network.
    limits: Limits,
}

/// A program that runs git and ends it when we end: see [`end_git_with_us`].
static LAUNCHER: OnceLock<(PathBuf, &str)> = OnceLock::new();

/// Has calls of the network go through `program COMMAND`, which is to run git with the arguments
/// that follow, and to end it when its parent ends, however that happens. The program's own
/// `level1` does so on Linux; without one, a git that waits for a silent server outlives a miner
/// that is killed.
pub fn end_git_with_us(program: PathBuf, command: &'static str) {
    // The first one stays.
    let _ = LAUNCHER.set((program, command));
}

/// Git for a call of the network.
fn network_git() -> Command {
    LAUNCHER.get().map_or_else(git, |(program, command)| {
        let mut launched = prepared(Command::new(program));
        launched.arg(command);
        launched
    })
}

fn git() -> Command {
    prepared(Command::new("git"))
}

fn prepared(mut command: Command) -> Command {
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    // Messages are shown, and a few are read.
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Clones `url` into `dir`; `stop`, once set, ends it. What git makes of a failed clone it also
/// removes.
pub fn clone(url: &str, dir: &Path, stop: &Arc<AtomicBool>) -> Result<Repository, GitError> {
    let mut command = network_git();
    command
        .args(OURS)
        .args(["clone", "--progress", "--origin", "origin", "--"])
        .arg(url)
        .arg(dir)
        .stdin(Stdio::inherit());
    let limits = Limits {
        time: CLONE_IDLE,
        is_idle_time: true,
        stop: vec![Arc::clone(stop)],
        ..LOCAL_LIMITS
    };
    let mut ended = child::run("clone", &mut command, None, &limits)?;
    let words = String::from_utf8_lossy(&ended.stderr);
    let said: Vec<&str> = words.lines().filter(|line| !is_progress(line)).collect();
    ended.stderr = said.join("\n").into_bytes();
    finish("clone", ended)?;
    Ok(Repository::at(dir))
}

/// Whether git tells how far a clone is, rather than what is wrong with it.
fn is_progress(line: &str) -> bool {
    let line = line.strip_prefix("remote: ").unwrap_or(line);
    line.contains('\r')
        || line.ends_with("done.")
        || line.starts_with("Cloning into ")
        || line.starts_with("Total ")
        || line.contains("% (")
}

impl Repository {
    fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            limits: Limits {
                time: NETWORK,
                ..LOCAL_LIMITS
            },
        }
    }

    /// The repository at `dir`, which must itself hold it: a folder inside another repository
    /// does not count.
    pub fn open(dir: &Path) -> Result<Self, GitError> {
        let repository = Self::at(dir);
        let prefix = repository.line(&["rev-parse", "--show-prefix"])?;
        if prefix.is_empty() {
            return Ok(repository);
        }
        let words = format!("{} is a folder inside another repository", dir.display());
        Err(GitError::Failed {
            what: "rev-parse".to_owned(),
            words,
        })
    }

    /// The repository that `dir` is in.
    pub fn discover(dir: &Path) -> Result<Self, GitError> {
        let repository = Self::at(dir);
        repository.line(&["rev-parse", "--git-dir"])?;
        Ok(repository)
    }

    /// The same with other limits on calls of the network: how long one may take, and what, once
    /// any of it is set, ends it. Nobody can be asked for a password then.
    #[must_use]
    pub fn with_limits(&self, network: Duration, stop: &[&Arc<AtomicBool>]) -> Self {
        Self {
            dir: self.dir.clone(),
            limits: Limits {
                time: network,
                stop: stop.iter().map(|&stop| Arc::clone(stop)).collect(),
                leads_group: true,
                ..LOCAL_LIMITS
            },
        }
    }

    /// The same with calls of the network that end once `stop` is set.
    #[must_use]
    pub fn with_stop(&self, stop: &Arc<AtomicBool>) -> Self {
        Self {
            dir: self.dir.clone(),
            limits: Limits {
                stop: vec![Arc::clone(stop)],
                ..self.limits.clone()
            },
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn prepare(&self, mut git: Command, arguments: &[&str]) -> Command {
        git.arg("-C").arg(&self.dir).args(OURS).args(arguments);
        git
    }

    /// Runs git, which needs no network, and returns what it printed.
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run_with(arguments, None)
    }

    /// Runs git, which needs no network, with this input.
    fn run_with(&self, arguments: &[&str], input: Option<Vec<u8>>) -> Result<Vec<u8>, GitError> {
        let what = arguments[0];
        let mut command = self.prepare(git(), arguments);
        // An object that is not here is not to be fetched behind our back.
        command.env("GIT_NO_LAZY_FETCH", "1");
        finish(what, child::run(what, &mut command, input, &LOCAL_LIMITS)?)
    }

    /// Runs git and returns the one line it printed.
    fn line(&self, arguments: &[&str]) -> Result<String, GitError> {
        let output = self.run(arguments)?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    /// The URL of the remote `origin`, or `None` if there is no such remote.
    pub fn origin(&self) -> Result<Option<String>, GitError> {
        match self.line(&["config", "--get", "remote.origin.url"]) {
            Ok(url) => Ok(Some(url)),
            // `git config` says nothing when it finds nothing.
            Err(GitError::Failed { words, .. }) if words.is_empty() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches `branch` of `origin` into `into`, even if the new head does not descend from the
    /// old one (the server replaced its repository). No other reference changes.
    pub fn fetch(&self, branch: &str, into: &str) -> Result<(), GitError> {
        let refspec = format!("+refs/heads/{branch}:{into}");
        let arguments = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-prune",
            "--no-prune-tags",
            "--no-recurse-submodules",
            "--no-write-commit-graph",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--refmap=",
            "origin",
            &refspec,
        ];
        let mut command = self.prepare(network_git(), &arguments);
        let ended = child::run("fetch", &mut command, None, &self.limits)?;
        finish("fetch", ended).map(drop)
    }

    /// Moves `branch`, the index and the files to `commit`, unless that would overwrite changes
    /// that nobody has committed.
    pub fn check_out(&self, branch: &str, commit: ObjectId) -> Result<(), GitError> {
        self.run(&["checkout", "--quiet", "-B", branch, &commit.to_string()])
            .map(drop)
    }

    /// The commit that HEAD names.
    pub fn head(&self) -> Result<ObjectId, GitError> {
        let id = self.line(&["rev-parse", "--verify", "HEAD^{commit}"])?;
        parse_id("rev-parse", &id)
    }

    /// Moves HEAD, or the branch it names, from one commit to another with the same tree. This
    /// is its user's own reference, so that their hooks run.
    pub fn move_head(&self, new: ObjectId, old: ObjectId, why: &str) -> Result<(), GitError> {
        let mut command = git();
        command.arg("-C").arg(&self.dir);
        command.args(["update-ref", "-m", why, "HEAD"]);
        command.args([new.to_string(), old.to_string()]);
        let ended = child::run("update-ref", &mut command, None, &LOCAL_LIMITS)?;
        finish("update-ref", ended).map(drop)
    }

    /// A lock that some other git holds on what [`Self::move_head`] moves, or on the index, which
    /// means that it has not done with HEAD yet.
    pub fn held_lock(&self) -> Result<Option<PathBuf>, GitError> {
        let mut names = vec!["HEAD.lock".to_owned(), "index.lock".to_owned()];
        // Detached, HEAD names no branch.
        if let Ok(branch) = self.line(&["symbolic-ref", "--quiet", "HEAD"]) {
            names.push(format!("{branch}.lock"));
        }
        for name in names {
            let path = self.git_path(&name)?;
            if path.exists() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Whether `commit` is one at which a shallow clone was cut off.
    pub fn is_cut_off(&self, commit: ObjectId) -> Result<bool, GitError> {
        let shallow = match std::fs::read_to_string(self.git_path("shallow")?) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        Ok(shallow.lines().any(|line| line == commit.to_string()))
    }

    /// Has git verify a commit's signature, by its user's settings.
    ///
    /// # Errors
    /// It is not valid, or nobody here can tell.
    pub fn verify(&self, commit: ObjectId) -> Result<(), GitError> {
        self.run(&["verify-commit", &commit.to_string()]).map(drop)
    }

    /// The hash function that names this repository's objects (`sha1`, `sha256`).
    pub fn object_format(&self) -> Result<String, GitError> {
        self.line(&["rev-parse", "--show-object-format"])
    }

    /// Where git keeps `name` of this repository, or working tree.
    pub fn git_path(&self, name: &str) -> Result<PathBuf, GitError> {
        let path = self.line(&["rev-parse", "--git-path", name])?;
        Ok(self.dir.join(path))
    }
}

fn parse_id(what: &'static str, answer: &str) -> Result<ObjectId, GitError> {
    let unexpected = |_| GitError::Unexpected {
        what,
        answer: one_line(answer),
    };
    ObjectId::from_hex(answer.trim()).map_err(unexpected)
}

/// Turns a finished call into its output or an error.
fn finish(what: &str, ended: child::Ended) -> Result<Vec<u8>, GitError> {
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let words = one_line(&String::from_utf8_lossy(&ended.stderr));
    Err(GitError::Failed {
        what: what.to_owned(),
        words,
    })
}
