//! Statements with parameters, answered in rqlite's JSON.
//!
//! A request is `{"statements": [...], "transaction": bool, "rows": bool, "blob_array": bool,
//! "timings": bool}`, each statement a string, or an array of SQL and positional parameters, or of SQL
//! and an object of named ones. With `rows`, statements that give rows return them; without, everything
//! returns counts. Blobs are given in base64, or with `blob_array` as arrays of their bytes. With
//! `timings` each result says how long it took, in seconds.

use std::time::Instant;

use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};

use super::sqlite::{Script, Statement, Value};

/// Rows beyond this are refused, bytes of JSON or so.
const RESULT_LIMIT: usize = 64 * 1024 * 1024;

/// Runs a request and gives the array of results.
pub fn run(connection: &Connection, request: &[u8], read_only: bool) -> Vec<u8> {
    let request: Json = serde_json::from_slice(request).unwrap_or_default();
    let rows = request["rows"] == true;
    let blob_array = request["blob_array"] == true;
    // The one thing in an answer that differs from node to node.
    let timings = request["timings"] == true;
    let transaction = request["transaction"] == true;
    let mut results = Vec::new();
    let mut failed = false;
    if transaction {
        failed = connection.execute_batch("BEGIN").is_err();
    }
    for statement in request["statements"].as_array().into_iter().flatten() {
        let start = Instant::now();
        let result = run_one(connection, statement, rows.then_some(blob_array), read_only);
        failed = result.is_err();
        let mut result = result.unwrap_or_else(|message| json!({ "error": message }));
        if timings {
            result["time"] = start.elapsed().as_secs_f64().into();
        }
        results.push(result);
        if transaction && failed {
            break;
        }
    }
    if transaction {
        let end = if failed { "ROLLBACK" } else { "COMMIT" };
        if let Err(error) = connection.execute_batch(end)
            && !failed
        {
            results.push(json!({ "error": error.to_string() }));
        }
    }
    Json::Array(results).to_string().into_bytes()
}

fn run_one(
    connection: &Connection,
    statement: &Json,
    rows: Option<bool>,
    read_only: bool,
) -> Result<Json, String> {
    let (sql, parameters): (&str, &[Json]) = match statement {
        Json::String(sql) => (sql, &[]),
        Json::Array(parts) => match parts.split_first() {
            Some((Json::String(sql), parameters)) => (sql, parameters),
            _ => return Err("a statement's array begins with its SQL".to_owned()),
        },
        _ => return Err("a statement is a string or an array".to_owned()),
    };
    let mut script = Script::new(sql.as_bytes());
    let mut result = json!({});
    while let Some(mut statement) = script.next(connection)? {
        let before = connection.total_changes();
        if read_only && !statement.is_read_only() {
            return Err("attempt to change database via query operation".to_owned());
        }
        bind(&mut statement, parameters)?;
        result = if let Some(blob_array) = rows
            && statement.columns() > 0
        {
            fetch(&mut statement, blob_array)?
        } else {
            while statement.step()? {}
            drop(statement);
            let mut counts = Map::new();
            let last = connection.last_insert_rowid();
            if last != 0 {
                counts.insert("last_insert_id".to_owned(), last.into());
            }
            // Only the statement's own rows, without those of triggers and foreign keys.
            if connection.total_changes() != before {
                counts.insert("rows_affected".to_owned(), connection.changes().into());
            }
            Json::Object(counts)
        };
    }
    Ok(result)
}

fn bind(statement: &mut Statement, parameters: &[Json]) -> Result<(), String> {
    let count = statement.parameters();
    if let [Json::Object(named)] = parameters {
        for place in 1..=count {
            let name = statement.parameter_name(place);
            let value = named.get(name.get(1..).unwrap_or_default());
            let value = value.ok_or_else(|| format!("parameter {name} has no value"))?;
            statement.bind(place, &to_value(value)?)?;
        }
        return Ok(());
    }
    if parameters.len() < count {
        return Err(format!(
            "not enough args to execute query: want {count} got {}",
            parameters.len()
        ));
    }
    for (place, value) in (1..=count).zip(parameters) {
        statement.bind(place, &to_value(value)?)?;
    }
    Ok(())
}

fn to_value(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Integer(i64::from(*value)),
        Json::Number(value) => match value.as_i64() {
            Some(value) => Value::Integer(value),
            None => Value::Real(value.as_f64().unwrap_or_default()),
        },
        Json::String(value) => Value::Text(value.clone()),
        // rqlite takes blobs as arrays of bytes.
        Json::Array(bytes) => {
            let bytes = bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|b| u8::try_from(b).ok()));
            let bytes: Option<Vec<u8>> = bytes.collect();
            Value::Blob(bytes.ok_or("an array parameter holds the bytes of a blob")?)
        }
        Json::Object(_) => return Err("a parameter cannot be an object".to_owned()),
    })
}

fn fetch(statement: &mut Statement, blob_array: bool) -> Result<Json, String> {
    let columns = statement.columns();
    let names: Vec<String> = (0..columns).map(|column| statement.name(column)).collect();
    let mut types: Vec<String> = (0..columns)
        .map(|column| statement.declared_type(column).to_lowercase())
        .collect();
    let mut values = Vec::new();
    let mut size = 0;
    while statement.step()? {
        let row: Vec<Value> = (0..columns).map(|column| statement.value(column)).collect();
        for (kind, value) in types.iter_mut().zip(&row) {
            if kind.is_empty() {
                type_name(value).clone_into(kind);
            }
        }
        size += row
            .iter()
            .map(|value| match value {
                Value::Text(text) => text.len() + 8,
                Value::Blob(bytes) => bytes.len() * 4 / 3 + 8,
                _ => 12,
            })
            .sum::<usize>();
        if size > RESULT_LIMIT {
            return Err("string or blob too big".to_owned());
        }
        let row = row.into_iter().map(|value| to_json(value, blob_array));
        values.push(Json::Array(row.collect()));
    }
    let mut result = json!({ "columns": names, "types": types });
    if !values.is_empty() {
        result["values"] = Json::Array(values);
    }
    Ok(result)
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

fn to_json(value: Value, blob_array: bool) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(value) => value.into(),
        Value::Real(value) => value.into(),
        Value::Text(value) => value.into(),
        Value::Blob(value) if blob_array => value.into(),
        Value::Blob(value) => base64(&value).into(),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    text
}
