//! SQL through the executor: the shell's format, fresh-process behaviour, identical replicas.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use level4::database::Database;
use level4::machine::{Executor as _, Moment};
use level4::message::Command;

const MOMENT: Moment = Moment {
    time_ms: 1_400_000_000_000,
    seed: 42,
};

fn run(database: &mut Database, sql: &str) -> String {
    let output = database.execute(
        MOMENT,
        &Command::Shell(Bytes::copy_from_slice(sql.as_bytes())),
    );
    String::from_utf8_lossy(&output).into_owned()
}

fn database() -> Database {
    Database::new().unwrap()
}

#[test]
fn output_is_the_shells_list_mode() {
    let mut db = database();
    let sql = "CREATE TABLE t (a, b REAL); INSERT INTO t VALUES (1, 0.1), (NULL, 1e20), (x'410042', 3);\n\
               SELECT * FROM t; SELECT 'x|y', 1.0/3, \"no such column\"; SELECT 'cut' || char(0) || 'off'";
    assert_eq!(
        run(&mut db, sql),
        "1|0.1\n|1.0e+20\nA|3.0\nx|y|0.333333333333333|no such column\ncut\n"
    );
    assert_eq!(run(&mut db, ""), "");
    assert_eq!(run(&mut db, "-- only a comment\n"), "");
}

#[test]
fn an_error_ends_its_line_group_and_hides_the_output() {
    let mut db = database();
    run(&mut db, "CREATE TABLE t (a UNIQUE)");
    let sql = "INSERT INTO t VALUES (1); SELEC 2; INSERT INTO t VALUES (3);\n\
               INSERT INTO t\nVALUES (1);\nSELECT * FROM t;";
    assert_eq!(
        run(&mut db, sql),
        "Error: near line 1: near \"SELEC\": syntax error\n\
         Error: near line 2: UNIQUE constraint failed: t.a\n"
    );
    assert_eq!(run(&mut db, "SELECT * FROM t"), "1\n");
    assert_eq!(
        run(&mut db, "SELECT 'open"),
        "Error: incomplete SQL: SELECT 'open;\n"
    );
}

#[test]
fn a_request_leaves_nothing_of_a_process_behind() {
    let mut db = database();
    run(&mut db, "CREATE TABLE t (a)");
    assert_eq!(
        run(
            &mut db,
            "BEGIN; INSERT INTO t VALUES (1); SELECT count(*) FROM t"
        ),
        "1\n"
    );
    assert_eq!(run(&mut db, "SELECT count(*) FROM t"), "0\n");
    let counts = "SELECT changes(), total_changes(), last_insert_rowid()";
    let insert = format!("INSERT INTO t VALUES (1), (2); {counts}");
    assert_eq!(run(&mut db, &insert), "2|2|2\n");
    assert_eq!(run(&mut db, counts), "0|0|0\n");
    run(
        &mut db,
        "CREATE TEMP TABLE s (a); PRAGMA foreign_keys = ON;",
    );
    assert_eq!(
        run(&mut db, "SELECT * FROM s"),
        "Error: near line 1: no such table: s\n"
    );
    assert_eq!(run(&mut db, "PRAGMA foreign_keys"), "0\n");
    assert_eq!(run(&mut db, "SELECT a FROM t"), "1\n2\n");
}

#[test]
fn replicas_agree_on_clock_and_chance() {
    let sql = "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP, b DEFAULT (random()), c);\
               INSERT INTO t (c) VALUES (randomblob(8)), (datetime('now'));\
               SELECT a, b, hex(c), strftime('%s') FROM t ORDER BY random();";
    let (first, second) = (run(&mut database(), sql), run(&mut database(), sql));
    assert_eq!(first, second);
    assert!(first.contains("2014-05-13 16:53:20"), "{first}");
    let mut third = database();
    let other = Moment { seed: 43, ..MOMENT };
    let output = third.execute(
        other,
        &Command::Shell(Bytes::copy_from_slice(sql.as_bytes())),
    );
    assert_ne!(first.as_bytes(), &output[..]);
}

#[test]
fn what_leaves_the_database_is_refused() {
    let mut db = database();
    for sql in [
        "ATTACH '/tmp/level4-attached' AS a",
        "VACUUM INTO '/tmp/level4-vacuumed'",
        "SELECT load_extension('x')",
        "PRAGMA journal_mode = WAL",
        "PRAGMA writable_schema = ON",
    ] {
        let output = run(&mut db, sql);
        assert!(
            output.starts_with("Error: near line 1: "),
            "{sql}: {output}"
        );
    }
    assert_eq!(run(&mut db, "CREATE TABLE t (a); VACUUM; SELECT 1"), "1\n");
}

#[test]
fn a_runaway_statement_ends_at_the_same_step() {
    let mut db = database();
    let sql = "CREATE TABLE t (a); \
               WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r;";
    assert_eq!(run(&mut db, sql), "Error: near line 1: interrupted\n");
    assert_eq!(run(&mut db, "SELECT count(*) FROM t"), "0\n");
}

#[test]
fn a_snapshot_carries_everything() {
    let mut db = database();
    run(
        &mut db,
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), ('two')",
    );
    let file = db.save().unwrap();
    let mut copy = database();
    copy.restore(&file).unwrap();
    assert_eq!(
        run(&mut copy, "INSERT INTO t VALUES (3); SELECT * FROM t"),
        "1\ntwo\n3\n"
    );
    let empty = database().save().unwrap();
    copy.restore(&empty).unwrap();
    assert_eq!(run(&mut copy, "SELECT count(*) FROM sqlite_schema"), "0\n");
}

#[test]
fn statements_speak_rqlites_json() {
    let mut db = database();
    let request = br#"{"rows": true, "statements": [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, x)",
        ["INSERT INTO t (name, x) VALUES (?, ?)", "a", [1, 2, 255]],
        ["INSERT INTO t (name, x) VALUES (:n, :x)", {"n": "b", "x": 1.5}],
        "SELECT * FROM t", "SELECT missing"]}"#;
    let output = db.execute(MOMENT, &Command::Statements(Bytes::from_static(request)));
    assert_eq!(
        String::from_utf8_lossy(&output),
        r#"[{},{"last_insert_id":1,"rows_affected":1},{"last_insert_id":2,"rows_affected":1},"#
            .to_owned()
            + r#"{"columns":["id","name","x"],"types":["integer","text","blob"],"#
            + r#""values":[[1,"a","AQL/"],[2,"b",1.5]]},{"error":"no such column: missing"}]"#
    );
    let query = br#"{"rows": true, "statements": ["DELETE FROM t"]}"#;
    assert!(String::from_utf8_lossy(&db.query(MOMENT, query)).contains("error"));
}
