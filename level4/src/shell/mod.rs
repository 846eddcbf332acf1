//! A client for people: SQL and commands, line by line, to a node's HTTP interface.
//!
//! [`Shell`] takes lines and writes what comes of them; where the lines come from, and how they are edited,
//! is for the program to say.

mod commands;
mod table;

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::Value as Json;
use tokio::time::timeout;

use crate::database::Completeness;
use crate::fetch::{FetchError, Fetcher, Target, Trust};
pub use commands::HELP;
pub use table::Mode;

/// The longest answer that is shown, bytes.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;
/// Names for completion are waited for so long.
const NAMES_LIMIT: Duration = Duration::from_millis(500);
/// Files may read files this deep.
const DEPTH_LIMIT: usize = 16;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No answer came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The node says no.
    #[error("{status}{}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// How.
        status: StatusCode,
        /// Why.
        text: String,
    },
    /// The answer is not what it should be.
    #[error("the node's answer is no JSON of rqlite's: {0}")]
    Json(#[from] serde_json::Error),
    /// A file cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// As given.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The command is none, or is used otherwise.
    #[error("{0}")]
    Usage(String),
}

/// What to do after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Take the next one.
    Line,
    /// Take the rest of the statement.
    More,
    /// End.
    End,
}

/// How results are asked for and shown.
#[derive(Debug, Clone)]
struct Style {
    mode: Mode,
    /// Of reads, by rqlite's names.
    level: String,
    /// How long statements took is shown,
    timer: bool,
    /// and how many rows they changed.
    changes: bool,
}

/// A conversation with a node.
#[derive(Debug)]
pub struct Shell {
    fetcher: Fetcher,
    target: Target,
    style: Style,
    /// Results go there instead.
    output: Option<File>,
    /// The lines of a statement that has not ended.
    begun: String,
    completeness: Completeness,
    /// Something was not done.
    failed: bool,
    depth: usize,
    /// Of tables and columns, for completion.
    names: Vec<String>,
}

impl Shell {
    /// Will speak to the node at `url`: a URL, `HOST:PORT` or a socket's path. `user` is `name:password`.
    ///
    /// # Errors
    ///
    /// If it is none of them.
    pub fn new(url: &str, user: Option<&str>, trust: Trust) -> Result<Self, ShellError> {
        let target = Target::parse(url)?;
        let target = match user {
            Some(user) => target.with_user(user),
            None => target,
        };
        Ok(Self {
            fetcher: Fetcher::new(trust),
            target,
            style: Style {
                mode: Mode::default(),
                level: "linearizable".to_owned(),
                timer: false,
                changes: true,
            },
            output: None,
            begun: String::new(),
            completeness: Completeness::default(),
            failed: false,
            depth: 0,
            names: Vec::new(),
        })
    }

    /// Where the node is, without a password.
    pub fn place(&self) -> String {
        self.target.to_string()
    }

    /// Whether something was not done so far.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes a line, and writes to `out` what comes of it.
    ///
    /// # Errors
    ///
    /// If `out` takes no more.
    pub async fn line(&mut self, line: &str, out: &mut dyn Write) -> io::Result<Next> {
        if self.begun.trim().is_empty() && line.trim_start().starts_with('.') {
            self.begun.clear();
            let mut next = Next::Line;
            match Box::pin(self.command(line.trim(), out)).await? {
                Ok(after) => next = after,
                Err(error) => self.fail(&error, out)?,
            }
            return Ok(next);
        }
        let mut rest = line;
        while let Some(end) = self.completeness.to_end(rest.as_bytes()) {
            let (last, after) = rest.split_at(end);
            self.begun.push_str(last);
            let sql = std::mem::take(&mut self.begun);
            self.completeness = Completeness::default();
            rest = after;
            self.statement(sql.trim(), out).await?;
        }
        self.begun.push_str(rest);
        self.begun.push('\n');
        if self.completeness.is_blank() {
            self.begun.clear();
            return Ok(Next::Line);
        }
        Ok(Next::More)
    }

    /// There are no more lines: what was begun is executed if the end makes it whole.
    ///
    /// # Errors
    ///
    /// If `out` takes no more.
    pub async fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.begun.trim().is_empty() {
            return Ok(());
        }
        self.line(";", out).await?;
        if !self.begun.trim().is_empty() {
            self.abandon();
            self.fail(
                &ShellError::Usage("incomplete SQL at the end".to_owned()),
                out,
            )?;
        }
        Ok(())
    }

    /// Forgets the lines of a statement that has not ended.
    pub fn abandon(&mut self) {
        self.begun.clear();
        self.depth = 0;
        self.completeness = Completeness::default();
    }

    fn fail(&mut self, error: &ShellError, out: &mut dyn Write) -> io::Result<()> {
        self.failed = true;
        writeln!(out, "Error: {}", table::visible(&error.to_string()))
    }

    /// Executes a statement.
    async fn statement(&mut self, sql: &str, out: &mut dyn Write) -> io::Result<()> {
        if sql.trim_matches([';', ' ', '\t', '\n']).is_empty() {
            return Ok(());
        }
        let path = format!("/db/request?blob_array&timings&level={}", self.style.level);
        let body = Json::from(vec![sql]).to_string();
        match self.ask(Method::POST, &path, body.into()).await {
            Ok(answer) => self.show(&answer, out),
            Err(error) => self.fail(&error, out),
        }
    }

    /// Asks the node for JSON.
    async fn ask(&self, method: Method, path: &str, body: Body) -> Result<Json, ShellError> {
        Ok(serde_json::from_slice(
            &self.text(method, path, body).await?,
        )?)
    }

    /// Asks the node for anything.
    async fn text(&self, method: Method, path: &str, body: Body) -> Result<Vec<u8>, ShellError> {
        let kind = [("content-type", "application/json")];
        let answer = self
            .fetcher
            .send(&self.target, method, path, &kind, body)
            .await?;
        let status = answer.status;
        let text = answer.bytes(ANSWER_LIMIT).await?;
        if status.is_success() {
            return Ok(text.into());
        }
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(ShellError::Refused { status, text })
    }

    /// The rows of a question that the shell has itself.
    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Json>>, ShellError> {
        let path = format!("/db/query?level={}", self.style.level);
        let body = Json::from(vec![sql]).to_string();
        let answer = self.ask(Method::POST, &path, body.into()).await?;
        let result = &answer["results"][0];
        match result["error"].as_str().or(answer["error"].as_str()) {
            Some(reason) => Err(ShellError::Usage(reason.to_owned())),
            None => Ok(rows_of(result)),
        }
    }

    /// Shows the results of statements.
    fn show(&mut self, answer: &Json, out: &mut dyn Write) -> io::Result<()> {
        if let Some(reason) = answer["error"].as_str() {
            return self.fail(&ShellError::Usage(reason.to_owned()), out);
        }
        let results = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
        for result in results {
            if let Some(reason) = result["error"].as_str() {
                self.fail(&ShellError::Usage(reason.to_owned()), out)?;
                continue;
            }
            let mut file = self.output.as_ref();
            let out: &mut dyn Write = match &mut file {
                Some(file) => file,
                None => &mut *out,
            };
            if let Some(columns) = result["columns"].as_array() {
                let columns: Vec<String> = columns.iter().map(table::text).collect();
                table::write(self.style.mode, &columns, &rows_of(result), out)?;
            } else if self.style.changes
                && let Some(count) = result["rows_affected"].as_u64()
            {
                writeln!(
                    out,
                    "{count} {}",
                    if count == 1 {
                        "row changed"
                    } else {
                        "rows changed"
                    }
                )?;
            }
        }
        // The whole request's: of what goes through the log, nothing is measured alone.
        if self.style.timer
            && let Some(time) = answer["time"].as_f64()
        {
            writeln!(out, "Run Time: {time:.6} s")?;
        }
        Ok(())
    }

    /// Asks the node for the names that [`Shell::complete`] knows.
    pub async fn learn_names(&mut self) {
        let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' UNION SELECT c.name FROM sqlite_schema AS s, pragma_table_info(s.name) AS c WHERE s.type = 'table'";
        let sql = Json::from(vec![sql]).to_string();
        let asked = self.ask(Method::POST, "/db/query?level=none", sql.into());
        // Completion does without, if it has to.
        if let Ok(Ok(answer)) = timeout(NAMES_LIMIT, asked).await {
            let rows = rows_of(&answer["results"][0]);
            self.names = rows.iter().flatten().map(table::text).collect();
        }
    }

    /// What a word that begins so may become: where it begins, and by what it may be replaced.
    pub fn complete(&self, line: &str) -> (usize, Vec<String>) {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = line.trim_end_matches(is_word).len();
        let word = &line[start..];
        let all: Vec<&str> = if start == 0 && word.starts_with('.') {
            commands::NAMES.to_vec()
        } else {
            let names = self.names.iter().map(String::as_str);
            names.chain(KEYWORDS.iter().copied()).collect()
        };
        let fits = |name: &&str| {
            name.get(..word.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
        };
        let found = all.into_iter().filter(fits).filter(|_| !word.is_empty());
        (start, found.map(str::to_owned).collect())
    }
}

fn rows_of(result: &Json) -> Vec<Vec<Json>> {
    let rows = result["values"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = rows
        .iter()
        .map(|row| row.as_array().cloned().unwrap_or_default());
    rows.collect()
}

/// Those that are typed most.
const KEYWORDS: &[&str] = &[
    "ALTER",
    "AND",
    "BETWEEN",
    "CASE",
    "CREATE",
    "DELETE",
    "DISTINCT",
    "DROP",
    "EXPLAIN",
    "FROM",
    "GROUP BY",
    "HAVING",
    "INDEX",
    "INSERT INTO",
    "INTEGER",
    "JOIN",
    "LIMIT",
    "NOT NULL",
    "ORDER BY",
    "PRAGMA",
    "PRIMARY KEY",
    "RETURNING",
    "SELECT",
    "TABLE",
    "TEXT",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "VALUES",
    "WHERE",
    "WITH",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        Shell::new("127.0.0.1:1", None, Trust::default()).unwrap()
    }

    #[test]
    fn words_are_completed_by_what_may_stand_there() {
        let mut shell = shell();
        shell.names = vec!["select_me".to_owned(), "t".to_owned()];
        assert_eq!(shell.complete(".sch"), (0, vec![".schema".to_owned()]));
        let (start, found) = shell.complete("SELECT * from sel");
        assert_eq!(
            (start, found),
            (14, vec!["select_me".to_owned(), "SELECT".to_owned()])
        );
        assert_eq!(shell.complete("x ").1, Vec::<String>::new());
    }

    #[tokio::test]
    async fn statements_end_where_they_end_and_what_fails_is_told() {
        let mut shell = shell();
        let mut out = Vec::new();
        assert_eq!(
            shell.line("-- nothing; at all", &mut out).await.unwrap(),
            Next::Line
        );
        assert_eq!(shell.line("SELECT ';", &mut out).await.unwrap(), Next::More);
        assert_eq!(shell.line(".tables", &mut out).await.unwrap(), Next::More);
        assert!(out.is_empty() && !shell.has_failed());
        // Nobody listens there.
        assert_eq!(shell.line("'; /*", &mut out).await.unwrap(), Next::More);
        assert!(shell.has_failed());
        assert_eq!(shell.line("*/", &mut out).await.unwrap(), Next::Line);
        assert_eq!(shell.line(".quit", &mut out).await.unwrap(), Next::End);
        let said = String::from_utf8(out).unwrap();
        assert_eq!(
            said.matches("Error: cannot reach 127.0.0.1:1").count(),
            1,
            "{said}"
        );
        let mut out = Vec::new();
        shell.line("SELECT 'open", &mut out).await.unwrap();
        shell.end(&mut out).await.unwrap();
        assert_eq!(out, b"Error: incomplete SQL at the end\n");
    }
}
