//! Calling the `git` command, shielded from the settings of whoever runs the harness.
//!
//! Neither the user's configuration nor the environment may reach the server: a global
//! `core.hooksPath`, `GIT_CONFIG_COUNT` or `GIT_DIR` would change what git does. So git gets an
//! environment of its own, and of ours only what a program needs to run at all.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::object::ObjectId;

/// Settings that make every git the same: no configuration but the repository's, no questions,
/// no translations, no replaced objects, and the formats that the contract speaks of.
const SETTINGS: [(&str, &str); 7] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_DEFAULT_HASH", "sha1"),
    ("GIT_DEFAULT_REF_FORMAT", "files"),
    ("LC_ALL", "C"),
];

/// What git may have of our environment: where programs and libraries are, and where temporary
/// files go.
const ALLOWED: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "GIT_EXEC_PATH", "TMPDIR"];

/// The largest object that is read, in bytes: far above any ledger, far below what hurts.
const OBJECT_MAX: usize = 64 << 20;

/// The whole environment of every git that the server runs.
pub fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let allowed = ALLOWED
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let ours = SETTINGS
        .into_iter()
        .map(|(name, value)| (name, value.into()));
    allowed.chain(ours)
}

/// git, for one repository.
#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
}

impl Git {
    /// git for the bare repository at `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The repository's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command, without arguments yet, that says nothing to the terminal.
    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        // Ctrl-C on our terminal is not for git: what it began, it ends.
        command
            .process_group(0)
            .env_clear()
            .envs(environment())
            .arg("--git-dir")
            .arg(&self.dir);
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
            .args(["cat-file", "--batch-command"])
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
            pushed: HashMap::new(),
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

impl Object {
    /// An object with the id that its content gives it.
    pub fn new(kind: &str, content: Vec<u8>) -> Self {
        Self {
            id: ObjectId::of(kind, &content),
            kind: kind.to_owned(),
            content,
        }
    }
}

/// The objects of a repository, read through one `git cat-file --batch-command`, and those of a
/// push that are not in it yet.
#[derive(Debug)]
pub struct Objects {
    child: Child,
    /// Closed first when dropping, which is what ends the process.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pushed: HashMap<ObjectId, Object>,
}

impl Objects {
    /// Adds objects that are found by their ids as if the repository had them.
    pub fn add(&mut self, objects: &[Object]) {
        let objects = objects.iter().map(|object| (object.id, object.clone()));
        self.pushed.extend(objects);
    }

    /// Whether an object is one of those that were added.
    pub fn pushed(&self, id: ObjectId) -> Option<&Object> {
        self.pushed.get(&id)
    }

    /// Reads an object by id or by any other name that git understands (`HEAD:README.md`);
    /// `None` if there is no such object.
    pub fn find(&mut self, name: &str) -> Result<Option<Object>> {
        self.find_up_to(name, OBJECT_MAX)
    }

    /// Reads an object unless it is larger than this many bytes; its size is asked for first.
    pub fn find_up_to(&mut self, name: &str, max: usize) -> Result<Option<Object>> {
        ensure!(!name.contains('\n'), "an object's name has no line break");
        if let Ok(id) = name.parse()
            && let Some(object) = self.pushed.get(&id)
        {
            return Ok(Some(object.clone()));
        }
        let Some((id, _, size)) = self.ask("info", name)? else {
            return Ok(None);
        };
        ensure!(
            size <= max,
            "{name} has {size} bytes, where at most {max} are read"
        );
        let (id, kind, size) = self
            .ask("contents", &id)?
            .with_context(|| format!("{name} is gone"))?;
        let mut content = vec![0; size + 1];
        self.answers.read_exact(&mut content)?;
        content.pop();
        Ok(Some(Object {
            id: id.parse()?,
            kind,
            content,
        }))
    }

    /// Asks about an object: its id, kind and size.
    fn ask(&mut self, what: &str, name: &str) -> Result<Option<(String, String, usize)>> {
        let requests = self.requests.as_mut().context("the objects are closed")?;
        requests.write_all(format!("{what} {name}\n").as_bytes())?;
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
        let size = size.parse().ok();
        Ok(size.map(|size| (id.to_owned(), kind.to_owned(), size)))
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
