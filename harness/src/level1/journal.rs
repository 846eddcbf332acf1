//! The server's journal: one JSON line for every push that was judged.
//!
//! Each line is appended with a single write, so that whoever reads along sees whole lines. The
//! game reads it to learn who landed a coin and which rules were broken, also across a replacement
//! of the chain, which is noted too.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The journal's name inside the repository.
const FILE: &str = "gitcoin-journal.jsonl";

/// What happened to a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The coin is on the chain.
    Landed {
        /// Whose entry went up.
        name: String,
        /// The entry after that.
        balance: u64,
        /// The commit's id.
        commit: String,
    },
    /// A rule refused it.
    Refused {
        /// Who pushed, where that is known.
        pusher: Option<String>,
        /// The rule's short name.
        rule: String,
        /// What the pusher was told.
        message: String,
    },
    /// The chain was replaced by a fresh one, without coins.
    Replaced {
        /// Its difficulty.
        difficulty: String,
    },
}

/// An event and when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Appends an event to the journal of the repository at `dir`.
pub fn append(dir: &Path, event: Event) -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let time_ms = since.unwrap_or_default().as_millis() as u64;
    let mut text = serde_json::to_string(&Line { time_ms, event })?;
    text.push('\n');
    let path = dir.join(FILE);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Reads a journal as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    offset: u64,
}

impl Reader {
    /// A reader from the journal's beginning.
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            offset: 0,
        }
    }

    /// A reader for what comes from now on.
    pub fn from_now(dir: &Path) -> Self {
        let mut reader = Self::new(dir);
        reader.offset = std::fs::metadata(&reader.path).map_or(0, |data| data.len());
        reader
    }

    /// The lines written since the last call.
    pub fn read(&mut self) -> Result<Vec<Line>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot read the journal"),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        let lines = text[..whole].lines();
        lines
            .map(|line| serde_json::from_str(line).context("the journal is damaged"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_every_whole_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(dir.path());
        assert_eq!(reader.read().unwrap(), []);
        let landed = Event::Landed {
            name: "a".into(),
            balance: 1,
            commit: "00".into(),
        };
        append(dir.path(), landed.clone()).unwrap();
        assert_eq!(reader.read().unwrap()[0].event, landed);
        assert_eq!(reader.read().unwrap(), []);
        let path = dir.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"time_ms\":1,");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(reader.read().unwrap(), []);
        let refused = r#""event":"refused","pusher":null,"rule":"race","message":"m"}"#;
        std::fs::write(&path, format!("{text}{refused}\n")).unwrap();
        assert_eq!(reader.read().unwrap().len(), 1);
        assert_eq!(Reader::from_now(dir.path()).read().unwrap(), []);
    }
}
