//! `GET /db/backup` and `POST /db/load`: the database as a SQLite file, out and in.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;

use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError, NOT_READ, answer, read_answer};
use super::backup::{TIME_LIMIT, body, permit};
use super::params::{Level, Options};
use crate::database::is_in_wal_mode;
use crate::message::Command;
use crate::statement::{Statement, Statements};

/// What a file has to hear that may not be whole.
const WAL_MODE: &str = "the file is in WAL mode: its last changes may be in a file -wal beside it. Load it \
    after PRAGMA journal_mode = DELETE, or with ?wal if the database was closed well";

/// A SQLite file, consistent at one point of the log.
pub async fn backup(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let options = Options::of(&parameters)?;
    let permit = permit(&api.backups)?;
    if let Some(format) = parameters.get("fmt").filter(|&format| format != "binary") {
        return Err(ApiError::bad(format!(
            "fmt={format} is not offered: a backup is a SQLite file"
        )));
    }
    // A linearizable read first, so that the file holds everything acknowledged before.
    if options.level == Level::Linearizable {
        let probe = Statements {
            list: vec![Statement::plain("SELECT 1")],
            transaction: false,
            rows: true,
        };
        let probe = api.node.read(probe, options.budget, options.db_timeout);
        read_answer(probe, options.timeout).await?;
    }
    let view = answer(Some(api.node.view()), options.timeout, NOT_READ).await?;
    let file = body(view, permit, TIME_LIMIT);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], file))
}

/// Replaces the database by a SQLite file, or runs SQL text.
pub async fn load(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let options = Options::of(&parameters)?;
    let command = if body.starts_with(b"SQLite format 3\0") {
        if is_in_wal_mode(&body) && !flag(&parameters, "wal") {
            return Err(ApiError::bad(WAL_MODE));
        }
        Command::Load(body)
    } else if let Ok(text) = std::str::from_utf8(&body) {
        let script = Statements {
            list: vec![Statement::plain(text)],
            transaction: false,
            rows: false,
        };
        Command::Statements(script.encode().into())
    } else {
        return Err(ApiError::bad(
            "the body is neither a SQLite file nor SQL text",
        ));
    };
    super::run(&api, &options, &headers, command).await
}
