//! The shell's own commands, which begin with a point.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value as Json, json};

use super::table::{self, Mode};
use super::{DEPTH_LIMIT, Next, Shell, ShellError};
use crate::fetch::FileBody;

/// What `.help` says.
pub const HELP: &str = "\
.backup FILE            copy the database into a SQLite file
.boot FILE [wal]        replace the database of a cluster of one node by a SQLite file
.changes on|off         show how many rows a statement has changed
.consistency LEVEL      of reads: none, weak, strong, linearizable or auto
.dump FILE [TABLE,…]    copy the database, or these tables, into a file of SQL
.exit, .quit            end
.extensions             names of extensions: none
.expvar                 counters of requests
.help                   this
.indexes                names of indexes
.leader                 who leads
.mode MODE              show rows as column, csv, json or line
.nodes [all]            the members that vote, or all of them
.output [FILE]          write rows into a file; without one, here again
.read FILE              take lines from a file
.ready                  whether the node would answer
.reap                   remove snapshots that are not needed
.remove ID              take a member out of the cluster
.restore FILE [wal]     replace the database by a SQLite file, or run a file of SQL; wal: it is in WAL mode, and
                        was closed well
.schema [TABLE]         how tables were made
.show                   how the shell is set
.snapshot [N]           have the node save its state, and cut its log short
.status                 all that a node tells of itself
.stepdown [ID]          have another node lead
.sysdump FILE           all that is known of the cluster, into a file, for a report
.tables                 names of tables and views
.timer on|off           show how long statements took
";

/// For completion.
pub const NAMES: &[&str] = &[
    ".backup",
    ".boot",
    ".changes",
    ".consistency",
    ".dump",
    ".exit",
    ".extensions",
    ".expvar",
    ".help",
    ".indexes",
    ".leader",
    ".mode",
    ".nodes",
    ".output",
    ".quit",
    ".read",
    ".ready",
    ".reap",
    ".remove",
    ".restore",
    ".schema",
    ".show",
    ".snapshot",
    ".status",
    ".stepdown",
    ".sysdump",
    ".tables",
    ".timer",
];

type Done = io::Result<Result<Next, ShellError>>;

impl Shell {
    /// Executes a command.
    pub(super) async fn command(&mut self, line: &str, out: &mut dyn Write) -> Done {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let result = match (name, words.as_slice()) {
            (".exit" | ".quit", []) => return Ok(Ok(Next::End)),
            (".help", []) => return out.write_all(HELP.as_bytes()).map(|()| Ok(Next::Line)),
            (".read", [path]) => return self.read(path, out).await,
            (".show", []) => return self.show_settings(out).map(|()| Ok(Next::Line)),
            (".mode" | ".consistency" | ".timer" | ".changes" | ".output", _) => {
                self.set(name, &words).map(|()| String::new())
            }
            (".tables", []) => self.names_of("'table', 'view'").await,
            (".indexes", []) => self.names_of("'index'").await,
            (".schema", [] | [_]) => self.schema(words.first().copied()).await,
            (".backup", [path]) => self.save(path, "/db/backup").await,
            (".dump", [path]) => self.save(path, "/db/backup?fmt=sql").await,
            (".dump", [path, tables]) => {
                let tables = percent_encoding::utf8_percent_encode(
                    tables,
                    percent_encoding::NON_ALPHANUMERIC,
                );
                self.save(path, &format!("/db/backup?fmt=sql&tables={tables}"))
                    .await
            }
            (".restore", [path]) => self.send(path, "/db/load").await,
            (".restore", [path, "wal"]) => self.send(path, "/db/load?wal").await,
            (".boot", [path]) => self.send(path, "/boot").await,
            (".boot", [path, "wal"]) => self.send(path, "/boot?wal").await,
            (".nodes", []) => self.get("/nodes?pretty").await,
            (".nodes", ["all"]) => self.get("/nodes?pretty&nonvoters").await,
            (".leader", []) => self.get("/leader?pretty").await,
            (".status", []) => self.get("/status?pretty").await,
            (".expvar", []) => self.get("/debug/vars?pretty").await,
            (".ready", []) => self.get("/readyz").await,
            (".remove", [id]) => {
                let body = json!({ "id": id });
                self.ordered(Method::DELETE, "/remove", Some(body)).await
            }
            (".stepdown", []) => self.ordered(Method::POST, "/leader?wait", None).await,
            (".stepdown", [id]) => {
                let body = json!({ "id": id });
                self.ordered(Method::POST, "/leader?wait", Some(body)).await
            }
            (".snapshot", []) => self.ordered(Method::POST, "/snapshot", None).await,
            (".snapshot", [count]) => {
                let path = format!("/snapshot?trailing_logs={count}");
                self.ordered(Method::POST, &path, None).await
            }
            (".reap", []) => self.ordered(Method::POST, "/reap", None).await,
            (".extensions", []) => self.get("/status?key=extensions.names").await,
            (".sysdump", [path]) => self.dump_all(path).await,
            _ if NAMES.contains(&name) => Err(ShellError::Usage(usage(name))),
            _ => Err(ShellError::Usage(format!(
                "there is no command {name}: .help lists them"
            ))),
        };
        match result {
            Ok(text) => {
                out.write_all(text.as_bytes())?;
                if !text.is_empty() && !text.ends_with('\n') {
                    writeln!(out)?;
                }
                Ok(Ok(Next::Line))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn show_settings(&self, out: &mut dyn Write) -> io::Result<()> {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let style = &self.style;
        writeln!(out, "     changes: {}", on(style.changes))?;
        writeln!(out, " consistency: {}", style.level)?;
        writeln!(out, "        mode: {}", style.mode.name())?;
        writeln!(out, "        node: {}", self.place())?;
        writeln!(out, "       timer: {}", on(style.timer))
    }

    fn set(&mut self, name: &str, words: &[&str]) -> Result<(), ShellError> {
        let switch = match words {
            ["on"] => Some(true),
            ["off"] => Some(false),
            _ => None,
        };
        match (name, words, switch) {
            (".timer", _, Some(is_on)) => self.style.timer = is_on,
            (".changes", _, Some(is_on)) => self.style.changes = is_on,
            (".mode", [mode], _) => {
                let mode = Mode::named(mode);
                self.style.mode = mode.ok_or_else(|| ShellError::Usage(usage(name)))?;
            }
            (
                ".consistency",
                [level @ ("none" | "weak" | "strong" | "linearizable" | "auto")],
                _,
            ) => {
                (*level).clone_into(&mut self.style.level);
            }
            (".output", [], _) => self.output = None,
            (".output", [path], _) => {
                self.output = Some(File::create(path).map_err(|cause| file(path, cause))?);
            }
            _ => return Err(ShellError::Usage(usage(name))),
        }
        Ok(())
    }

    async fn names_of(&self, kinds: &str) -> Result<String, ShellError> {
        let sql = format!(
            "SELECT name FROM sqlite_schema WHERE type IN ({kinds}) AND name NOT LIKE 'sqlite_%' ORDER BY 1"
        );
        self.list(&sql).await
    }

    async fn schema(&self, table: Option<&str>) -> Result<String, ShellError> {
        let only = table.map_or_else(String::new, |table| {
            format!(" AND tbl_name = '{}'", table.replace('\'', "''"))
        });
        let sql = format!(
            "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'{only} ORDER BY rowid"
        );
        self.list(&sql).await
    }

    /// The first column, line by line.
    async fn list(&self, sql: &str) -> Result<String, ShellError> {
        let rows = self.rows(sql).await?;
        let lines = rows.iter().filter_map(|row| row.first());
        Ok(lines.map(|cell| table::text(cell) + "\n").collect())
    }

    async fn get(&self, path: &str) -> Result<String, ShellError> {
        let text = self.text(Method::GET, path, Body::empty()).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Puts what all endpoints for operators say into a file.
    async fn dump_all(&self, name: &str) -> Result<String, ShellError> {
        let mut out = File::create(name).map_err(|cause| file(name, cause))?;
        for path in [
            "/status?pretty",
            "/nodes?nonvoters&pretty",
            "/debug/vars?pretty",
            "/cluster/status?pretty",
            "/readyz",
        ] {
            // One that says no is told as well.
            let said = self.get(path).await;
            let said = said.unwrap_or_else(|error| error.to_string());
            writeln!(out, "GET {path}\n{}\n", said.trim_end())
                .map_err(|cause| file(name, cause))?;
        }
        Ok(format!("all that is known is in {name}\n"))
    }

    /// What an operator asks for, answered without words.
    async fn ordered(
        &self,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Result<String, ShellError> {
        let body = body.map_or_else(Body::empty, |body| body.to_string().into());
        self.text(method, path, body).await?;
        Ok("done\n".to_owned())
    }

    /// Saves what is at `path` of the node in a file, which is whole or not there.
    async fn save(&self, name: &str, path: &str) -> Result<String, ShellError> {
        let answer = self
            .fetcher
            .send(&self.target, Method::GET, path, &[], Body::empty())
            .await?;
        let status = answer.status;
        if !status.is_success() {
            let text = answer.bytes(super::ANSWER_LIMIT).await?;
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(ShellError::Refused { status, text });
        }
        let partial = Partial(format!("{name}.partial"));
        let mut out = File::create(&partial.0).map_err(|cause| file(&partial.0, cause))?;
        let length = answer.save(&mut out).await?;
        let moved = out
            .sync_all()
            .and_then(|()| std::fs::rename(&partial.0, name));
        moved.map_err(|cause| file(name, cause))?;
        Ok(format!("{length} bytes in {name}\n"))
    }

    async fn send(&self, name: &str, path: &str) -> Result<String, ShellError> {
        let failed = |cause| file(name, cause);
        let found = File::open(name).map_err(failed)?;
        let about = found.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(ShellError::Usage(format!("{name} is no regular file")));
        }
        let length = about.len();
        let body = FileBody::part(found, 0, length).map_err(failed)?;
        let answer = self.text(Method::POST, path, Body::new(body)).await?;
        let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
        match answer["results"][0]["error"]
            .as_str()
            .or(answer["error"].as_str())
        {
            Some(reason) => Err(ShellError::Usage(reason.to_owned())),
            None => Ok("done\n".to_owned()),
        }
    }

    /// Takes the lines of a file.
    async fn read(&mut self, path: &str, out: &mut dyn Write) -> Done {
        if self.depth == DEPTH_LIMIT {
            let reason = format!("files read files more than {DEPTH_LIMIT} deep");
            return Ok(Err(ShellError::Usage(reason)));
        }
        let opened = match File::open(path) {
            Ok(opened) => BufReader::new(opened),
            Err(cause) => return Ok(Err(file(path, cause))),
        };
        self.depth += 1;
        let mut result = Ok(Next::Line);
        for line in opened.lines() {
            match line {
                Ok(line) => {
                    if self.line(&line, out).await? == Next::End {
                        result = Ok(Next::End);
                        break;
                    }
                }
                Err(cause) => {
                    result = Err(file(path, cause));
                    break;
                }
            }
        }
        self.end(out).await?;
        self.depth -= 1;
        Ok(result)
    }
}

/// A file that is of no use unless it gets another name.
struct Partial(String);

impl Drop for Partial {
    fn drop(&mut self) {
        // It is not there any more, if all went well.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file(path: &str, cause: io::Error) -> ShellError {
    ShellError::File {
        path: path.to_owned(),
        cause,
    }
}

/// How a command is used, as `.help` says.
fn usage(name: &str) -> String {
    let line = HELP.lines().find(|line| {
        let words = line
            .split_whitespace()
            .map(|word| word.trim_end_matches(','));
        words.take(2).any(|word| word == name)
    });
    let usage = line.map_or(name, |line| line.split("  ").next().unwrap_or(line));
    format!("usage: {usage}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_command() {
        for name in NAMES {
            assert!(usage(name).starts_with("usage: ."), "{name}");
            assert!(HELP.contains(name), "{name}");
        }
        assert_eq!(usage(".mode"), "usage: .mode MODE");
    }
}
