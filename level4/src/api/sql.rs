//! `POST /sql`: raw SQL in, `SequenceNumber: N` and the shell's output out.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::{Api, MAYBE_EXECUTED, Parameters, answer, refuse, time_limit};
use crate::message::Command;

/// The longest `Idempotency-Key`, bytes.
const KEY_LIMIT: usize = 256;

/// Executes the body once, in the order common to all nodes.
pub async fn execute(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match run(api, &parameters, &headers, body).await {
        Ok(response) | Err(response) => response,
    }
}

async fn run(
    api: Api,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    if body.is_empty() {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "the body is empty: it has to be SQL",
        ));
    }
    if let Err(error) = std::str::from_utf8(&body) {
        let at = error.valid_up_to();
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            format_args!("the body is not UTF-8: bad byte at offset {at}"),
        ));
    }
    let key = key(headers, "sql")?;
    let limit = time_limit(parameters)?;
    if api.ending.load(Relaxed) {
        return Err(refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the node is ending",
        ));
    }
    let pending = api.node.execute(key, Command::Shell(body));
    let answer = answer(pending, limit, MAYBE_EXECUTED).await?;
    let mut output = match answer.sequence {
        Some(sequence) => format!("SequenceNumber: {sequence}\n").into_bytes(),
        None => Vec::new(),
    };
    output.extend_from_slice(&answer.body);
    Ok((StatusCode::OK, output).into_response())
}

/// The client's own name for the request, if it gave one. Names of different `kind`s of requests, which
/// are answered in different forms, have nothing to do with each other.
pub fn key(headers: &HeaderMap, kind: &str) -> Result<Option<String>, Response> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_LIMIT => Ok(Some(format!("{kind} {key}"))),
        _ => Err(refuse(
            StatusCode::BAD_REQUEST,
            format_args!("Idempotency-Key has to be 1 to {KEY_LIMIT} ASCII characters"),
        )),
    }
}
