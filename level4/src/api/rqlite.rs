//! `/db/*` as rqlite has it, so that its client libraries work unchanged.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value as Json, json};

use super::{Api, MAYBE_EXECUTED, NOT_READ, Parameters, answer, flag, refuse, sql, time_limit};
use crate::message::Command;

type Outcome = Result<Response, Response>;

fn either(outcome: Outcome) -> Response {
    match outcome {
        Ok(response) | Err(response) => response,
    }
}

/// `POST /db/execute`: statements that change something.
pub async fn execute(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    either(write(api, parameters, headers, body, false).await)
}

/// `POST /db/request`: statements of any kind, in order.
pub async fn request(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    either(write(api, parameters, headers, body, true).await)
}

/// `POST /db/query`: statements that change nothing.
pub async fn query(State(api): State<Api>, parameters: Parameters, body: Bytes) -> Response {
    either(read(api, parameters, statements(&body)).await)
}

/// `GET /db/query?q=`: one statement that changes nothing.
pub async fn query_text(State(api): State<Api>, parameters: Parameters) -> Response {
    let statement = parameters.get("q").map(|text| json!([text]));
    let statement =
        statement.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "parameter q is missing"));
    either(read(api, parameters, statement).await)
}

/// The body as an array of statements.
fn statements(body: &[u8]) -> Result<Json, Response> {
    let bad = |reason: String| refuse(StatusCode::BAD_REQUEST, reason);
    let json: Json = serde_json::from_slice(body).map_err(|error| {
        bad(format!(
            "the body has to be a JSON array of statements: {error}"
        ))
    })?;
    let Some(list) = json.as_array() else {
        return Err(bad(
            "the body has to be a JSON array of statements".to_owned()
        ));
    };
    let is_statement = |statement: &Json| match statement {
        Json::String(_) => true,
        Json::Array(parts) => parts.first().is_some_and(Json::is_string),
        _ => false,
    };
    match list.iter().position(|statement| !is_statement(statement)) {
        Some(place) => Err(bad(format!(
            "statement {place} is neither a string nor an array that begins with one"
        ))),
        None => Ok(json),
    }
}

async fn write(
    api: Api,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
    rows: bool,
) -> Outcome {
    let start = Instant::now();
    let statements = statements(&body)?;
    let transaction = flag(&parameters, "transaction");
    let blob_array = flag(&parameters, "blob_array");
    let request = json!({
        "statements": statements, "transaction": transaction, "rows": rows, "blob_array": blob_array,
        // Answers that are remembered under keys are the same on all nodes.
        "timings": flag(&parameters, "timings") && !headers.contains_key("idempotency-key"),
    });
    let command = Command::Statements(request.to_string().into());
    run(api, &parameters, &headers, command, start).await
}

async fn run(
    api: Api,
    parameters: &Parameters,
    headers: &HeaderMap,
    command: Command,
    start: Instant,
) -> Outcome {
    let key = sql::key(headers, "db")?;
    let limit = time_limit(parameters)?;
    if api.ending.load(Relaxed) {
        return Err(refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the node is ending",
        ));
    }
    let done = answer(api.node.execute(key, command), limit, MAYBE_EXECUTED).await?;
    Ok(render(&done.body, parameters, start))
}

async fn read(api: Api, parameters: Parameters, statements: Result<Json, Response>) -> Outcome {
    let start = Instant::now();
    let blob_array = flag(&parameters, "blob_array");
    let request = json!({
        "statements": statements?, "rows": true, "blob_array": blob_array,
        "timings": flag(&parameters, "timings"),
    });
    let request = request.to_string().into();
    let limit = time_limit(&parameters)?;
    let pending = match parameters.get("level").map(String::as_str) {
        Some("none") => Some(api.node.read_local(request)),
        None | Some("" | "weak" | "linearizable" | "strong" | "auto") => api.node.read(request),
        Some(other) => {
            let reason = format!("level={other} is not none, weak, linearizable or strong");
            return Err(refuse(StatusCode::BAD_REQUEST, reason));
        }
    };
    let body = answer(pending, limit, NOT_READ).await?;
    Ok(render(&body, &parameters, start))
}

/// Wraps results the way the URL's parameters ask for.
fn render(results: &[u8], parameters: &Parameters, start: Instant) -> Response {
    let mut results: Json = serde_json::from_slice(results).unwrap_or_default();
    if flag(parameters, "associative")
        && let Some(list) = results.as_array_mut()
    {
        list.iter_mut().for_each(associate);
    }
    let mut reply = json!({ "results": results });
    if flag(parameters, "timings") {
        reply["time"] = start.elapsed().as_secs_f64().into();
    }
    let pretty = flag(parameters, "pretty");
    let text = if pretty {
        format!("{reply:#}\n")
    } else {
        reply.to_string()
    };
    (
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        text,
    )
        .into_response()
}

/// Turns columns and rows of values into rows of named values.
fn associate(result: &mut Json) {
    let Some(columns) = result["columns"].as_array() else {
        return;
    };
    let columns: Vec<String> = columns
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .collect();
    let name = |values: &Json| -> Map<String, Json> {
        let values = values.as_array().into_iter().flatten().cloned();
        columns.iter().cloned().zip(values).collect()
    };
    let rows: Vec<Json> = result["values"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| name(row).into())
        .collect();
    let time = result.get("time").cloned();
    *result = json!({ "types": name(&result["types"]), "rows": rows });
    if let Some(time) = time {
        result["time"] = time;
    }
}

/// `GET /db/backup`: a SQLite file, consistent at one point of the log.
pub async fn backup(State(api): State<Api>, parameters: Parameters) -> Response {
    let outcome = async {
        let limit = time_limit(&parameters)?;
        let probe = json!({ "statements": ["SELECT 1"], "rows": true })
            .to_string()
            .into();
        if let Some(format) = parameters.get("fmt").filter(|&format| format != "binary") {
            let reason = format!("fmt={format} is not offered: a backup is a SQLite file");
            return Err(refuse(StatusCode::BAD_REQUEST, reason));
        }
        // A linearizable read first, so that the file holds everything acknowledged before.
        if parameters.get("level").map(String::as_str) != Some("none") {
            answer(api.node.read(probe), limit, NOT_READ).await?;
        }
        let file = answer(Some(api.node.file()), limit, NOT_READ).await?;
        let file = file.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        Ok(([(header::CONTENT_TYPE, "application/octet-stream")], file).into_response())
    };
    either(outcome.await)
}

/// `POST /db/load`: replaces the database by a SQLite file, or runs SQL text.
pub async fn load(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let start = Instant::now();
    let command = if body.starts_with(b"SQLite format 3\0") {
        Command::Load(body)
    } else if let Ok(text) = std::str::from_utf8(&body) {
        let request = json!({ "statements": [text], "transaction": false, "rows": false });
        Command::Statements(request.to_string().into())
    } else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the body is neither a SQLite file nor SQL text",
        );
    };
    either(run(api, &parameters, &headers, command, start).await)
}
