//! `GET /db/backup`, `POST /db/load` and `POST /boot`: the database as a SQLite file, out and in.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::super::params::{Parameters, flag, key};
use super::super::{Api, ApiError, NOT_READ, answer, read_answer};
use super::backup::{Format, TIME_LIMIT, body, made, permit};
use super::params::{Level, Options};
use super::results::Endpoint;
use crate::database::is_in_wal_mode;
use crate::message::Command;
use crate::statement::{Outcome, Statement, Statements};

/// How a SQLite file begins (file format, section 1.3.1).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What a file has to hear that may not be whole.
const WAL_MODE: &str = "the file is in WAL mode: its last changes may be in a file -wal beside it. Load it \
    after PRAGMA journal_mode = DELETE, or with ?wal if the database was closed well";

/// A SQLite file or SQL, consistent at one point of the log.
pub async fn backup(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let options = Options::of(&parameters)?;
    api.counters.backups.fetch_add(1, Relaxed);
    let permit = permit(&api.backups)?;
    let format = format(&parameters)?;
    let compress = flag(&parameters, "compress");
    // A linearizable read first, so that the file holds everything acknowledged before.
    if options.level == Level::Linearizable && !flag(&parameters, "noleader") {
        let probe = Statements::query(vec![Statement::plain("SELECT 1")]);
        let probe = api.node.read(probe, options.budget, options.db_timeout);
        read_answer(probe, options.timeout).await?;
    }
    let view = answer(Some(api.node.view()), options.timeout, NOT_READ).await?;
    let kind = match format {
        Format::Sql(_) if !compress => "application/sql",
        _ => "application/octet-stream",
    };
    let body = if format == (Format::File { vacuumed: false }) && !compress {
        body(view, permit, TIME_LIMIT)
    } else {
        made(view, format, compress, permit, TIME_LIMIT).await?
    };
    Ok(([(header::CONTENT_TYPE, kind)], body))
}

/// What is to be sent.
fn format(parameters: &Parameters) -> Result<Format, ApiError> {
    let name = parameters.get("fmt").map_or("binary", String::as_str);
    let vacuumed = flag(parameters, "vacuum");
    let tables = parameters.get("tables").map_or("", String::as_str);
    let tables: Vec<String> = tables
        .split(',')
        .map(|table| table.trim().to_owned())
        .filter(|table| !table.is_empty())
        .collect();
    match name {
        "sql" if vacuumed => Err(ApiError::bad("vacuum is for files, not for fmt=sql")),
        "sql" => Ok(Format::Sql(tables)),
        _ if !tables.is_empty() => Err(ApiError::bad("tables is for fmt=sql only")),
        // Both are files with a rollback journal here.
        "binary" | "delete" => Ok(Format::File { vacuumed }),
        other => Err(ApiError::bad(format!(
            "fmt={other} is not binary, delete or sql"
        ))),
    }
}

/// Replaces the database by a SQLite file, or runs SQL text.
pub async fn load(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let options = Options::of(&parameters)?;
    api.counters.loads.fetch_add(1, Relaxed);
    let command = if body.starts_with(MAGIC) {
        refuse_wal(&body, &parameters)?;
        Command::Load(body)
    } else if let Ok(text) = std::str::from_utf8(&body) {
        let script = Statements {
            rows: false,
            ..Statements::query(vec![Statement::plain(text)])
        };
        Command::Statements(script.encode().into())
    } else {
        return Err(ApiError::bad(
            "the body is neither a SQLite file nor SQL text",
        ));
    };
    super::run(&api, &options, &headers, command, Endpoint::Execute).await
}

fn refuse_wal(file: &[u8], parameters: &Parameters) -> Result<(), ApiError> {
    if is_in_wal_mode(file) && !flag(parameters, "wal") {
        return Err(ApiError::bad(WAL_MODE));
    }
    Ok(())
}

/// `POST /boot`: a SQLite file for a cluster of one node.
pub async fn boot(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let options = Options::of(&parameters)?;
    if !body.starts_with(MAGIC) {
        return Err(ApiError::bad("invalid SQLite data"));
    }
    refuse_wal(&body, &parameters)?;
    let status = api.status().await?;
    if status.role != "leader" {
        return Err(ApiError::unavailable("not leader"));
    }
    if status.members.len() > 1 {
        return Err(ApiError::unavailable("not single-node"));
    }
    api.counters.loads.fetch_add(1, Relaxed);
    let key = key(&headers, "db")?;
    let command = Command::Load(body).with_budget(options.budget);
    let done = api.execute(key, command, options.timeout).await?;
    match Outcome::decode_all(&done.body).as_deref() {
        Ok([Outcome::Error(reason), ..]) => {
            Err(ApiError::bad(format!("invalid SQLite data: {reason}")))
        }
        Ok(_) => Ok(StatusCode::OK),
        Err(error) => Err(ApiError::Internal(error.to_string())),
    }
}
