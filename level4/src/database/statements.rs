//! Executes typed statements with parameters.

use rusqlite::Connection;

use super::sqlite::{Script, Statement};
use crate::statement::{Outcome, Parameters, Rows, Statements, Value};

/// Rows beyond this are refused, bytes.
const RESULT_LIMIT: usize = 64 * 1024 * 1024;

/// Runs a request and gives the results of its statements.
pub fn run(connection: &Connection, request: &Statements, read_only: bool) -> Vec<Outcome> {
    let mut results = Vec::new();
    let mut failed = false;
    if request.transaction {
        failed = connection.execute_batch("BEGIN").is_err();
    }
    for statement in &request.list {
        let result = run_one(connection, statement, request.rows, read_only);
        failed = result.is_err();
        results.push(result.unwrap_or_else(Outcome::Error));
        if request.transaction && failed {
            break;
        }
    }
    if request.transaction {
        let end = if failed { "ROLLBACK" } else { "COMMIT" };
        if let Err(error) = connection.execute_batch(end)
            && !failed
        {
            results.push(Outcome::Error(error.to_string()));
        }
    }
    results
}

fn run_one(
    connection: &Connection,
    statement: &crate::statement::Statement,
    rows: bool,
    read_only: bool,
) -> Result<Outcome, String> {
    let mut script = Script::new(statement.sql.as_bytes());
    let mut result = Outcome::Done {
        last_insert_id: None,
        rows_affected: None,
    };
    while let Some(mut prepared) = script.next(connection)? {
        let before = connection.total_changes();
        if read_only && !prepared.is_read_only() {
            return Err("attempt to change database via query operation".to_owned());
        }
        bind(&mut prepared, &statement.parameters)?;
        result = if rows && prepared.columns() > 0 {
            Outcome::Rows(fetch(&mut prepared)?)
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
        };
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

fn fetch(statement: &mut Statement) -> Result<Rows, String> {
    // The first step may compile the statement anew, for a schema that has changed: what is asked
    // before would be of columns that are no more.
    let mut more = statement.step()?;
    let columns = statement.columns();
    let names = (0..columns).map(|column| statement.name(column)).collect();
    let mut types: Vec<String> = (0..columns)
        .map(|column| statement.declared_type(column).to_lowercase())
        .collect();
    let mut values = Vec::new();
    let mut size = 0;
    while more {
        let row: Vec<Value> = (0..columns).map(|column| statement.value(column)).collect();
        for (kind, value) in types.iter_mut().zip(&row) {
            if kind.is_empty() {
                type_name(value).clone_into(kind);
            }
        }
        size += row.iter().map(Value::size).sum::<usize>();
        if size > RESULT_LIMIT {
            return Err("string or blob too big".to_owned());
        }
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
