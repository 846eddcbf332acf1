//! The `git` command: everything that touches a repository or a network.
//!
//! Calling the command rather than a library means that the user's ssh keys, credential helpers
//! and proxies work, and that a push runs the server's hooks.

use crate::object_id::ObjectId;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use thiserror::Error;

/// Why a call of git failed.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is no `git` to call.
    #[error("cannot run the 'git' command: {0}; is git installed and on the PATH?")]
    Missing(io::Error),
    /// Git ran and said no.
    #[error("git {what} failed: {words}")]
    Failed {
        /// The subcommand.
        what: String,
        /// What git said, on one line.
        words: String,
    },
    /// Git's answer makes no sense.
    #[error("git {what} gave an unexpected answer: {answer}")]
    Unexpected {
        /// The subcommand.
        what: &'static str,
        /// The answer.
        answer: String,
    },
    /// Talking to git failed.
    #[error("lost the connection to git: {0}")]
    Io(#[from] io::Error),
}

/// How the server answered a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// The branch has moved to the commit pushed.
    Accepted,
    /// The branch stayed where it was; the server's words on one line.
    Refused(String),
    /// No answer came: the server could not be reached, or is no repository at the moment.
    Unreachable(String),
}

/// A repository on this machine.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
}

/// Variables that would send our calls to another repository, for instance when a hook runs us.
const REPOSITORY_VARIABLES: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
];

fn git() -> Command {
    let mut command = Command::new("git");
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    // Messages are shown, and a few are read.
    command.env("LC_ALL", "C");
    command
}

/// Clones `url` into `dir`. What git makes of a failed clone it also removes.
pub fn clone(url: &str, dir: &Path) -> Result<Repository, GitError> {
    let mut command = git();
    command
        .args(["clone", "--quiet", "--origin", "origin", "--"])
        .arg(url)
        .arg(dir);
    finish("clone", command.stdin(Stdio::inherit()).output())?;
    Ok(Repository {
        dir: dir.to_owned(),
    })
}

impl Repository {
    /// The repository at `dir`, which must itself hold it: a folder inside another repository
    /// does not count.
    pub fn open(dir: &Path) -> Result<Self, GitError> {
        let repository = Self {
            dir: dir.to_owned(),
        };
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

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = git();
        command
            .arg("-C")
            .arg(&self.dir)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs git and returns what it printed.
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        finish(arguments[0], self.command(arguments).output())
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
            // `git config` says nothing when it matches nothing.
            Err(GitError::Failed { words, .. }) if words.is_empty() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches `branch` of `origin` into `into`, even if the new head does not descend from the
    /// old one (the server replaced its repository). No other reference changes.
    pub fn fetch(&self, branch: &str, into: &str) -> Result<(), GitError> {
        let refspec = format!("+refs/heads/{branch}:{into}");
        self.run(&[
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--refmap=",
            "origin",
            &refspec,
        ])
        .map(drop)
    }

    /// Starts a process that reads objects.
    pub fn reader(&self) -> Result<ObjectReader, GitError> {
        let mut command = self.command(&["cat-file", "--batch"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(GitError::Missing)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) =
            pipes.ok_or_else(|| io::Error::other("git has no standard input or output"))?;
        Ok(ObjectReader {
            child,
            requests: Some(requests),
            answers: BufReader::new(answers),
        })
    }

    /// Writes an object and returns the id that git computes for it.
    pub fn write(&self, kind: &str, content: &[u8]) -> Result<ObjectId, GitError> {
        let mut command = self.command(&["hash-object", "-w", "-t", kind, "--stdin"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::Missing)?;
        // A git that refuses to read says why on its way out, so a broken pipe is no error here.
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(content));
        let output = finish("hash-object", child.wait_with_output())?;
        written.transpose()?;
        parse_id("hash-object", &String::from_utf8_lossy(&output))
    }

    /// Pushes `commit` to `branch` of `origin`, without force.
    pub fn push(&self, commit: ObjectId, branch: &str) -> Result<Push, GitError> {
        let refspec = format!("{commit}:refs/heads/{branch}");
        let output = self
            .command(&["push", "--porcelain", "origin", &refspec])
            .output();
        let output = output.map_err(GitError::Missing)?;
        if output.status.success() {
            return Ok(Push::Accepted);
        }
        // With --porcelain, a line that begins with '!' is the server's answer about a branch.
        let stdout = String::from_utf8_lossy(&output.stdout);
        let refusal = stdout.lines().find_map(|line| line.strip_prefix('!'));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let Some(refusal) = refusal else {
            return Ok(Push::Unreachable(one_line(&stderr)));
        };
        let remote: Vec<&str> = stderr
            .lines()
            .filter_map(|line| line.strip_prefix("remote:"))
            .collect();
        let summary = refusal.rsplit('\t').next().unwrap_or(refusal).trim();
        Ok(Push::Refused(one_line(&format!(
            "{summary}\n{}",
            remote.join("\n")
        ))))
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

    /// Moves HEAD, or the branch it names, from one commit to another with the same tree.
    pub fn move_head(&self, new: ObjectId, old: ObjectId, why: &str) -> Result<(), GitError> {
        let (new, old) = (new.to_string(), old.to_string());
        self.run(&["update-ref", "-m", why, "HEAD", &new, &old])
            .map(drop)
    }

    /// The hash function that names this repository's objects (`sha1`, `sha256`).
    pub fn object_format(&self) -> Result<String, GitError> {
        self.line(&["rev-parse", "--show-object-format"])
    }
}

/// A running `git cat-file --batch`. It matches objects that were fetched after it started.
#[derive(Debug)]
pub struct ObjectReader {
    child: Child,
    /// Closed to end the process.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// Its content.
    pub content: Vec<u8>,
}

impl ObjectReader {
    /// Reads the object that `name` (an id, a reference, `HEAD^{tree}` …) stands for, if there is
    /// one and it is of type `kind`.
    pub fn read(&mut self, name: &str, kind: &str) -> Result<Option<Object>, GitError> {
        if let Some(requests) = &mut self.requests {
            requests.write_all(format!("{name}\n").as_bytes())?;
        }
        let mut header = String::new();
        self.answers.read_line(&mut header)?;
        let fields: Vec<&str> = header.split_whitespace().collect();
        if let [.., "missing" | "ambiguous"] = fields[..] {
            return Ok(None);
        }
        let unexpected = || GitError::Unexpected {
            what: "cat-file",
            answer: header.clone(),
        };
        let [id, found, size] = fields[..] else {
            return Err(unexpected());
        };
        let size: usize = size.parse().map_err(|_| unexpected())?;
        let mut content = vec![0; size + 1];
        self.answers.read_exact(&mut content)?;
        content.pop();
        let id = parse_id("cat-file", id)?;
        Ok((found == kind).then_some(Object { id, content }))
    }
}

impl Drop for ObjectReader {
    fn drop(&mut self) {
        // Without requests the process ends by itself.
        self.requests = None;
        let _ = self.child.wait();
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
fn finish(what: &str, output: io::Result<Output>) -> Result<Vec<u8>, GitError> {
    let output = output.map_err(GitError::Missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = one_line(&String::from_utf8_lossy(&output.stderr));
    Err(GitError::Failed {
        what: what.to_owned(),
        words,
    })
}

/// Joins the lines that say something; hints about how to go on are for people who typed git.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("hint:")).collect();
    lines.join("; ")
}
