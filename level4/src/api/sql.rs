//! `POST /sql`: raw SQL in, `SequenceNumber: N` and the shell's output out.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;

use super::params::{Parameters, budget, key, time};
use super::{Api, ApiError};
use crate::message::Command;

/// Executes the body once, in the order common to all nodes.
pub async fn execute(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad("the body is empty: it has to be SQL"));
    }
    if let Err(error) = std::str::from_utf8(&body) {
        let at = error.valid_up_to();
        return Err(ApiError::bad(format!(
            "the body is not UTF-8: bad byte at offset {at}"
        )));
    }
    let key = key(&headers, "sql")?;
    let limit = time(&parameters, "timeout")?;
    let command = Command::Shell(body).with_budget(budget(&parameters)?);
    let answer = api.execute(key, command, limit).await?;
    let mut output = match answer.sequence {
        Some(sequence) => format!("SequenceNumber: {sequence}\n").into_bytes(),
        None => Vec::new(),
    };
    output.extend_from_slice(&answer.body);
    Ok(output)
}
