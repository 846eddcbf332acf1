//! SQL through the executor: the shell's format, fresh-process behaviour, identical replicas.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use level4::database::{Budget, Database, Read, Readers};
use level4::machine::{Executor as _, Moment, Saved as _};
use level4::message::Command;
use level4::statement::{Outcome, Parameters, Rows, Statement, Statements, Value};

mod databases;

use databases::{MOMENT, database, run};

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
    assert_eq!(
        run(&mut db, "SELECT 'open\n"),
        "Error: incomplete SQL: SELECT 'open\n;\n"
    );
}

#[test]
fn lines_make_groups_as_in_the_shell_of_2014() {
    let mut db = database();
    // A semicolon on a line of its own ends no string and no trigger.
    assert_eq!(run(&mut db, "SELECT 'a\n;\nb';"), "a\n;\nb\n");
    let trigger = "CREATE TABLE t (a);\nCREATE TRIGGER r AFTER INSERT ON t BEGIN\n\
                   UPDATE t SET a = a + 1\n;\nEND;\nINSERT INTO t VALUES (1); SELECT a FROM t";
    assert_eq!(run(&mut db, trigger), "2\n");
    // A comment behind the last statement does not make it incomplete, nor joins it to the next line.
    assert_eq!(run(&mut db, "SELECT 1; -- done"), "1\n");
    assert_eq!(
        run(&mut db, "SELECT x; -- c\nSELECT y"),
        "Error: near line 1: no such column: x\nError: near line 2: no such column: y\n"
    );
    // `go` and `/` on a line of their own end a statement, or none.
    assert_eq!(run(&mut db, "SELECT 1\ngo\nSELECT 2\n/\n"), "1\n2\n");
    assert_eq!(run(&mut db, "SELECT 1;\ngo\n"), "1\n");
    // Lines may end as on Windows, and begin with blanks.
    assert_eq!(run(&mut db, "SELECT 'a\r\nb';\r\n"), "a\nb\n");
    assert_eq!(
        run(&mut db, "  SELECT 'open"),
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
    assert_ne!(first.as_bytes(), &output.unwrap()[..]);
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
        "PRAGMA database_list",
        "PRAGMA query_only = OFF",
        "ATTACH 'file:/tmp/level4-' || 'attached?vfs=unix' AS a",
        "SELECT fts3_tokenizer('simple')",
        "SELECT * FROM pragma_database_list",
    ] {
        let output = run(&mut db, sql);
        assert!(
            output.starts_with("Error: near line 1: "),
            "{sql}: {output}"
        );
    }
    assert_eq!(run(&mut db, "CREATE TABLE t (a); VACUUM; SELECT 1"), "1\n");
    let text = |text: &str| Value::Text(text.to_owned());
    for (sql, parameters) in [
        (
            "ATTACH ? AS a",
            vec![text("file:/tmp/level4-attached?vfs=unix")],
        ),
        (
            "SELECT fts3_tokenizer(?, ?)",
            vec![text("evil"), Value::Blob(vec![65; 8])],
        ),
    ] {
        let output = execute(&mut db, vec![with(sql, parameters)], false);
        assert!(
            matches!(&output[..], [Outcome::Error(reason)] if reason.contains("not authorized")),
            "{sql}: {output:?}"
        );
    }
}

fn request(list: Vec<Statement>, rows: bool) -> Statements {
    Statements {
        rows,
        ..Statements::query(list)
    }
}

/// What a reader of the database as it is now gets.
fn query(db: &Database, sql: &str) -> Vec<Outcome> {
    let readers = Readers::start().unwrap();
    let (read, answer, _wanted) = Read::new(request(vec![Statement::plain(sql)], true), 1, None);
    readers.submit(db.view(), MOMENT, read);
    answer.blocking_recv().unwrap().0
}

fn with(sql: &str, parameters: Vec<Value>) -> Statement {
    Statement {
        sql: sql.to_owned(),
        parameters: Parameters::Positional(parameters),
    }
}

/// Executes statements.
fn execute(db: &mut Database, list: Vec<Statement>, rows: bool) -> Vec<Outcome> {
    let output = db.execute(
        MOMENT,
        &Command::Statements(request(list, rows).encode().into()),
    );
    Outcome::decode_all(&output.unwrap()).unwrap()
}

const DONE: Outcome = Outcome::Done {
    last_insert_id: None,
    rows_affected: None,
};

#[test]
fn sql_ends_at_a_nul() {
    let mut db = database();
    let list = vec![
        Statement::plain("CREATE TABLE t (a)\0 nonsense"),
        Statement::plain("\0"),
    ];
    // What is nothing has no result.
    assert_eq!(execute(&mut db, list, false), [DONE]);
    assert_eq!(run(&mut db, "SELECT count(*) FROM t;\0 nonsense"), "0\n");
}

#[test]
fn readers_change_nothing() {
    let mut db = database();
    run(&mut db, "CREATE VIRTUAL TABLE f USING fts4 (a)");
    for _ in 0..5 {
        run(&mut db, "INSERT INTO f VALUES ('some words')");
    }
    let before = db.save().to_bytes().unwrap();
    for sql in [
        "SELECT optimize(f) FROM f LIMIT 1",
        "PRAGMA user_version = 3",
        "ATTACH '' AS a",
        "CREATE TEMP TABLE x (a)",
        "PRAGMA foreign_keys = ON",
        "BEGIN",
    ] {
        query(&db, sql);
        assert_eq!(db.save().to_bytes().unwrap(), before, "{sql}");
    }
    assert_eq!(run(&mut db, "PRAGMA foreign_keys"), "0\n");
}

/// A replica that has executed everything and one that starts from a snapshot must go on alike.
#[test]
fn what_a_connection_remembers_makes_no_difference() {
    let script = [
        "CREATE TABLE s (a, b, c); CREATE INDEX s_a ON s (a); CREATE INDEX s_b ON s (b)",
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 200) \
         INSERT INTO s SELECT n % 3, n % 50, n FROM r",
        "ANALYZE",
        "UPDATE sqlite_stat1 SET stat = '200 1' WHERE idx = 's_b'",
        "SELECT c FROM s WHERE a = 1 AND b > 0 AND b < 40 LIMIT 3",
        "BEGIN; ANALYZE; ROLLBACK",
        "SELECT c FROM s WHERE a = 1 AND b > 0 AND b < 40 LIMIT 3",
        "CREATE VIRTUAL TABLE temp.d USING dbstat",
        "SELECT count(*) FROM d",
        "CREATE TABLE x1 (a); CREATE TABLE x2 (a); CREATE TABLE x3 (a REFERENCES x1); DROP TABLE x2",
        "CREATE TABLE x4 (a); CREATE TABLE x5 (a REFERENCES s); ALTER TABLE x1 RENAME TO x6",
        "SELECT * FROM pragma_table_list; PRAGMA foreign_key_check; PRAGMA page_count",
        "PRAGMA integrity_check; PRAGMA case_sensitive_like = ON",
        "SELECT 'a' LIKE 'A'; DELETE FROM s WHERE c > 100; VACUUM; PRAGMA freelist_count",
    ];
    let mut old = database();
    for sql in script {
        let mut new = database();
        new.restore(&old.save().to_bytes().unwrap()).unwrap();
        assert_eq!(run(&mut old, sql), run(&mut new, sql), "{sql}");
        let (left, right) = (content(&mut old), content(&mut new));
        assert!(left == right, "the files differ after {sql}");
    }
}

/// The database file without the header's counters of changes and schema changes, which no SQL sees.
fn content(db: &mut Database) -> Vec<u8> {
    let mut file = db.view().to_vec().unwrap();
    for counter in [24..28, 40..44, 92..96] {
        file[counter].fill(0);
    }
    file
}

#[test]
fn randomblob_takes_its_length_as_sqlites_own_does() {
    let mut db = database();
    let sql = "SELECT length(randomblob(8)), length(randomblob('8')), length(randomblob(8.7)), \
               length(randomblob(NULL)), length(randomblob(-3)), length(randomblob('x'))";
    assert_eq!(run(&mut db, sql), "8|8|8|1|1|1\n");
}

#[test]
fn files_are_checked_before_they_replace_the_database() {
    let mut db = database();
    run(&mut db, "CREATE TABLE t (a); INSERT INTO t VALUES (1);");
    let mut wal = db.view().to_vec().unwrap();
    wal[18..20].fill(2);
    let mut other = database();
    let load = |db: &mut Database, file: Vec<u8>| {
        let output = db.execute(MOMENT, &Command::Load(file.into()));
        Outcome::decode_all(&output.unwrap()).unwrap()
    };
    assert_eq!(load(&mut other, wal.clone()), [DONE]);
    assert_eq!(run(&mut other, "SELECT a FROM t"), "1\n");
    // The table's page: its content is not that of a table any more.
    wal[4096..4200].fill(0x5a);
    assert!(matches!(&load(&mut db, wal)[..], [Outcome::Error(_)]));
    assert_eq!(run(&mut db, "SELECT a FROM t"), "1\n");
}

#[test]
fn a_runaway_statement_ends_at_the_same_step() {
    let mut db = database();
    let sql = "CREATE TABLE t (a); \
               WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r;";
    let output = run(&mut db, sql);
    assert!(
        output.starts_with("Error: near line 1: budget exceeded: the request takes more than"),
        "{output}"
    );
    assert_eq!(run(&mut db, "SELECT count(*) FROM t"), "0\n");
}

#[test]
fn a_snapshot_carries_everything() {
    let mut db = database();
    run(
        &mut db,
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), ('two')",
    );
    let file = db.save().to_bytes().unwrap();
    let mut copy = database();
    copy.restore(&file).unwrap();
    assert_eq!(
        run(&mut copy, "INSERT INTO t VALUES (3); SELECT * FROM t"),
        "1\ntwo\n3\n"
    );
    let empty = database().save().to_bytes().unwrap();
    copy.restore(&empty).unwrap();
    assert_eq!(run(&mut copy, "SELECT count(*) FROM sqlite_schema"), "0\n");
}

#[test]
fn statements_give_rows_and_counts() {
    let mut db = database();
    let named = Parameters::Named(vec![
        ("n".to_owned(), Value::Text("b".to_owned())),
        ("x".to_owned(), Value::Real(1.5)),
    ]);
    let list = vec![
        Statement::plain("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, x)"),
        with(
            "INSERT INTO t (name, x) VALUES (?, ?)",
            vec![Value::Text("a".to_owned()), Value::Blob(vec![1, 2, 255])],
        ),
        Statement {
            sql: "INSERT INTO t (name, x) VALUES (:n, :x)".to_owned(),
            parameters: named,
        },
        Statement::plain("SELECT * FROM t"),
        Statement::plain("SELECT missing"),
    ];
    let inserted = |id| Outcome::Done {
        last_insert_id: Some(id),
        rows_affected: Some(1),
    };
    let row = |id, name: &str, x| vec![Value::Integer(id), Value::Text(name.to_owned()), x];
    let rows = Rows {
        columns: ["id", "name", "x"].map(str::to_owned).to_vec(),
        types: ["integer", "text", "blob"].map(str::to_owned).to_vec(),
        values: vec![
            row(1, "a", Value::Blob(vec![1, 2, 255])),
            row(2, "b", Value::Real(1.5)),
        ],
    };
    assert_eq!(
        execute(&mut db, list, true),
        [
            DONE,
            inserted(1),
            inserted(2),
            Outcome::Rows(rows),
            Outcome::Error("no such column: missing".to_owned()),
        ]
    );
    assert!(matches!(
        &query(&db, "DELETE FROM t")[..],
        [Outcome::Error(_)]
    ));
}

#[test]
fn a_transaction_is_the_requests_own() {
    let mut db = database();
    run(&mut db, "CREATE TABLE t (a UNIQUE)");
    let count = |db: &mut Database| run(db, "SELECT count(*) FROM t");
    for word in [
        "COMMIT",
        "END",
        "ROLLBACK",
        "BEGIN",
        "commit transaction",
        "SELECT 1; COMMIT",
        "INSERT OR ROLLBACK INTO t VALUES (1)",
    ] {
        let list = [
            "INSERT INTO t VALUES (1)",
            word,
            "INSERT INTO t VALUES (2)",
            "nonsense",
        ];
        let request = Statements {
            list: list.map(Statement::plain).to_vec(),
            transaction: true,
            rows: false,
            qualified: false,
            foreign_keys: false,
        };
        let command = Command::Statements(request.encode().into());
        let outcomes = Outcome::decode_all(&db.execute(MOMENT, &command).unwrap()).unwrap();
        assert_eq!(outcomes.len(), 2, "{word}: {outcomes:?}");
        assert!(
            matches!(outcomes[1], Outcome::Error(_)),
            "{word}: {outcomes:?}"
        );
        assert_eq!(count(&mut db), "0\n", "{word}");
    }
    // Savepoints are within it.
    let list = [
        "SAVEPOINT s",
        "INSERT INTO t VALUES (1)",
        "ROLLBACK TO s",
        "RELEASE s",
    ];
    let request = Statements {
        list: list.map(Statement::plain).to_vec(),
        transaction: true,
        rows: false,
        qualified: false,
        foreign_keys: false,
    };
    let command = Command::Statements(request.encode().into());
    let outcomes = Outcome::decode_all(&db.execute(MOMENT, &command).unwrap()).unwrap();
    assert!(
        !outcomes.iter().any(|one| matches!(one, Outcome::Error(_))),
        "{outcomes:?}"
    );
    assert_eq!(count(&mut db), "0\n");
}

/// The check of a loaded file evaluates the file's own expressions: with the request's chance, and within
/// its budget.
#[test]
fn the_check_of_a_loaded_file_is_guarded() {
    let file = |sql: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // By the system's files: the process's usual ones are in memory.
        let flags = rusqlite::OpenFlags::default();
        let sqlite = rusqlite::Connection::open_with_flags_and_vfs(&path, flags, c"unix").unwrap();
        sqlite.execute_batch(sql).unwrap();
        drop(sqlite);
        std::fs::read(&path).unwrap()
    };
    let load = |db: &mut Database, file: &[u8], seed| {
        let moment = Moment { seed, ..MOMENT };
        let command = Command::Load(Bytes::copy_from_slice(file));
        Outcome::decode_all(&db.execute(moment, &command).unwrap()).unwrap()
    };
    database();
    let chance = file(
        "CREATE TABLE t (a, CHECK (random() > -9000000000000000000)); INSERT INTO t VALUES (1)",
    );
    let (mut first, mut second) = (database(), database());
    // One of the two has drawn before.
    run(
        &mut first,
        "SELECT random(), random(); CREATE TABLE x AS SELECT 1 a, 2 a, 3 a, 4 a, 5 a",
    );
    for seed in 0..20 {
        assert_eq!(
            load(&mut first, &chance, seed),
            load(&mut second, &chance, seed)
        );
        assert_eq!(
            run(&mut first, "SELECT * FROM t"),
            run(&mut second, "SELECT * FROM t")
        );
    }
    let costly = file(
        "CREATE TABLE t (a, CHECK (length(replace(hex(zeroblob(a)), '0', 'abc')) > 0));
         WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 50) INSERT INTO t SELECT 1 FROM r;
         PRAGMA ignore_check_constraints = ON; UPDATE t SET a = 25000",
    );
    let little = Budget {
        steps: 100_000,
        ..Budget::default()
    };
    let answer = first.run(MOMENT, little, &Command::Load(costly.into()));
    let outcomes = Outcome::decode_all(&answer.unwrap()).unwrap();
    assert!(
        matches!(&outcomes[..], [Outcome::Error(reason)] if reason.contains("budget exceeded")),
        "{outcomes:?}"
    );
}

#[test]
fn like_and_its_relatives_are_sqlites() {
    let mut db = database();
    let sqlite = rusqlite::Connection::open_in_memory().unwrap();
    let texts = [
        "''",
        "'a'",
        "'aXb'",
        "'ABC'",
        "'%_'",
        "'äöü€'",
        "x'4100ff'",
        "12.50",
        "NULL",
        "'a[b'",
        "'  x '",
        "char(0)||'a'",
    ];
    let patterns = [
        "'a%'", "'%'", "'_X_'", "'\\%\\_'", "'*[ax]*'", "'[^a]?*'", "'ä%€'", "'a[[]b'", "''",
        "' '", "x'41'", "NULL", "'x'",
    ];
    for text in texts {
        for pattern in patterns {
            let sql = format!(
                "SELECT {text} LIKE {pattern}, {text} LIKE {pattern} ESCAPE '\\', {text} GLOB {pattern}, \
                 instr({text}, {pattern}), hex(replace({text}, {pattern}, 'yz')), hex(trim({text}, {pattern})), \
                 hex(ltrim({text}, {pattern})), hex(rtrim({text})), typeof(replace({text}, {pattern}, 1))"
            );
            let expected = sqlite
                .query_row(&sql, [], |row| {
                    (0..9)
                        .map(|column| {
                            Ok(match row.get::<_, rusqlite::types::Value>(column)? {
                                rusqlite::types::Value::Integer(number) => number.to_string(),
                                rusqlite::types::Value::Text(text) => text,
                                _ => String::new(),
                            })
                        })
                        .collect::<Result<Vec<_>, _>>()
                })
                .unwrap();
            assert_eq!(run(&mut db, &sql), expected.join("|") + "\n", "{sql}");
        }
    }
    assert_eq!(
        run(
            &mut db,
            "PRAGMA case_sensitive_like = ON; SELECT 'a' LIKE 'A', 'a' LIKE 'a'"
        ),
        "0|1\n"
    );
    assert_eq!(run(&mut db, "SELECT 'a' LIKE 'A'"), "1\n");
}

#[test]
fn ordinary_work_on_many_rows_is_within_the_budget() {
    let mut db = database();
    let fill = "CREATE TABLE t (a, b); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 100000) \
                INSERT INTO t SELECT n, 'some text of usual length ' || n FROM r";
    for sql in [
        fill,
        "CREATE INDEX i ON t (b)",
        "SAVEPOINT s; UPDATE t SET a = a + 1; UPDATE t SET b = b || 'x' WHERE a % 2; RELEASE s",
        "CREATE TABLE u AS SELECT b FROM t ORDER BY b DESC, a",
        "DELETE FROM t WHERE a % 3 = 0",
        "VACUUM",
    ] {
        assert_eq!(run(&mut db, sql), "", "{sql}");
    }
    assert_eq!(run(&mut db, "SELECT count(*) FROM u"), "100000\n");
}

/// Loads, VACUUM, CREATE INDEX and REINDEX have to go through everything: they may take more than another
/// request, and an error names the budget that was not enough.
#[test]
fn work_on_a_whole_database_has_a_budget_of_its_own() {
    let mut db = database();
    let fill = "CREATE TABLE t (a, b); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) \
                INSERT INTO t SELECT n, 'some text of usual length ' || n FROM r; CREATE INDEX i ON t (b)";
    assert_eq!(run(&mut db, fill), "");
    let shell = |sql: &str| Command::Shell(Bytes::copy_from_slice(sql.as_bytes()));
    let bulk = "VACUUM, CREATE INDEX or REINDEX";
    let file = db.view().to_vec().unwrap();
    let load = Command::Load(file.clone().into());
    for (command, name) in [
        (shell("CREATE INDEX j ON t (b || a)"), bulk),
        (shell("VACUUM"), bulk),
        (shell("REINDEX"), bulk),
        (load.clone(), "the load"),
    ] {
        let with = |steps: u64| {
            let mut db = database();
            db.execute(MOMENT, &load).unwrap();
            let budget = Budget {
                steps,
                ..Budget::default()
            };
            let answer = db.run(MOMENT, budget, &command).unwrap();
            (
                String::from_utf8_lossy(&answer).into_owned(),
                db.used().steps,
            )
        };
        let (_, takes) = with(Budget::default().steps);
        let (answer, _) = with(takes / 2);
        assert!(!answer.contains("budget exceeded"), "{answer}");
        let (answer, _) = with(takes / 8);
        let limit = takes / 8 * 4;
        let error = format!("budget exceeded: {name} takes more than {limit} steps");
        assert!(answer.contains(&error), "{answer}");
    }
    // It is not charged to the rest of the request, and all of it together.
    let (steps, usual) = (500_000, Budget::default());
    let budget = Budget { steps, ..usual };
    let mut twice = |sql: &str| {
        let answer = db.run(MOMENT, budget, &shell(sql)).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(twice("REINDEX; SELECT 1; SELECT 2"), "1\n2\n");
    let error = format!(
        "budget exceeded: {bulk} takes more than {} steps",
        4 * steps
    );
    assert!(twice(&"REINDEX; SELECT 1; ".repeat(40)).contains(&error));
    // Memory is that of a request and of some copies of the database, and no more.
    let little = Budget {
        memory: 1 << 20,
        ..Budget::default()
    };
    let index = shell("CREATE INDEX j ON t (printf('%.20000c', 'x') || a)");
    let answer = db.run(MOMENT, little, &index).unwrap();
    let limit = (1 << 20) + 4 * file.len();
    let error = format!("budget exceeded: {bulk} takes more than {limit} bytes of memory");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(&error), "{answer}");
}

/// A block that a budget does not allow is not there: none of our functions may take it for one. `instr`
/// once asked a copy that had not been made for its length, and that was the end of all nodes.
#[test]
fn a_budget_may_end_within_any_function() {
    let mut db = database();
    let shell = |sql: String| Command::Shell(sql.into());
    for expression in [
        "instr(z, n)",
        "instr(CAST(z AS BLOB), n)",
        "instr(CAST(z AS BLOB), CAST(n AS BLOB))",
        "length(replace(z, 'x', 'yy'))",
        "length(trim(z, n || 'x'))",
        "length(ltrim(z, z))",
        "length(rtrim(z, n))",
        "z LIKE '%' || n",
        "z GLOB '*' || n",
        "z = n COLLATE NOCASE",
        "z = n COLLATE RTRIM",
        "length(randomblob(length(z)))",
    ] {
        let sql = format!(
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r), \
             v(z) AS MATERIALIZED (SELECT printf('%.4000c', 'x')) SELECT sum({expression}) FROM r, v"
        );
        for place in 0..120 {
            let steps = 30_000 + 97 * place;
            let memory = Budget::default().memory;
            for (steps, memory) in [(steps, memory), (60_000, 100 * place + 6_000)] {
                let budget = Budget {
                    steps,
                    memory,
                    ..Budget::default()
                };
                let answer = db.run(MOMENT, budget, &shell(sql.clone())).unwrap();
                let answer = String::from_utf8_lossy(&answer);
                assert!(answer.contains("budget exceeded"), "{expression}: {answer}");
            }
        }
    }
}
