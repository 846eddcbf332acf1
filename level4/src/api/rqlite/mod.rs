//! rqlite's endpoints, so that its client libraries work unchanged.

mod backup;
mod files;
mod nodes;
mod params;
mod results;
mod statements;
mod status;

pub use backup::BACKUPS_AT_A_TIME;
pub use files::{backup, load};
pub use nodes::nodes;
pub use status::status;

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;

use super::params::{Parameters, key};
use super::{Api, ApiError, read_answer};
use crate::message::Command;
use crate::statement::{Outcome, Statement, Statements};
use params::{Level, Options};
use results::Reply;

/// `POST /db/execute`: statements that change something.
pub async fn execute(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    write(&api, &parameters, &headers, &body, false).await
}

/// `POST /db/request`: statements of any kind, in order.
pub async fn request(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    write(&api, &parameters, &headers, &body, true).await
}

/// `POST /db/query`: statements that change nothing.
pub async fn query(
    State(api): State<Api>,
    parameters: Parameters,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    read(&api, &parameters, statements::parse(&body)?).await
}

/// `GET /db/query?q=`: one statement that changes nothing.
pub async fn query_text(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let Some(sql) = parameters.get("q") else {
        return Err(ApiError::bad("parameter q is missing"));
    };
    read(&api, &parameters, vec![Statement::plain(sql)]).await
}

async fn write(
    api: &Api,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
    rows: bool,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let options = Options::of(parameters)?;
    let statements = Statements {
        list: statements::parse(body)?,
        transaction: options.transaction,
        rows,
    };
    let command = Command::Statements(statements.encode().into());
    run(api, &options, headers, command).await
}

/// Puts a command through the log and renders what came of it.
async fn run(
    api: &Api,
    options: &Options,
    headers: &HeaderMap,
    command: Command,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let start = Instant::now();
    let key = key(headers, "db")?;
    let command = command.with_budget(options.budget);
    let done = api.execute(key, command, options.timeout).await?;
    let outcomes = Outcome::decode_all(&done.body);
    let outcomes = outcomes.map_err(|error| ApiError::Internal(error.to_string()))?;
    render(&outcomes, &[], options, start)
}

async fn read(
    api: &Api,
    parameters: &Parameters,
    list: Vec<Statement>,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let start = Instant::now();
    let options = Options::of(parameters)?;
    let request = Statements {
        list,
        transaction: false,
        rows: true,
    };
    let (factor, limit) = (options.budget, options.db_timeout);
    let pending = match options.level {
        Level::None => Some(api.node.read_local(request, factor, limit)),
        Level::Linearizable => api.node.read(request, factor, limit),
    };
    let (outcomes, times) = read_answer(pending, options.timeout).await?;
    render(&outcomes, &times, &options, start)
}

fn render(
    outcomes: &[Outcome],
    times: &[Duration],
    options: &Options,
    start: Instant,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let reply = Reply {
        outcomes,
        times,
        time: start.elapsed(),
        style: options.style,
    };
    reply.render()
}
