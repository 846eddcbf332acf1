//! Results as rqlite's JSON, written once from typed values.

use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::json;

use super::super::ApiError;
use super::super::cluster::{json_reply_as, json_text};
use super::kinds::{Kind, Shown};
use super::params::Style;
use crate::ids::Index;
use crate::statement::{Outcome, Rows, Value};

/// Which of the data endpoints answers. They differ where rows are objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/db/execute`.
    Execute,
    /// `/db/query`.
    Query,
    /// `/db/request`.
    Request,
}

/// What a request's statements gave, and how long it took.
#[derive(Debug)]
pub struct Reply<'a> {
    /// One for each statement that was run.
    pub outcomes: &'a [Outcome],
    /// How long each took, if that was measured here.
    pub times: &'a [Duration],
    /// All of it, as the client saw it.
    pub time: Duration,
    /// How far the state was in the log that the answer is of, if that is to be told.
    pub raft_index: Option<Index>,
    /// What the client asked.
    pub endpoint: Endpoint,
    /// How to write it.
    pub style: Style,
}

impl Reply<'_> {
    /// The answer.
    ///
    /// # Errors
    ///
    /// 500; not known to happen.
    pub fn render(&self) -> Result<impl IntoResponse + use<>, ApiError> {
        let text = json_text(self, self.style.pretty);
        let text = text.map_err(|error| ApiError::Internal(error.to_string()))?;
        let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        Ok((kind, text))
    }
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("results", &Results(self))?;
        if self.style.timings {
            map.serialize_entry("time", &self.time.as_secs_f64())?;
        }
        if let Some(index) = self.raft_index {
            map.serialize_entry("raft_index", &index.get())?;
        }
        map.end()
    }
}

/// The answer to a request of which nothing was run.
pub fn refusal(reason: &str, pretty: bool) -> Response {
    json_reply_as(&json!({ "results": [], "error": reason }), pretty).into_response()
}

struct Results<'a>(&'a Reply<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Reply {
            outcomes,
            times,
            style,
            endpoint,
            ..
        } = *self.0;
        let mut times = times.iter();
        serializer.collect_seq(outcomes.iter().map(|outcome| One {
            outcome,
            time: times.next().filter(|_| style.timings),
            style,
            endpoint,
        }))
    }
}

struct One<'a> {
    outcome: &'a Outcome,
    time: Option<&'a Duration>,
    style: Style,
    endpoint: Endpoint,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.outcome {
            Outcome::Error(message) => {
                map.serialize_entry("error", message)?;
                if self.style.associative && self.endpoint == Endpoint::Query {
                    map.serialize_entry("rows", &[(); 0])?;
                }
            }
            Outcome::Done {
                last_insert_id,
                rows_affected,
            } => {
                if let Some(id) = last_insert_id {
                    map.serialize_entry("last_insert_id", id)?;
                }
                if let Some(count) = rows_affected {
                    map.serialize_entry("rows_affected", count)?;
                }
                if self.style.associative {
                    map.serialize_entry("rows", &())?;
                }
            }
            Outcome::Rows(rows) if self.style.associative => {
                let types: Vec<&str> = rows.types.iter().map(String::as_str).collect();
                map.serialize_entry("types", &Named(&rows.columns, &types))?;
                map.serialize_entry("rows", &Objects(rows, self.style))?;
            }
            Outcome::Rows(rows) => {
                map.serialize_entry("columns", &rows.columns)?;
                map.serialize_entry("types", &rows.types)?;
                if !rows.values.is_empty() {
                    map.serialize_entry("values", &Arrays(rows, self.style))?;
                }
            }
        }
        if let Some(time) = self.time {
            map.serialize_entry("time", &time.as_secs_f64())?;
        }
        map.end()
    }
}

/// Rows as arrays.
struct Arrays<'a>(&'a Rows, Style);

impl Serialize for Arrays<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.values.len()))?;
        let kinds = kinds(self.0);
        for row in &self.0.values {
            list.serialize_element(&cells(row, &kinds, self.1))?;
        }
        list.end()
    }
}

/// Rows as objects.
struct Objects<'a>(&'a Rows, Style);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.values.len()))?;
        let kinds = kinds(self.0);
        for row in &self.0.values {
            let cells = cells(row, &kinds, self.1);
            list.serialize_element(&Named(&self.0.columns, &cells))?;
        }
        list.end()
    }
}

/// An object of names and values. Of columns with the same name the last one counts, at the place of
/// the first.
struct Named<'a, T>(&'a [String], &'a [T]);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(names, values) = self;
        let mut map = serializer.serialize_map(None)?;
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                continue;
            }
            let last = names.iter().rposition(|other| other == name);
            let value = last.and_then(|last| values.get(last));
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

fn kinds(rows: &Rows) -> Vec<Kind> {
    rows.types.iter().map(|kind| Kind::of(kind)).collect()
}

fn cells<'a>(row: &'a [Value], kinds: &[Kind], style: Style) -> Vec<Shown<'a>> {
    let cells = row.iter().zip(kinds);
    cells
        .map(|(value, kind)| kind.show(value, style.blob_array))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(outcome: Outcome, style: Style) -> String {
        let reply = Reply {
            outcomes: &[outcome],
            times: &[],
            time: Duration::ZERO,
            raft_index: None,
            endpoint: Endpoint::Query,
            style,
        };
        serde_json::to_string(&reply).unwrap()
    }

    fn rows(columns: &[&str], row: Vec<Value>) -> Outcome {
        Outcome::Rows(Rows {
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            types: columns.iter().map(|_| "real".to_owned()).collect(),
            values: vec![row],
        })
    }

    proptest! {
        #[test]
        fn doubles_are_read_back_bit_for_bit(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let text = json(rows(&["a"], vec![Value::Real(number)]), Style::default());
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            let read = read["results"][0]["values"][0][0].as_f64().unwrap();
            prop_assert_eq!(read.to_bits(), bits);
        }
    }

    #[test]
    fn infinities_and_blobs_have_a_form() {
        let row = vec![Value::Real(f64::NEG_INFINITY), Value::Blob(vec![1, 255])];
        let text = json(rows(&["a", "b"], row.clone()), Style::default());
        assert!(text.contains(r#"[[-9.0e+999,"Af8="]]"#), "{text}");
        let style = Style {
            blob_array: true,
            ..Style::default()
        };
        let text = json(rows(&["a", "b"], row), style);
        assert!(text.contains("[1,255]"), "{text}");
    }

    #[test]
    fn objects_of_what_gives_no_rows() {
        let style = Style {
            associative: true,
            ..Style::default()
        };
        let done = Outcome::Done {
            last_insert_id: Some(3),
            rows_affected: None,
        };
        assert_eq!(
            json(done, style),
            r#"{"results":[{"last_insert_id":3,"rows":null}]}"#
        );
        let error = Outcome::Error("no such table: t".to_owned());
        assert_eq!(
            json(error, style),
            r#"{"results":[{"error":"no such table: t","rows":[]}]}"#
        );
    }

    #[test]
    fn objects_have_each_name_once() {
        let style = Style {
            associative: true,
            ..Style::default()
        };
        let row = vec![Value::Integer(1), Value::Integer(2), Value::Null];
        assert_eq!(
            json(rows(&["a", "a", "b"], row), style),
            r#"{"results":[{"types":{"a":"real","b":"real"},"rows":[{"a":2,"b":null}]}]}"#
        );
    }
}
