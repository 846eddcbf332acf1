//! The history of results: every case that was judged on this machine, in a database of the user's.
//!
//! [`keep`] is the one place that writes it, when a run is concluded; [`Logbook`] reads it for the
//! dashboard. It lies in the user's data folder and is bounded: the oldest results go. A history
//! that cannot be kept never makes a run fail. `docs/history.md` describes the file, `schema` makes
//! it.

mod recorded;
mod schema;

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use directories::ProjectDirs;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params,
};
use serde_json::Value;
use thiserror::Error;

use crate::report::Report;

/// How many results are kept.
const RESULTS_MAX: u32 = 5_000;

/// Of how many of them there are recordings, which are larger than everything else.
const RECORDINGS_MAX: u32 = 200;

/// The most bytes of a result as JSON; of a larger one the figures are left out.
const RESULT_MAX: usize = 256 << 10;

/// How long another harness that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the history cannot be read or written.
#[derive(Debug, Error)]
pub enum LogbookError {
    /// The system names no home of the user's.
    #[error("there is no home folder")]
    NoHome,
    /// Its folder cannot be made.
    #[error("cannot make {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A newer harness has written it in a form that this one does not know.
    #[error("{} was written by a newer harness (schema {schema})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number of its form.
        schema: u32,
    },
    /// SQLite could not do it.
    #[error("{}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// A result cannot be written as JSON.
    #[error(transparent)]
    Result(#[from] anyhow::Error),
}

/// The history, opened.
#[derive(Debug)]
pub struct Logbook {
    connection: Connection,
    path: PathBuf,
}

/// A result in short, as lists have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When it was judged, in Unix milliseconds.
    pub at_ms: i64,
    /// 0 to 4; none for a program that plays no level.
    pub level: Option<u8>,
    /// The stage of the ladder, if one was judged.
    pub stage: Option<u8>,
    /// The case's name.
    pub case: String,
    /// The program.
    pub solution: String,
    /// `passed`, `failed` or `undecided`.
    pub verdict: String,
    /// In its unit.
    pub score: Option<f64>,
    /// `s`, `points` or `coins`.
    pub unit: Option<String>,
}

/// A result whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// In short.
    pub entry: Entry,
    /// As `--json` has it (`docs/results.md`).
    pub result: Value,
    /// Of the run it belongs to: `harness`, `commit`, `machine`, `command`, `started`.
    pub run: Value,
    /// What the report draws, if it was recorded and is still kept.
    pub recording: Option<Value>,
}

/// Which results are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this level only.
    pub level: Option<u8>,
    /// Of this program only.
    pub solution: Option<String>,
    /// At most so many, the latest first.
    pub most: u32,
}

/// Where the history is, in the data folder that the system has for the user.
pub fn path() -> Option<PathBuf> {
    let folders = ProjectDirs::from("", "", "ctf3")?;
    Some(folders.data_dir().join("history.sqlite"))
}

/// Adds all results of a report; their numbers.
pub fn keep(report: &Report) -> Result<Vec<i64>, LogbookError> {
    if report.results().next().is_none() {
        return Ok(Vec::new());
    }
    let path = path().ok_or(LogbookError::NoHome)?;
    Logbook::open(&path)?.add(report)
}

impl Logbook {
    /// Opens the history in a file, which is made if it is not there.
    pub fn open(path: &Path) -> Result<Self, LogbookError> {
        if let Some(folder) = path.parent() {
            // What somebody judges is nobody else's business.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| LogbookError::Folder {
                path: folder.to_owned(),
                error,
            })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| trouble(path, error))?;
        let mut logbook = Self {
            connection,
            path: path.to_owned(),
        };
        logbook.prepare()?;
        Ok(logbook)
    }

    fn prepare(&mut self) -> Result<(), LogbookError> {
        let path = &self.path;
        let connection = &mut self.connection;
        connection
            .busy_timeout(PATIENCE)
            .and_then(|()| schema::bring_up_to_date(connection))
            .map_err(|error| trouble(path, error))?
            .map_err(|schema| LogbookError::Newer {
                path: path.clone(),
                schema,
            })
    }

    /// Adds all results of a report, and lets the oldest go.
    pub fn add(&mut self, report: &Report) -> Result<Vec<i64>, LogbookError> {
        let kept = report.kept()?;
        let run = report.run()?.to_string();
        let path = &self.path;
        let add = |connection: &mut Connection| -> rusqlite::Result<Vec<i64>> {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut ids = Vec::new();
            for (result, recording) in &kept {
                transaction.execute(
                    "INSERT INTO result (at_ms, level, stage, name, solution, verdict, score, \
                     unit, result, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    params![
                        now_ms(),
                        result["level"].as_i64(),
                        result["stage"].as_i64(),
                        result["case"].as_str().unwrap_or_default(),
                        result["solution"][0].as_str().unwrap_or_default(),
                        result["verdict"].as_str().unwrap_or_default(),
                        result["score"].as_f64(),
                        result["unit"].as_str(),
                        bounded(result),
                        run,
                    ],
                )?;
                let id = transaction.last_insert_rowid();
                if let Some(packed) = recording.and_then(recorded::pack) {
                    transaction.execute(
                        "INSERT INTO recording (result, packed) VALUES (?1, ?2)",
                        params![id, packed],
                    )?;
                }
                ids.push(id);
            }
            schema::prune(&transaction, RESULTS_MAX, RECORDINGS_MAX)?;
            transaction.commit()?;
            Ok(ids)
        };
        add(&mut self.connection).map_err(|error| trouble(path, error))
    }

    /// Results, the latest first.
    pub fn list(&self, selection: &Selection) -> Result<Vec<Entry>, LogbookError> {
        let list = || -> rusqlite::Result<Vec<Entry>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT id, at_ms, level, stage, name, solution, verdict, score, unit \
                 FROM result WHERE (?1 IS NULL OR level = ?1) AND (?2 IS NULL OR solution = ?2) \
                 ORDER BY id DESC LIMIT ?3",
            )?;
            let chosen = params![selection.level, selection.solution, selection.most];
            statement.query_map(chosen, entry)?.collect()
        };
        list().map_err(|error| trouble(&self.path, error))
    }

    /// A result with all that is kept of it; none if there is no such result (any more).
    pub fn get(&self, id: i64) -> Result<Option<Kept>, LogbookError> {
        let get = || {
            self.connection
                .query_row(
                    "SELECT id, at_ms, level, stage, name, solution, verdict, score, unit, \
                     result.result, run, packed \
                     FROM result LEFT JOIN recording ON recording.result = id WHERE id = ?1",
                    [id],
                    |row| {
                        let json = |text: String| serde_json::from_str(&text).unwrap_or_default();
                        let packed: Option<Vec<u8>> = row.get(11)?;
                        Ok(Kept {
                            entry: entry(row)?,
                            result: json(row.get(9)?),
                            run: json(row.get(10)?),
                            recording: packed.and_then(|packed| recorded::unpack(&packed)),
                        })
                    },
                )
                .optional()
        };
        get().map_err(|error| trouble(&self.path, error))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        level: row.get(2)?,
        stage: row.get(3)?,
        case: row.get(4)?,
        solution: row.get(5)?,
        verdict: row.get(6)?,
        score: row.get(7)?,
        unit: row.get(8)?,
    })
}

/// What SQLite says, in words that tell what to do.
fn trouble(path: &Path, error: rusqlite::Error) -> LogbookError {
    debug_assert_ne!(error.sqlite_error_code(), Some(ErrorCode::ApiMisuse));
    LogbookError::Database {
        path: path.to_owned(),
        error,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as i64
}

/// A result as JSON of a bounded size.
fn bounded(result: &Value) -> String {
    let text = result.to_string();
    if text.len() <= RESULT_MAX {
        return text;
    }
    let mut result = result.clone();
    for field in ["figures", "settings", "failure", "solution"] {
        if let Some(value) = result.get_mut(field) {
            value.take();
        }
    }
    result.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recording::{Panel, Recording},
        report::{CaseResult, Failure},
    };

    fn report(cases: &[&str]) -> Report {
        let mut report = Report::new(vec!["harness".into(), "level2".into()]);
        for case in cases {
            let result = CaseResult::of_program(*case, vec!["/home/ada/mine".into()]);
            report.add(result.scored(12.5, None).figure("x_ms", 1));
        }
        report
    }

    fn opened(folder: &tempfile::TempDir) -> Logbook {
        Logbook::open(&folder.path().join("a/b/history.sqlite")).unwrap()
    }

    fn all() -> Selection {
        Selection {
            most: 100,
            ..Selection::default()
        }
    }

    #[test]
    fn results_come_back_whole_and_the_latest_first() {
        let folder = tempfile::tempdir().unwrap();
        let ids = opened(&folder).add(&report(&["one", "two"])).unwrap();
        let mut recorded = report(&[]);
        let recording = Recording {
            panels: vec![Panel::default()],
            ..Recording::default()
        };
        let failed = CaseResult::of_program("three", Vec::new());
        let failed = failed.fail(Failure::new("wrong_output", "line 3"));
        recorded.add_recorded(failed, recording);
        // Another harness opens the same file.
        let mut logbook = opened(&folder);
        let last = logbook.add(&recorded).unwrap()[0];
        let list = logbook.list(&all()).unwrap();
        let cases: Vec<&str> = list.iter().map(|entry| entry.case.as_str()).collect();
        assert_eq!(cases, ["three", "two", "one"]);
        assert_eq!(list[1].score, Some(12.5));
        let kept = logbook.get(last).unwrap().unwrap();
        assert_eq!(kept.entry.verdict, "failed");
        assert_eq!(kept.result["failure"]["message"], "line 3");
        assert_eq!(kept.recording.unwrap()["panels"][0]["title"], "");
        let kept = logbook.get(ids[0]).unwrap().unwrap();
        assert_eq!(kept.result["figures"]["x_ms"], 1);
        assert_eq!(kept.run["command"][1], "level2");
        assert_eq!(kept.recording, None);
        assert_eq!(logbook.get(last + 1).unwrap(), None);
        let of_level = Selection {
            level: Some(2),
            ..all()
        };
        assert_eq!(logbook.list(&of_level).unwrap(), []);
    }

    #[test]
    fn the_oldest_results_go_and_their_recordings_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut logbook = opened(&folder);
        for case in ["a", "b", "c", "d"] {
            let mut report = report(&[]);
            let result = CaseResult::of_program(case, Vec::new());
            report.add_recorded(result, Recording::default());
            logbook.add(&report).unwrap();
        }
        schema::prune(&logbook.connection, 3, 1).unwrap();
        let list = logbook.list(&all()).unwrap();
        let cases: Vec<&str> = list.iter().map(|entry| entry.case.as_str()).collect();
        assert_eq!(cases, ["d", "c", "b"]);
        let recorded = |id| logbook.get(id).unwrap().unwrap().recording.is_some();
        assert!(recorded(list[0].id) && !recorded(list[1].id));
    }

    #[test]
    fn a_file_of_a_newer_harness_and_one_that_is_none_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(opened(&folder));
        let path = folder.path().join("a/b/history.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = Logbook::open(&path).unwrap_err().to_string();
        assert!(error.contains("newer harness (schema 99)"), "{error}");
        std::fs::write(&path, "my notes, which are no database at all\n").unwrap();
        let error = Logbook::open(&path).unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("my notes")
        );
        let error = Logbook::open(&path.join("x/y")).unwrap_err().to_string();
        assert!(error.starts_with("cannot make "), "{error}");
    }

    #[test]
    fn a_result_is_bounded() {
        let long = serde_json::json!({"case": "c", "figures": {"x": "y".repeat(RESULT_MAX)}});
        assert_eq!(bounded(&long), r#"{"case":"c","figures":null}"#);
    }
}
