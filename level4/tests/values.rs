//! Values through the real HTTP interface and back, against the bits that SQLite itself holds, and
//! columns against a fresh SQLite while the schema changes under the readers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Node, cluster};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rusqlite::types::Value as Sqlite;
use serde_json::{Value as Json, json};

fn post(node: &Node, path: &str, body: &Json) -> Json {
    let body = body.to_string();
    let (status, text) = node.request("POST", path, "", body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The bytes of a body, which the client of the other tests reads as text.
fn bytes(node: &Node, path: &str) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    answer.split_off(head.unwrap() + 4)
}

/// A backup as a database of a plain SQLite.
fn backup(node: &Node) -> (tempfile::NamedTempFile, rusqlite::Connection) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes(node, "/db/backup")).unwrap();
    let connection = rusqlite::Connection::open(file.path()).unwrap();
    (file, connection)
}

fn value() -> impl Strategy<Value = Sqlite> {
    prop_oneof![
        3 => any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(Sqlite::Real),
        3 => (-1e6..1e6).prop_map(Sqlite::Real),
        2 => any::<i64>().prop_map(Sqlite::Integer),
        2 => any::<String>().prop_map(Sqlite::Text),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Sqlite::Blob),
        1 => Just(Sqlite::Null),
    ]
}

fn to_json(value: &Sqlite) -> Json {
    match value {
        Sqlite::Null => Json::Null,
        Sqlite::Integer(value) => (*value).into(),
        Sqlite::Real(value) => (*value).into(),
        Sqlite::Text(value) => value.clone().into(),
        Sqlite::Blob(value) => value.clone().into(),
    }
}

/// Equal, to the last bit.
fn same(left: &Sqlite, right: &Sqlite) -> bool {
    match (left, right) {
        (Sqlite::Real(left), Sqlite::Real(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

#[test]
fn every_value_arrives_bit_for_bit_and_comes_back_so() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE f (id INTEGER PRIMARY KEY, v)");
    let mut runner = TestRunner::deterministic();
    let values: Vec<Sqlite> = (0..4_000)
        .map(|_| value().new_tree(&mut runner).unwrap().current())
        .collect();
    for (part, chunk) in values.chunks(500).enumerate() {
        let insert = |(place, value): (usize, &Sqlite)| {
            json!([
                "INSERT INTO f VALUES (?, ?)",
                part * 500 + place,
                to_json(value)
            ])
        };
        let body: Vec<Json> = chunk.iter().enumerate().map(insert).collect();
        let reply = post(&node, "/db/execute", &body.into());
        assert!(!reply.to_string().contains("error"), "{reply}");
    }
    let (_file, sqlite) = backup(&node);
    let reply = post(
        &node,
        "/db/query?blob_array",
        &json!(["SELECT v FROM f ORDER BY id"]),
    );
    let rows = reply["results"][0]["values"].as_array().unwrap();
    assert_eq!(rows.len(), values.len());
    let mut stored = sqlite.prepare("SELECT v FROM f ORDER BY id").unwrap();
    let mut stored = stored.query([]).unwrap();
    for (value, row) in values.iter().zip(rows) {
        let held: Sqlite = stored.next().unwrap().unwrap().get(0).unwrap();
        assert!(same(&held, value), "{value:?} is stored as {held:?}");
        // Written as JSON by the same library, a value is the same text only if it has the same bits.
        assert_eq!(row[0].to_string(), to_json(value).to_string());
    }
}

#[test]
fn text_of_a_loaded_file_comes_as_it_is_in_any_encoding() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        let sqlite = rusqlite::Connection::open(&file).unwrap();
        sqlite
            .execute_batch(&format!(
                "PRAGMA encoding = '{encoding}'; CREATE TABLE t (a TEXT, b);
                 INSERT INTO t VALUES ('grüße €😀', x'00ff'), ('a' || char(0) || 'b', 1.5)"
            ))
            .unwrap();
        drop(sqlite);
        let node = Node::start(&root.path().join("0"), "127.0.0.1:0", None);
        let loaded = node.request("POST", "/db/load", "", &std::fs::read(&file).unwrap());
        assert_eq!(loaded.unwrap().1, r#"{"results":[]}"#);
        post(
            &node,
            "/db/execute",
            &json!([["INSERT INTO t VALUES (?, ?)", "später ☃", [1, 2]]]),
        );
        let sql = "SELECT a, b, instr(a, '€'), replace(a, 'ß', 'ss'), a LIKE '%😀' FROM t";
        for path in ["/db/query?level=none", "/db/query", "/db/request"] {
            let reply = post(
                &node,
                &format!(
                    "{path}{}blob_array",
                    if path.contains('?') { '&' } else { '?' }
                ),
                &json!([sql]),
            );
            assert_eq!(
                reply["results"][0]["values"],
                json!([
                    ["grüße €😀", [0, 255], 7, "grüsse €😀", 1],
                    ["a\0b", 1.5, 0, "a\0b", 0],
                    ["später ☃", [1, 2], 0, "später ☃", 0]
                ]),
                "{encoding} {path}"
            );
        }
        assert!(
            node.sql("SELECT a FROM t LIMIT 1")
                .ends_with("\ngrüße €😀\n")
        );
    }
}

/// What a fresh SQLite says of the table: its columns, and its rows as JSON.
fn expected(sqlite: &rusqlite::Connection, sql: &str) -> (Json, Json) {
    let mut statement = sqlite.prepare(sql).unwrap();
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([]).unwrap();
    let mut values = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let row = (0..columns.len()).map(|column| to_json(&row.get(column).unwrap()));
        values.push(Json::Array(row.collect()));
    }
    (columns.into(), values.into())
}

#[test]
fn columns_and_values_are_of_one_execution_whatever_changes_in_between() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let sqlite = rusqlite::Connection::open_in_memory().unwrap();
    let change = |node: &Node, sql: &str| {
        let body = json!([sql]);
        let reply = post(node, "/db/execute", &body);
        let ours = !reply.to_string().contains("error");
        assert_eq!(sqlite.execute_batch(sql).is_ok(), ours, "{sql}: {reply}");
    };
    change(&nodes[0], "CREATE TABLE z (a, b)");
    let changes = [
        "DROP TABLE z; CREATE TABLE z (b TEXT, a INTEGER)",
        "DROP TABLE z; CREATE TABLE z (a, b, c)",
        "DROP TABLE z; CREATE TABLE z (x)",
        "ALTER TABLE z ADD COLUMN n DEFAULT 7",
        "ALTER TABLE z RENAME COLUMN a TO renamed",
        "ALTER TABLE z RENAME COLUMN b TO a",
        "ALTER TABLE z DROP COLUMN b",
        "ALTER TABLE z DROP COLUMN a",
        "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT *, 1 AS one FROM z",
        "DROP VIEW IF EXISTS v",
        "INSERT INTO z DEFAULT VALUES",
        "UPDATE z SET rowid = rowid + 1; VACUUM",
    ];
    let mut runner = TestRunner::deterministic();
    let mut pick = |below: usize| (0..below).new_tree(&mut runner).unwrap().current();
    for round in 0..80 {
        let place = pick(3);
        change(&nodes[place], changes[pick(changes.len())]);
        let sql = "SELECT * FROM z";
        let (columns, values) = expected(&sqlite, sql);
        // `none` is as of now only on the node that took the change.
        let reads = [
            (place, "/db/query?level=none"),
            (pick(3), "/db/query?level=weak"),
            (pick(3), "/db/query?level=linearizable"),
            (pick(3), "/db/query?level=strong"),
            (pick(3), "/db/request"),
        ];
        for (node, path) in reads {
            let reply = post(&nodes[node], path, &json!([sql]));
            let result = &reply["results"][0];
            assert_eq!(
                result["columns"], columns,
                "round {round}, {path} of {node}"
            );
            let got = result.get("values").cloned().unwrap_or(json!([]));
            assert_eq!(got, values, "round {round}, {path} of {node}");
            let types = result["types"].as_array().unwrap();
            assert_eq!(types.len(), columns.as_array().unwrap().len());
        }
        let shell = nodes[pick(3)].sql(sql);
        let width = columns.as_array().unwrap().len();
        for line in shell.lines().skip(1) {
            assert_eq!(line.split('|').count(), width, "round {round}: {shell}");
        }
    }
}
