//! What a long-running solution says, kept in its folder: for whoever looks into a failure, and
//! the last lines of it for the report.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::report::Failure;

/// The file's name in the folder of a run.
pub const NAME: &str = "solution.log";

/// How many of the last lines a failure shows: a stack trace fits, and so does the line above the
/// version that Node prints last.
const LINES: usize = 10;

/// How much of a line is shown, in characters.
const LINE_CHARS: usize = 300;

/// How much of a log's end is looked at, in bytes.
const TAIL_BYTES: u64 = 64 * 1024;

/// The last lines of a log; none if it cannot be read.
pub fn last_lines(path: &Path) -> Vec<String> {
    tail(path).map_or_else(|_| Vec::new(), |bytes| lines_of(&bytes))
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last lines of a text that are not blank: cut where they are long, and without anything that
/// would do more to a terminal than print.
pub fn lines_of(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.take(LINES).map(plain).collect();
    lines.reverse();
    lines
}

fn plain(line: &str) -> String {
    let mut shown = String::new();
    let mut characters = line.trim_end().chars();
    for character in characters.by_ref().take(LINE_CHARS) {
        match character {
            '\t' => shown.push_str("    "),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A file that takes a solution's stdout and stderr.
#[derive(Debug)]
pub struct SolutionLog {
    path: PathBuf,
    file: File,
}

impl SolutionLog {
    /// Starts an empty log in a folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Lets a command write to the log, and read nothing.
    pub fn attach(&self, command: &mut Command) -> Result<()> {
        command
            .stdin(Stdio::null())
            .stdout(self.share()?)
            .stderr(self.share()?);
        Ok(())
    }

    /// A handle for one of a command's outputs. Outputs that share it do not overwrite each other.
    pub fn share(&self) -> Result<File> {
        self.file
            .try_clone()
            .context("cannot share the solution's log")
    }

    /// The last lines of it.
    pub fn last_lines(&self) -> Vec<String> {
        last_lines(&self.path)
    }

    /// The failure of a solution that ended by itself, with the last that it said.
    pub fn ended(&self, status: std::process::ExitStatus) -> Failure {
        let message = format!("the solution ended by itself with {status}");
        Failure::new("exit_status", message).said(self.last_lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = SolutionLog::create(folder.path()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "seq 20; echo no such port >&2; echo; exit 3"]);
        log.attach(&mut command).unwrap();
        let status = command.status().unwrap();
        let failure = log.ended(status);
        assert_eq!(failure.kind, "exit_status");
        assert!(failure.message.ends_with("exit status: 3"), "{failure:?}");
        let expected: Vec<String> = (12..=20).map(|n| n.to_string()).collect();
        assert_eq!(
            failure.said,
            [expected, vec!["no such port".into()]].concat()
        );
    }

    #[test]
    fn lines_are_cut_and_cannot_write_to_the_terminal() {
        let long = "x".repeat(1000);
        let text = format!("{long}\n\x1b[31mred\tone\r\n\u{7}\n");
        let lines = lines_of(text.as_bytes());
        assert_eq!(lines[0].chars().count(), LINE_CHARS + 1);
        assert!(lines[0].ends_with("x…"));
        assert_eq!(lines[1..], ["\\u{1b}[31mred    one", "\\u{7}"]);
        assert!(lines_of(b"\n\n").is_empty());
        assert!(last_lines(Path::new("/no/such/log")).is_empty());
    }

    #[test]
    fn only_the_end_of_a_large_log_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "a line of forty characters, again again\n".repeat(100_000) + "the end";
        std::fs::write(file.path(), text).unwrap();
        let lines = last_lines(file.path());
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.last().map(String::as_str), Some("the end"));
    }
}
