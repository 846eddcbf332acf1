//! Calling the `git` command, shielded from the settings of whoever runs the harness.
//!
//! The user's configuration must not reach the server (a global `core.hooksPath` would switch the
//! rules off), and the variables that git sets around hooks must not lead a command astray.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::object::ObjectId;

/// Settings that make every git the same: no configuration but the repository's, no questions,
/// no translations, no replaced objects, and the formats that the contract speaks of.
pub const ENVIRONMENT: [(&str, &str); 7] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_DEFAULT_HASH", "sha1"),
    ("GIT_DEFAULT_REF_FORMAT", "files"),
    ("LC_ALL", "C"),
];

/// Variables by which git finds a repository; they are set where we run inside a hook.
pub const LOCATION: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_PARAMETERS",
];

/// git, for one repository.
#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
    in_hook: bool,
}

impl Git {
    /// git for the bare repository at `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            in_hook: false,
        }
    }

    /// git for the repository whose hook we are: its variables are what lets us see the objects
    /// of the push, which are not in the repository yet (git-receive-pack(1), quarantine).
    pub fn in_hook() -> Self {
        Self {
            dir: PathBuf::from("."),
            in_hook: true,
        }
    }

    /// The repository's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command, without arguments yet, that says nothing to the terminal.
    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        if self.in_hook {
            command.env("GIT_NO_REPLACE_OBJECTS", "1");
        } else {
            for variable in LOCATION {
                command.env_remove(variable);
            }
            command.envs(ENVIRONMENT).arg("--git-dir").arg(&self.dir);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs git and returns what it printed.
    ///
    /// # Errors
    /// git cannot be run, or it failed: then its own words are the error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, b"")
    }

    /// Runs git with something on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let output = self.output(arguments, input)?;
        ensure!(output.status.success(), failed(arguments, &output));
        String::from_utf8(output.stdout).context("git printed something that is not text")
    }

    /// Runs git where failing is one of the answers.
    pub fn output(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut command = self.command();
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run git; is it installed?")?;
        if let Some(mut stdin) = child.stdin.take() {
            // git ends early where it dislikes its arguments; its status says so below.
            let _ = stdin.write_all(input);
        }
        Ok(child.wait_with_output()?)
    }

    /// Opens the repository's objects for reading.
    pub fn objects(&self) -> Result<Objects> {
        let mut child = self
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot run git; is it installed?")?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("git cat-file has no pipes");
        };
        Ok(Objects {
            child,
            requests: Some(requests),
            answers: BufReader::new(answers),
        })
    }
}

/// One line that says which command failed and what git said about it.
pub fn failed(arguments: &[&str], output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let command = arguments.first().unwrap_or(&"");
    let said = said.trim().replace('\n', "; ");
    format!("git {command} failed ({}): {said}", output.status)
}

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// `commit`, `tree`, `blob` or `tag`.
    pub kind: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// The objects of a repository, read through one `git cat-file --batch`.
#[derive(Debug)]
pub struct Objects {
    child: Child,
    /// Closed first when dropping, which is what ends the process.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Objects {
    /// Reads an object by id or by any other name that git understands (`HEAD:README.md`);
    /// `None` if there is no such object.
    pub fn find(&mut self, name: &str) -> Result<Option<Object>> {
        ensure!(!name.contains('\n'), "an object's name has no line break");
        let requests = self.requests.as_mut().context("the objects are closed")?;
        requests.write_all(format!("{name}\n").as_bytes())?;
        requests.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line.trim_end().rsplitn(3, ' ');
        let (Some(size), Some(kind), Some(id)) = (words.next(), words.next(), words.next()) else {
            ensure!(
                line.trim_end().ends_with("missing"),
                "git cat-file ended early"
            );
            return Ok(None);
        };
        let Ok(size) = size.parse::<usize>() else {
            return Ok(None);
        };
        let mut content = vec![0; size + 1];
        self.answers.read_exact(&mut content)?;
        content.pop();
        Ok(Some(Object {
            id: id.parse()?,
            kind: kind.to_owned(),
            content,
        }))
    }

    /// Reads an object that has to exist and be of a kind.
    pub fn read(&mut self, name: &str, kind: &str) -> Result<Object> {
        let object = self
            .find(name)?
            .with_context(|| format!("there is no object {name}"))?;
        ensure!(
            object.kind == kind,
            "{name} is a {}, not a {kind}",
            object.kind
        );
        Ok(object)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}
