//! `GET /db/backup`, `POST /db/load` and `POST /boot`: the database as a SQLite file, out and in.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

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

/// The longest file that is loaded, bytes: it is whole in memory meanwhile.
pub const LOAD_LIMIT: usize = 1024 * 1024 * 1024;
/// For so many bytes of SQL a load may use the usual budget once more.
const BYTES_A_BUDGET: usize = 2 * 1024 * 1024;

/// A body that may be long. One that is longer than others may be has to be the only one.
pub struct Upload {
    body: Bytes,
    _turn: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Api> for Upload {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Response> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_long = length.is_none_or(|length: usize| length > api.kept.body_limit);
        let busy = |_| ApiError::unavailable(BUSY_WITH_A_LOAD).into_response();
        let turn = is_long.then(|| api.loads.clone().try_acquire_owned());
        let turn = turn.transpose().map_err(busy)?;
        let body = Bytes::from_request(request, api).await;
        Ok(Self {
            body: body.map_err(IntoResponse::into_response)?,
            _turn: turn,
        })
    }
}

/// What a second large file has to hear.
const BUSY_WITH_A_LOAD: &str =
    "this node is at another large file, and has room for one: try again when that is done";

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
    let mut options = Options::of(&parameters)?;
    api.counters.loads.fetch_add(1, Relaxed);
    let Upload { body, _turn } = upload;
    let command = if body.starts_with(MAGIC) {
        refuse_wal(&body, &parameters)?;
        Command::Load(body)
    } else if let Ok(text) = std::str::from_utf8(&body) {
        let script = Statements {
            rows: false,
            foreign_keys: api.kept.foreign_keys,
            ..Statements::query(vec![Statement::plain(text)])
        };
        Command::Statements(script.encode().into())
    } else {
        return Err(ApiError::bad(
            "the body is neither a SQLite file nor SQL text",
        ));
    };
    // A large one may take its time, and work.
    let limit = options.timeout;
    options.budget = options
        .budget
        .max((command.body().len() / BYTES_A_BUDGET) as u64);
    super::run(&api, &options, &headers, command, limit, Endpoint::Execute).await
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
    upload: Upload,
) -> Result<StatusCode, ApiError> {
    let options = Options::of(&parameters)?;
    let Upload { body, _turn } = upload;
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
