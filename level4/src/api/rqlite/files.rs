//! `GET /db/backup`, `POST /db/load` and `POST /boot`: the database as a SQLite file, out and in.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::super::params::{Parameters, flag, key};
use super::super::{Api, ApiError, NOT_READ, answer, read_answer};
use super::backup::{Format, TIME_LIMIT, body, made, permit};
use super::params::{Level, Options};
use super::results::Endpoint;
use super::upload::{MAGIC, Taken, Upload};
use crate::database::is_in_wal_mode;
use crate::message::Command;
use crate::statement::{Outcome, Statement, Statements};

/// What a file has to hear that may not be whole.
const WAL_MODE: &str = "the file is in WAL mode: its last changes may be in a file -wal beside it. Load it \
    after PRAGMA journal_mode = DELETE, or with ?wal if the database was closed well";

/// What somebody has to hear whose file did not come.
const TOO_SHORT: &str = "the body is too short for a SQLite file";
/// For so many bytes of SQL a load may use the usual budget once more.
const BYTES_A_BUDGET: usize = 2 * 1024 * 1024;

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
        api.led(read_answer(probe, options.patience())).await?;
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
    upload: Upload,
) -> Result<Response, ApiError> {
    let upload = check_wal(&api, upload, &parameters).await?;
    let may = || Ok((Options::of(&parameters)?, key(&headers, "db")?));
    let (mut options, key) = match may() {
        Ok(may) => may,
        Err(error) => return Err(upload.refuse(error).await),
    };
    api.counters.loads.fetch_add(1, Relaxed);
    let (command, _staged) = match upload.take(&api, key.as_deref(), options.timeout).await? {
        Taken::File(command, staged) => (command, staged),
        Taken::Other(body) => (script(&api, &body)?, None),
    };
    // A large one may take its time, and work.
    let limit = options.timeout;
    options.budget = options
        .budget
        .max((command.body().len() / BYTES_A_BUDGET) as u64);
    super::run(&api, &options, &headers, command, limit, Endpoint::Execute).await
}

/// The command that runs SQL text.
fn script(api: &Api, body: &[u8]) -> Result<Command, ApiError> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|_| ApiError::bad("the body is neither a SQLite file nor SQL text"))?;
    let script = Statements {
        rows: false,
        foreign_keys: api.kept.foreign_keys,
        ..Statements::query(vec![Statement::plain(text)])
    };
    Ok(Command::Statements(script.encode().into()))
}

/// Refuses a file that may not be whole. rqlite's own backups are all in WAL mode, and its users know nothing of
/// `?wal`.
async fn check_wal(api: &Api, upload: Upload, parameters: &Parameters) -> Result<Upload, ApiError> {
    let needs_wal = upload.is_file() && is_in_wal_mode(upload.first());
    if needs_wal && !api.kept.is_rqlited && !flag(parameters, "wal") {
        return Err(upload.refuse(ApiError::bad(WAL_MODE)).await);
    }
    Ok(upload)
}

/// Whether this node may be given another database by itself.
async fn check_alone(api: &Api) -> Result<(), ApiError> {
    let status = api.status().await?;
    if status.role != "leader" {
        return Err(ApiError::unavailable("not leader"));
    }
    if status.members.len() > 1 {
        return Err(ApiError::unavailable("not single-node"));
    }
    Ok(())
}

/// `POST /boot`: a SQLite file for a cluster of one node.
pub async fn boot(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    upload: Upload,
) -> Result<StatusCode, ApiError> {
    let upload = check_wal(&api, upload, &parameters).await?;
    let (is_file, length) = (upload.is_file(), upload.first().len());
    let may = async {
        if length < MAGIC.len() {
            return Err(ApiError::unavailable(TOO_SHORT));
        }
        if !is_file {
            return Err(ApiError::bad("invalid SQLite data"));
        }
        check_alone(&api).await?;
        Ok((Options::of(&parameters)?, key(&headers, "db")?))
    };
    let (options, key) = match may.await {
        Ok(may) => may,
        Err(error) => return Err(upload.refuse(error).await),
    };
    api.counters.loads.fetch_add(1, Relaxed);
    let taken = upload.take(&api, key.as_deref(), options.timeout).await?;
    let Taken::File(command, _staged) = taken else {
        return Err(ApiError::bad("invalid SQLite data"));
    };
    let command = command.with_budget(options.budget);
    let done = api.execute(key, command, options.timeout).await?;
    match Outcome::decode_all(&done.body).as_deref() {
        Ok([Outcome::Error(reason), ..]) => {
            Err(ApiError::bad(format!("invalid SQLite data: {reason}")))
        }
        Ok(_) => Ok(StatusCode::OK),
        Err(error) => Err(ApiError::Internal(error.to_string())),
    }
}
