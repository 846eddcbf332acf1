//! A body of rqlite's JSON as statements.
//!
//! The body is an array; each item is SQL, or an array of SQL and positional parameters, or of SQL and
//! an object of named ones. A number with a point or an exponent, or beyond 64 bits, is REAL, to the
//! last bit what its text says; one that is too large for a REAL is refused. An array of bytes is a blob,
//! and so is text that is written as SQL writes blobs (`x'6869'`). A body of `text/plain` is one item.

use axum::http::{HeaderMap, header};
use serde_json::Value as Json;

use super::super::ApiError;
use crate::statement::{Parameters, Statement, Value};

/// The most values in a body, those of byte arrays among them. Each takes some 70 bytes while it is read.
const VALUES_LIMIT: usize = 2_000_000;

/// Of bodies that ask for nothing.
pub const NO_STATEMENTS: &str = "no statements";

/// Counts the commas between values: one less than there are values, about.
fn commas(body: &[u8]) -> usize {
    let (mut count, mut rest) = (0, body);
    while let Some(at) = memchr::memchr2(b',', b'"', rest) {
        let found = rest[at];
        rest = &rest[at + 1..];
        if found == b',' {
            count += 1;
            continue;
        }
        // To the end of the string.
        while let Some(end) = memchr::memchr2(b'"', b'\\', rest) {
            let is_end = rest[end] == b'"';
            rest = rest
                .get(end + if is_end { 1 } else { 2 }..)
                .unwrap_or_default();
            if is_end {
                break;
            }
        }
    }
    count
}

/// Whether a statement begins with a PRAGMA that changes how the database is kept, for which rqlite refuses the
/// whole request. Others like it are refused by themselves, wherever they stand.
pub fn is_disallowed(sql: &str) -> bool {
    let words = sql.trim_start();
    let (Some(pragma), Some(rest)) = (words.get(..6), words.get(6..)) else {
        return false;
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if !pragma.eq_ignore_ascii_case("pragma") || rest.starts_with(is_word) {
        return false;
    }
    let rest = rest.trim_start();
    let (first, after) = rest.split_at(rest.len() - rest.trim_start_matches(is_word).len());
    let (name, after) = match after.strip_prefix('.') {
        Some(named) => named.split_at(named.len() - named.trim_start_matches(is_word).len()),
        None => (first, after),
    };
    let sets = after.trim_start().starts_with(['=', '(']);
    match name.to_ascii_lowercase().as_str() {
        "wal_checkpoint" => true,
        "journal_mode" | "synchronous" | "query_only" | "wal_autocheckpoint" => sets,
        _ => false,
    }
}

/// What tools ask for that look at a schema (SQLAlchemy), and what they get: SQLite would tell of files, which
/// differ from node to node.
const DATABASE_LIST: (&str, &str) = (
    "PRAGMA database_list",
    "SELECT 0 AS seq, 'main' AS name, '' AS file",
);

/// Puts those questions in their places that have to have the same answer on all nodes.
pub fn settle(list: &mut [Statement]) {
    let (asked, settled) = DATABASE_LIST;
    for statement in list {
        let sql = statement.sql.trim_matches([' ', '\t', '\n', ';']);
        if sql.eq_ignore_ascii_case(asked) {
            settled.clone_into(&mut statement.sql);
        }
    }
}

/// Whether a request's body is SQL, and no JSON.
pub fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/plain")
}

/// A body that is SQL.
///
/// # Errors
///
/// 400 if it is no text, or empty.
pub fn plain(body: &[u8]) -> Result<Vec<Statement>, ApiError> {
    let sql = std::str::from_utf8(body).map_err(|error| {
        ApiError::bad(format!(
            "invalid request: the body is no UTF-8 after {} bytes",
            error.valid_up_to()
        ))
    })?;
    if sql.trim().is_empty() {
        return Err(ApiError::bad(NO_STATEMENTS));
    }
    Ok(vec![Statement::plain(sql)])
}

/// Reads a body of JSON.
///
/// # Errors
///
/// 400 with the place of what is wrong.
pub fn parse(body: &[u8]) -> Result<Vec<Statement>, ApiError> {
    if commas(body) > VALUES_LIMIT {
        return Err(ApiError::bad(format!(
            "invalid request: the body has more than {VALUES_LIMIT} values (those of byte arrays among them)"
        )));
    }
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("invalid JSON body: {error}")))?;
    let Json::Array(list) = json else {
        return Err(ApiError::bad(
            "invalid request: the body has to be a JSON array of statements",
        ));
    };
    if list.is_empty() {
        return Err(ApiError::bad(NO_STATEMENTS));
    }
    let place = |(place, item)| {
        statement(item)
            .map_err(|reason| ApiError::bad(format!("invalid request: statement {place} {reason}")))
    };
    list.into_iter().enumerate().map(place).collect()
}

fn statement(item: Json) -> Result<Statement, String> {
    let not_one = || "is neither a string nor an array that begins with one".to_owned();
    let mut parts = match item {
        Json::String(sql) => return Ok(Statement::plain(sql)),
        Json::Array(parts) => parts.into_iter(),
        _ => return Err(not_one()),
    };
    let Some(Json::String(sql)) = parts.next() else {
        return Err(not_one());
    };
    let mut values: Vec<Json> = parts.collect();
    let parameters = if let [Json::Object(named)] = values.as_mut_slice() {
        let named = std::mem::take(named).into_iter();
        let named = named.map(|(name, json)| {
            let value = value(json).map_err(|reason| format!("parameter {name} {reason}"))?;
            Ok((name, value))
        });
        Parameters::Named(named.collect::<Result<_, String>>()?)
    } else {
        let values = values.into_iter().zip(1..).map(|(json, place)| {
            value(json).map_err(|reason| format!("parameter {place} {reason}"))
        });
        Parameters::Positional(values.collect::<Result<_, String>>()?)
    };
    Ok(Statement { sql, parameters })
}

fn value(json: Json) -> Result<Value, &'static str> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Integer(i64::from(value)),
        Json::Number(value) => match value.as_i64() {
            Some(value) => Value::Integer(value),
            None => Value::Real(value.as_f64().ok_or("is no number that SQLite has")?),
        },
        Json::String(value) => match blob(&value) {
            Some(bytes) => Value::Blob(bytes),
            None => Value::Text(value),
        },
        Json::Array(bytes) => {
            let bytes = bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|b| u8::try_from(b).ok()));
            let bytes: Option<Vec<u8>> = bytes.collect();
            Value::Blob(bytes.ok_or("is an array, but not of the bytes of a blob")?)
        }
        Json::Object(_) => return Err("is an object, and not the only parameter"),
    })
}

/// The bytes of a blob literal (`x'…'` or `X'…'` with two hexadecimal digits a byte).
fn blob(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(['x', 'X'])?;
    let digits = digits.strip_prefix('\'')?.strip_suffix('\'')?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits: Option<Vec<u32>> = digits.as_bytes().iter().map(digit).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let byte = |pair: &[u32]| (pair[0] << 4 | pair[1]) as u8;
    Some(digits.chunks_exact(2).map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_typed_statements() {
        let body = br#"["SELECT 1", ["SELECT ?, ?", 9223372036854775808, [0, 255]],
                        ["SELECT :a", {"a": 0.9452706955539223}]]"#;
        let list = parse(body).unwrap();
        assert_eq!(list[0], Statement::plain("SELECT 1"));
        let positional = vec![
            Value::Real(9_223_372_036_854_775_808.0),
            Value::Blob(vec![0, 255]),
        ];
        assert_eq!(list[1].parameters, Parameters::Positional(positional));
        let named = vec![("a".to_owned(), Value::Real(0.945_270_695_553_922_3))];
        assert_eq!(list[2].parameters, Parameters::Named(named));
    }

    #[test]
    fn pragmas_that_change_how_the_database_is_kept_are_known() {
        for sql in [
            "PRAGMA journal_mode=wal",
            " pragma\tmain.Synchronous = 1",
            "PRAGMA query_only(1)",
            "PRAGMA wal_checkpoint",
            "PRAGMA wal_autocheckpoint=7",
        ] {
            assert!(is_disallowed(sql), "{sql}");
        }
        for sql in [
            "PRAGMA journal_mode",
            "PRAGMA foreign_keys=1",
            "PRAGMATIC journal_mode=1",
            "SELECT 'PRAGMA wal_checkpoint'",
            "é",
            "",
        ] {
            assert!(!is_disallowed(sql), "{sql}");
        }
    }

    #[test]
    fn text_that_is_written_as_a_blob_is_one() {
        for (text, bytes) in [
            ("x''", Some(&b""[..])),
            ("x'6869'", Some(b"hi")),
            ("X'fF00'", Some(b"\xff\0")),
            ("x'686'", None),
            ("x'68g9'", None),
            ("x'68", None),
            ("'6869'", None),
            (" x'6869'", None),
            ("x'é'", None),
        ] {
            assert_eq!(blob(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn plain_text_is_one_statement() {
        let kind = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_text(&headers)
        };
        assert!(kind("text/plain"));
        assert!(kind("Text/Plain; charset=utf-8"));
        assert!(!kind("application/json"));
        assert!(!is_text(&HeaderMap::new()));
        assert_eq!(plain(b"SELECT '[]'").unwrap()[0].sql, "SELECT '[]'");
        assert!(plain(b" \n").is_err());
        let error = plain(b"SELECT \xff").unwrap_err().to_string();
        assert!(error.contains("after 7 bytes"), "{error}");
    }

    #[test]
    fn values_are_counted_before_they_are_read() {
        for (body, count) in [
            (&br#"["a,,,", ["\",\\", 1, 2]]"#[..], 3),
            (b"[1,2,[3,4]]", 3),
            (b"\"a\\", 0),
            (b"\"\\\",\",,", 2),
            (b"", 0),
        ] {
            assert_eq!(commas(body), count, "{}", String::from_utf8_lossy(body));
        }
        let many = format!("[[\"SELECT 1\"{}]]", ",1".repeat(VALUES_LIMIT + 1));
        let error = parse(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 2000000 values"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        for (body, reason) in [
            (&b"{}"[..], "the body has to be a JSON array of statements"),
            (b"nonsense", "invalid JSON body: "),
            (b"[]", "no statements"),
            (
                b"[\"a\", 1]",
                "statement 1 is neither a string nor an array",
            ),
            (b"[[\"a\", 1, {}]]", "statement 0 parameter 2 is an object"),
            (b"[[\"a\", [256]]]", "statement 0 parameter 1 is an array"),
            (
                b"[[\"a\", {\"x\": [-1]}]]",
                "statement 0 parameter x is an array",
            ),
            (b"[[\"a\", 1e999]]", "number out of range"),
        ] {
            let error = parse(body).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
