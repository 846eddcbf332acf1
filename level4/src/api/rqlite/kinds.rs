//! Values of columns that are declared as truths or times, as rqlite writes them: `true`, and RFC 3339 in UTC.

use std::time::{Duration, UNIX_EPOCH};

use humantime::{format_rfc3339_millis, format_rfc3339_seconds};
use serde::ser::{Serialize, Serializer};

use crate::json::Cell;
use crate::statement::Value;

/// Integers beyond this are milliseconds, not seconds.
const MILLISECONDS_FROM: u64 = 1_000_000_000_000;
/// The year 10,000, seconds since 1970.
const TOO_LATE: u64 = 253_402_300_800;

/// What a column's declaration makes of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Integers are truths.
    Truth,
    /// Texts and integers are times.
    Time,
}

impl Kind {
    /// By the declared type, in lower case.
    pub fn of(declared: &str) -> Self {
        match declared {
            "boolean" => Self::Truth,
            "date" | "datetime" | "timestamp" => Self::Time,
            _ => Self::Plain,
        }
    }

    /// How a value of this column is written.
    pub fn show(self, value: &Value, blob_array: bool) -> Shown<'_> {
        let special = match (self, value) {
            (Self::Truth, Value::Integer(value)) => Some(Shown::Truth(*value > 0)),
            (Self::Time, Value::Text(text)) => time(text).map(Shown::Time),
            (Self::Time, Value::Integer(value)) => at(*value).map(Shown::Time),
            _ => None,
        };
        special.unwrap_or(Shown::Plain(Cell { value, blob_array }))
    }
}

/// A value as it is written.
#[derive(Debug)]
pub enum Shown<'a> {
    /// As it is.
    Plain(Cell<'a>),
    /// `true` or `false`.
    Truth(bool),
    /// RFC 3339.
    Time(String),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(cell) => cell.serialize(serializer),
            Self::Truth(value) => serializer.serialize_bool(*value),
            Self::Time(text) => serializer.serialize_str(text),
        }
    }
}

/// A Unix time; none before 1970, which stays a number.
fn at(value: i64) -> Option<String> {
    let value = u64::try_from(value).ok()?;
    let since = if value > MILLISECONDS_FROM {
        Duration::from_millis(value)
    } else {
        Duration::from_secs(value)
    };
    let time = UNIX_EPOCH.checked_add(since);
    let time = time.filter(|_| since.as_secs() < TOO_LATE)?;
    Some(if since.subsec_millis() == 0 {
        format_rfc3339_seconds(time).to_string()
    } else {
        format_rfc3339_millis(time).to_string()
    })
}

/// `YYYY-MM-DD`, with `HH:MM`, `HH:MM:SS` and a fraction behind a blank or a `T`, in UTC. What else there is
/// stays as it is.
fn time(text: &str) -> Option<String> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = match text.split_once([' ', 'T']) {
        Some((date, clock)) => (date, clock),
        None => (text, "00:00"),
    };
    let has_form = |text: &str, form: &str| {
        text.len() == form.len()
            && text
                .bytes()
                .zip(form.bytes())
                .all(|(found, wanted)| match wanted {
                    b'0' => found.is_ascii_digit(),
                    _ => found == wanted,
                })
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let seconds = match clock.len() {
        5 if fraction.is_empty() => ":00",
        8 => "",
        _ => return None,
    };
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let whole = format!("{clock}{seconds}");
    if !has_form(date, "0000-00-00") || !has_form(&whole, "00:00:00") || !is_fraction {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}T{whole}{point}{fraction}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(declared: &str, value: &Value) -> String {
        serde_json::to_string(&Kind::of(declared).show(value, false)).unwrap()
    }

    #[test]
    fn times_are_written_as_clients_of_rqlite_expect_them() {
        for (stored, told) in [
            ("2020-01-02", "2020-01-02T00:00:00Z"),
            ("2020-01-02 03:04", "2020-01-02T03:04:00Z"),
            ("2020-01-02 03:04:05", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.120Z", "2020-01-02T03:04:05.12Z"),
            ("2020-01-02 03:04:05.000000", "2020-01-02T03:04:05Z"),
            // Nothing is lost of what is no time.
            ("", ""),
            ("soon", "soon"),
            ("2020-01-02 03:04:05+01:00", "2020-01-02 03:04:05+01:00"),
            ("2020-1-2", "2020-1-2"),
            ("é020-01-02", "é020-01-02"),
        ] {
            for declared in ["date", "datetime", "timestamp"] {
                let text = shown(declared, &Value::Text(stored.to_owned()));
                assert_eq!(text, format!("\"{told}\""), "{stored}");
            }
        }
        for (stored, told) in [
            (0, "\"1970-01-01T00:00:00Z\""),
            (1_577_934_245, "\"2020-01-02T03:04:05Z\""),
            (1_577_934_245_500, "\"2020-01-02T03:04:05.500Z\""),
            (-1, "-1"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(shown("timestamp", &Value::Integer(stored)), told);
        }
        assert_eq!(shown("timestamp", &Value::Real(1.5)), "1.5");
        assert_eq!(
            shown("text", &Value::Text("2020-01-02".to_owned())),
            "\"2020-01-02\""
        );
    }

    #[test]
    fn truths_are_those_of_boolean_columns() {
        for (stored, told) in [(1, "true"), (7, "true"), (0, "false"), (-1, "false")] {
            assert_eq!(shown("boolean", &Value::Integer(stored)), told);
            assert_eq!(shown("bool", &Value::Integer(stored)), stored.to_string());
        }
        assert_eq!(shown("boolean", &Value::Null), "null");
    }
}
