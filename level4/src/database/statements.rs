//! Executes typed statements with parameters.

use std::time::{Duration, Instant};

use super::engine::meter;
use super::engine::statement::{Script, Statement};
use super::session::{Work, roll_back};
use crate::statement::{Outcome, Parameters, Rows, Statements, Value};

/// Charged to the answer for every statement, bytes.
const OUTCOME_BYTES: u64 = 32;

/// A reader's connection remembers a schema, and whether that is still so is looked at only by what reads the
/// database's content.
const REFRESH: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// Whether a statement may look at the schema without reading content: a PRAGMA does, also as a table.
fn looks_at_schema(statement: &crate::statement::Statement) -> bool {
    let words = statement.sql.as_bytes().windows(6);
    words
        .into_iter()
        .any(|word| word.eq_ignore_ascii_case(b"pragma"))
}

/// Runs a request; gives the results of its statements, but for those that are nothing but blanks and
/// comments, and how long each took.
pub fn run(work: &Work, request: &Statements, read_only: bool) -> (Vec<Outcome>, Vec<Duration>) {
    let (mut results, mut times) = (Vec::new(), Vec::new());
    let mut failed = false;
    if read_only
        && request.list.iter().any(looks_at_schema)
        && let Err(reason) = work.control(REFRESH)
    {
        return (vec![Outcome::Error(reason)], times);
    }
    // Within a transaction it would change nothing.
    if request.foreign_keys
        && let Err(reason) = work.control("PRAGMA foreign_keys = 1")
    {
        return (vec![Outcome::Error(reason)], times);
    }
    if request.transaction
        && let Err(reason) = work.control("BEGIN")
    {
        return (vec![Outcome::Error(reason)], times);
    }
    for statement in &request.list {
        let start = Instant::now();
        let result = run_one(work, statement, request, read_only);
        failed = result.is_err();
        let Some(result) = result.unwrap_or_else(|reason| Some(Outcome::Error(reason))) else {
            continue;
        };
        results.push(match (meter::answer(size(&result)), result) {
            (Err(exceeded), Outcome::Rows(_) | Outcome::Done { .. }) => {
                failed = true;
                Outcome::Error(exceeded.to_string())
            }
            (_, result) => result,
        });
        times.push(start.elapsed());
        // Once the budget is used up, every statement after this would only say so.
        if failed && (request.transaction || meter::exceeded().is_some()) {
            break;
        }
    }
    if request.transaction && !failed {
        if let Err(reason) = work.control("COMMIT") {
            results.push(Outcome::Error(reason));
        }
    } else {
        roll_back(work.connection);
    }
    (results, times)
}

/// About the bytes that an outcome takes in an answer, beside its values.
fn size(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Error(reason) => OUTCOME_BYTES + reason.len() as u64,
        Outcome::Rows(_) | Outcome::Done { .. } => OUTCOME_BYTES,
    }
}

fn run_one(
    work: &Work,
    statement: &crate::statement::Statement,
    request: &Statements,
    read_only: bool,
) -> Result<Option<Outcome>, String> {
    let connection = work.connection;
    let mut script = Script::new(statement.sql.as_bytes());
    let mut result = None;
    while let Some(mut prepared) = work.next(&mut script, !request.transaction)? {
        let before = connection.total_changes();
        if read_only && !prepared.is_read_only() {
            return Err("attempt to change database via query operation".to_owned());
        }
        bind(&mut prepared, &statement.parameters)?;
        let gives_rows = prepared.columns() > 0 && (request.rows || !prepared.is_read_only());
        result = Some(if gives_rows {
            Outcome::Rows(fetch(&mut prepared, request.qualified)?)
        } else {
            while prepared.step()? {}
            drop(prepared);
            let last = connection.last_insert_rowid();
            // Only the statement's own rows, without those of triggers and foreign keys.
            let changed = connection.total_changes() != before;
            Outcome::Done {
                last_insert_id: (last != 0).then_some(last),
                rows_affected: changed.then(|| connection.changes()),
            }
        });
    }
    Ok(result)
}

fn bind(statement: &mut Statement, parameters: &Parameters) -> Result<(), String> {
    let count = statement.parameters();
    match parameters {
        Parameters::Named(named) => {
            for place in 1..=count {
                let name = statement.parameter_name(place);
                let bare = name.get(1..).unwrap_or_default();
                let value = named.iter().rfind(|(key, _)| key == bare);
                let (_, value) = value.ok_or_else(|| format!("parameter {name} has no value"))?;
                statement.bind(place, value)?;
            }
        }
        Parameters::Positional(values) => {
            if values.len() < count {
                return Err(format!(
                    "not enough args to execute query: want {count} got {}",
                    values.len()
                ));
            }
            for (place, value) in (1..=count).zip(values) {
                statement.bind(place, value)?;
            }
        }
    }
    Ok(())
}

fn fetch(statement: &mut Statement, qualified: bool) -> Result<Rows, String> {
    // The first step may compile the statement anew, for a schema that has changed: what is asked
    // before would be of columns that are no more.
    let mut more = statement.step()?;
    let columns = statement.columns();
    let name = |column| match statement.table(column) {
        table if qualified && !table.is_empty() => format!("{table}.{}", statement.name(column)),
        _ => statement.name(column),
    };
    let names = (0..columns).map(name).collect();
    let mut types: Vec<String> = (0..columns)
        .map(|column| statement.declared_type(column).to_lowercase())
        .collect();
    let mut values = Vec::new();
    while more {
        let row: Vec<Value> = (0..columns).map(|column| statement.value(column)).collect();
        for (kind, value) in types.iter_mut().zip(&row) {
            if kind.is_empty() {
                type_name(value).clone_into(kind);
            }
        }
        let size: usize = row.iter().map(Value::size).sum();
        meter::answer(size as u64).map_err(|exceeded| exceeded.to_string())?;
        values.push(row);
        more = statement.step()?;
    }
    Ok(Rows {
        columns: names,
        types,
        values,
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "",
        Value::Integer(_) => "integer",
        Value::Real(_) => "real",
        Value::Text(_) => "text",
        Value::Blob(_) => "blob",
    }
}
