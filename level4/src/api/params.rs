//! The parameters in a request's URL and headers that more than one interface has.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;

use super::ApiError;

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
    duration(text).ok_or_else(bad).map(Some)
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

fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, after) = rest.split_at(digits);
        let unit = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            // A bare number has no other parts.
            "" if rest.len() == text.len() && after.is_empty() => 1.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_or_seconds() {
        for (text, ms) in [
            ("5s", 5_000),
            ("200ms", 200),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2.5", 2_500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "", "s", "soon", "5x", "1s2", "-1s", "1..2s", "1e400s", "5 s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
