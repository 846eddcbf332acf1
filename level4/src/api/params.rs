//! The parameters in a request's URL and headers that more than one interface has.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;

use super::ApiError;
use crate::duration;

/// The longest `Idempotency-Key`, bytes.
const KEY_LIMIT: usize = 256;

/// The URL's parameters.
pub type Parameters = axum::extract::Query<HashMap<String, String>>;

/// Whether a flag is given. As with rqlite its presence is enough, but `false` and `0` mean what they say.
pub fn flag(parameters: &Parameters, name: &str) -> bool {
    parameters
        .get(name)
        .is_some_and(|value| value != "false" && value != "0")
}

/// A parameter that is a duration as Go writes it (`5s`, `200ms`, `1m30s`), or seconds.
///
/// # Errors
///
/// 400 if it is something else.
pub fn time(parameters: &Parameters, name: &str) -> Result<Option<Duration>, ApiError> {
    let Some(text) = parameters.get(name) else {
        return Ok(None);
    };
    let bad = || {
        ApiError::bad(format!(
            "{name}={text} is not a duration such as 500ms, 5s or 1m30s"
        ))
    };
    duration::parse(text).ok_or_else(bad).map(Some)
}

/// The most times the usual budget that a request may ask for.
const BUDGET_LIMIT: u64 = 1000;

/// `?budget=N`: how many times the usual budget the request may use.
///
/// # Errors
///
/// 400 if it is no number, or too large.
pub fn budget(parameters: &Parameters) -> Result<u64, ApiError> {
    let Some(text) = parameters.get("budget") else {
        return Ok(1);
    };
    match text.parse() {
        Ok(factor @ 1..=BUDGET_LIMIT) => Ok(factor),
        _ => Err(ApiError::bad(format!(
            "budget={text} is not a number from 1 to {BUDGET_LIMIT}: how many times the usual budget"
        ))),
    }
}

/// The client's own name for the request, if it gave one. Names of different `kind`s of requests, which
/// are answered in different forms, have nothing to do with each other.
///
/// # Errors
///
/// 400 if it is empty, too long or not ASCII.
pub fn key(headers: &HeaderMap, kind: &str) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_LIMIT => Ok(Some(format!("{kind} {key}"))),
        _ => Err(ApiError::bad(format!(
            "Idempotency-Key has to be 1 to {KEY_LIMIT} ASCII characters"
        ))),
    }
}
