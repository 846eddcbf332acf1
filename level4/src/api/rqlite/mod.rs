//! rqlite's endpoints, so that its client libraries work unchanged.

mod backup;
mod counters;
mod files;
mod front;
mod kinds;
mod leader;
mod nodes;
mod params;
mod queue;
mod results;
mod saving;
mod statements;
mod status;
mod upload;

pub use backup::{BACKUPS_AT_A_TIME, Downloads, Format, write_backup};
pub use counters::Counters;
pub use front::{RELEASE, front, sign};
pub use queue::Queue;
pub use saving::keep_saving;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use serde_json::{Value as Json, json};

use super::cluster::json_reply_as;
use super::params::{Parameters, flag, key};
use super::{Api, ApiError, read_answer};
use crate::ids::Index;
use crate::message::Command;
use crate::settings::TICK;
use crate::statement::{Outcome, Statement, Statements};
use params::{Level, Options};
use results::{Endpoint, Reply};

/// Its routes. Bodies of files may be longer than others.
pub fn routes() -> Router<Api> {
    let mut routes = Router::new();
    for (path, at) in [
        ("/db/execute", post(execute)),
        ("/db/query", get(query_text).post(query)),
        ("/db/request", post(request)),
        ("/db/sql", get(analyse_text).post(analyse)),
        ("/db/backup", get(files::backup)),
        ("/db/load", post(files::load)),
        ("/status", get(status::status)),
        ("/nodes", get(nodes::nodes)),
    ] {
        routes = routes
            .route(path, at.clone())
            .route(&format!("{path}/"), at);
    }
    routes
        .route("/boot", post(files::boot))
        .route("/leader", get(leader::show).post(leader::step_down))
        .route("/snapshot", post(leader::snapshot))
        .route("/reap", post(leader::reap))
        .route("/debug/vars", get(counters::show))
}

/// `POST /db/execute`: statements that change something.
async fn execute(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let options = Options::of(&parameters)?;
    if flag(&parameters, "queue") {
        return queue::take(&api, &parameters, &options, &body).await;
    }
    api.counters.executions.fetch_add(1, Relaxed);
    let list = text_or_json(&headers, &body)?;
    write(&api, &options, &headers, list, Endpoint::Execute).await
}

/// `POST /db/request`: statements of any kind, in order.
async fn request(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let options = Options::of(&parameters)?;
    api.counters.requests.fetch_add(1, Relaxed);
    let list = statements::parse(&body)?;
    write(&api, &options, &headers, list, Endpoint::Request).await
}

/// `POST /db/query`: statements that change nothing.
async fn query(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let options = Options::of(&parameters)?;
    read(&api, &options, text_or_json(&headers, &body)?).await
}

/// `GET /db/query?q=`: one statement that changes nothing.
async fn query_text(State(api): State<Api>, parameters: Parameters) -> Result<Response, ApiError> {
    let options = Options::of(&parameters)?;
    let list = match parameters.get("q") {
        None => Vec::new(),
        Some(sql) => vec![Statement::plain(sql)],
    };
    read(&api, &options, list).await
}

/// `GET /db/sql?q=`: what would be executed.
async fn analyse_text(parameters: Parameters) -> impl IntoResponse {
    let list = parameters
        .get("q")
        .into_iter()
        .map(Statement::plain)
        .collect();
    analysed(list, &parameters)
}

/// `POST /db/sql`: likewise, of several statements.
async fn analyse(
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    Ok(analysed(text_or_json(&headers, &body)?, &parameters))
}

/// Time and chance are drawn inside SQLite: what is executed is what was said.
fn analysed(list: Vec<Statement>, parameters: &Parameters) -> impl IntoResponse + use<> {
    let results: Vec<Json> = list
        .into_iter()
        .map(|statement| json!({ "original": statement.sql, "rewritten": statement.sql }))
        .collect();
    json_reply_as(&json!({ "results": results }), flag(parameters, "pretty"))
}

fn text_or_json(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Statement>, ApiError> {
    if statements::is_text(headers) {
        statements::plain(body)
    } else {
        statements::parse(body)
    }
}

async fn write(
    api: &Api,
    options: &Options,
    headers: &HeaderMap,
    mut list: Vec<Statement>,
    endpoint: Endpoint,
) -> Result<Response, ApiError> {
    statements::settle(&mut list);
    if let Some(refused) = refused(&list, options) {
        return Ok(refused);
    }
    let statements = Statements {
        list,
        transaction: options.transaction,
        rows: endpoint == Endpoint::Request,
        qualified: options.qualify_columns,
        foreign_keys: api.kept.foreign_keys,
    };
    let command = Command::Statements(statements.encode().into());
    let limit = options.patience();
    run(api, options, headers, command, limit, endpoint).await
}

/// Puts a command through the log, waits for it at most for `limit`, and renders what came of it.
async fn run(
    api: &Api,
    options: &Options,
    headers: &HeaderMap,
    command: Command,
    limit: Option<Duration>,
    endpoint: Endpoint,
) -> Result<Response, ApiError> {
    let start = Instant::now();
    let key = key(headers, "db")?;
    let is_file = matches!(command, Command::Load(_) | Command::Stage(_));
    let command = command.with_budget(options.budget);
    let done = api.execute(key, command, limit);
    let done = api.led(done).await?;
    let outcomes = Outcome::decode_all(&done.body);
    let mut outcomes = outcomes.map_err(|error| ApiError::Internal(error.to_string()))?;
    // It has no statements, but may be none.
    outcomes.retain(|outcome| !is_file || matches!(outcome, Outcome::Error(_)));
    let raft_index = if options.raft_index {
        Some(api.status().await?.applied_index)
    } else {
        None
    };
    let answer = Answered {
        outcomes: &outcomes,
        times: &[],
        raft_index,
        endpoint,
    };
    answer.render(options, start)
}

async fn read(
    api: &Api,
    options: &Options,
    mut list: Vec<Statement>,
) -> Result<Response, ApiError> {
    statements::settle(&mut list);
    let start = Instant::now();
    api.counters.queries.fetch_add(1, Relaxed);
    if let Some(refused) = refused(&list, options) {
        return Ok(refused);
    }
    let raft_index = if options.raft_index && options.is_strong {
        Some(api.status().await?.applied_index)
    } else {
        None
    };
    let request = Statements {
        qualified: options.qualify_columns,
        ..Statements::query(list)
    };
    let (factor, limit) = (options.budget, options.db_timeout);
    let pending = match options.level {
        Level::None if is_stale(api, options).await? => {
            return Ok(results::refusal("stale read", options.style.pretty));
        }
        Level::None => Some(api.node.read_local(request, factor, limit)),
        Level::Linearizable => api.node.read(request, factor, limit),
    };
    let read = read_answer(pending, options.patience());
    let (outcomes, times) = match options.level {
        Level::None => read.await?,
        Level::Linearizable => api.led(read).await?,
    };
    let answer = Answered {
        outcomes: &outcomes,
        times: &times,
        raft_index,
        endpoint: Endpoint::Query,
    };
    answer.render(options, start)
}

/// Whether what this node has may be older than its client wants.
async fn is_stale(api: &Api, options: &Options) -> Result<bool, ApiError> {
    let Some(freshness) = options.freshness else {
        return Ok(false);
    };
    let status = api.status().await?;
    let silence = status
        .leader_silence
        .and_then(|ticks| u32::try_from(ticks).ok());
    let silent = silence.is_none_or(|ticks| TICK * ticks > freshness);
    let late = || api.node.applying().is_some_and(|now| now.since > freshness);
    let is_behind = options.freshness_strict && status.applied_index < status.commit_index;
    Ok(silent || is_behind && late())
}

/// The answer to a request that has a statement for which all of it is refused.
fn refused(list: &[Statement], options: &Options) -> Option<Response> {
    let is_refused = |one: &Statement| statements::is_disallowed(&one.sql);
    list.iter()
        .any(is_refused)
        .then(|| results::refusal("disallowed pragma", options.style.pretty))
}

/// What came of a request.
struct Answered<'a> {
    outcomes: &'a [Outcome],
    times: &'a [Duration],
    raft_index: Option<Index>,
    endpoint: Endpoint,
}

impl Answered<'_> {
    fn render(self, options: &Options, start: Instant) -> Result<Response, ApiError> {
        let reply = Reply {
            outcomes: self.outcomes,
            times: self.times,
            time: start.elapsed(),
            raft_index: self.raft_index,
            endpoint: self.endpoint,
            style: options.style,
        };
        Ok(reply.render()?.into_response())
    }
}
