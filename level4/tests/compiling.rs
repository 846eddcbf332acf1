//! SQL that is short and compiles for long: what views, triggers and generated columns stand for is bounded
//! before SQLite begins with them, and nothing else pays for it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod databases;

use bytes::Bytes;
use databases::{MOMENT, database, run};
use level4::database::Budget;
use level4::machine::{Executor as _, Saved as _};
use level4::message::Command;

/// Runs a test on a stack like that of the thread that applies the log.
fn on_a_nodes_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(128 * 1024 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}

/// The answers to requests, which are those of a replica that starts from a snapshot before each, with
/// the same steps.
fn on_old_and_new(script: &[String]) -> Vec<String> {
    let mut old = database();
    let both = |sql: &String| {
        let mut new = database();
        new.restore(&old.save().to_bytes().unwrap()).unwrap();
        let left = (run(&mut old, sql), old.used().steps);
        let right = (run(&mut new, sql), new.used().steps);
        assert_eq!(left, right, "{sql:.200}");
        left.0
    };
    script.iter().map(both).collect()
}

fn columns(count: usize, depth: usize, reads: impl Fn(usize) -> usize) -> String {
    let columns: Vec<String> = (0..count)
        .map(|n| format!("c{n} AS ({}c{})", "~".repeat(depth), reads(n)))
        .collect();
    format!("CREATE TABLE g (c{count}, {})", columns.join(", "))
}

/// SQLite compiles a generated column anew wherever it is read, and those that it reads within it: long
/// chains took minutes, and more stack than there was, on all nodes and again after each start.
#[test]
fn generated_columns_over_each_other_are_bounded() {
    on_a_nodes_stack(|| {
        let first = |count| move |n| if n == 0 { count } else { n - 1 };
        let answers = on_old_and_new(&[
            columns(400, 900, first(400)),
            columns(1_900, 190, |n| n + 1),
            columns(1_900, 190, first(1_900)),
            columns(40, 20, |n| n + 1),
            "INSERT INTO g VALUES (5); SELECT c0 + c39 FROM g".to_owned(),
        ]);
        assert!(
            answers[0].contains("Expression tree is too large"),
            "{answers:?}"
        );
        for answer in &answers[1..3] {
            let is_refused = answer.contains("budget exceeded") || answer.contains("out of memory");
            assert!(is_refused, "{answers:?}");
        }
        assert_eq!(answers[3..], ["", "10\n"]);
    });
}

/// The same, added one by one, or in the file that a client gives.
#[test]
fn generated_columns_are_bounded_however_they_come() {
    on_a_nodes_stack(|| {
        let add = |n: usize| {
            let column = format!("c{n} AS ({}c{})", "~".repeat(190), n - 1);
            format!("ALTER TABLE g ADD COLUMN {column};\n")
        };
        let answers = on_old_and_new(&[
            "CREATE TABLE g (c0)".to_owned(),
            (1..150).map(add).collect(),
            (150..320).map(add).collect(),
            // The longest chain that there may be.
            "INSERT INTO g VALUES (5); SELECT c300 FROM g".to_owned(),
            "ALTER TABLE g ADD COLUMN plain".to_owned(),
        ]);
        let refusal = "budget exceeded: a table with generated columns is of more than 65536 bytes";
        assert!(answers[2].contains(refusal), "{answers:?}");
        assert_eq!([&*answers[1], &*answers[3], &*answers[4]], ["", "5\n", ""]);

        let mut theirs = rusqlite::Connection::open_in_memory().unwrap();
        theirs.execute_batch(&columns(400, 190, |n| n + 1)).unwrap();
        let file = theirs.serialize("main").unwrap().to_vec();
        let mut database = database();
        let load = Command::Load(file.into());
        let answer = database.execute(MOMENT, &load).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(refusal), "{answer:.300}");
    });
}

/// A view that is named twice is put in its place twice, with all that it names, wherever it is compiled.
#[test]
fn views_that_stand_for_many_tables_are_bounded() {
    on_a_nodes_stack(|| {
        let view = |n: usize| {
            let m = n + 1;
            format!("CREATE VIEW v{m} AS SELECT x.a FROM v{n} x, v{n} y LIMIT 1;\n")
        };
        let trigger = |n: usize| {
            format!("CREATE TRIGGER r{n} AFTER INSERT ON q BEGIN SELECT a FROM v11; END;\n")
        };
        let mut database = database();
        let mut run = |steps: u64, sql: &str| {
            let budget = Budget {
                steps,
                ..Budget::default()
            };
            let command = Command::Shell(Bytes::copy_from_slice(sql.as_bytes()));
            let answer = database.run(MOMENT, budget, &command).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        };
        let views: String = (0..11).map(view).collect();
        let triggers: String = (0..3).map(trigger).collect();
        let schema = "CREATE TABLE t (a); INSERT INTO t VALUES (7); CREATE TABLE q (a);
            CREATE VIEW v0 AS SELECT a FROM t;";
        let (many, few) = (Budget::default().steps, 3_000_000);
        assert_eq!(run(many, &format!("{schema}\n{views}{triggers}")), "");
        assert_eq!(run(few, "SELECT a FROM v11 LIMIT 0"), "");
        for sql in [&*view(11), "SELECT x.a FROM v11 x, v11 y"] {
            let answer = run(many, sql);
            let broad = "budget exceeded: views stand for more than 10000 tables";
            assert!(answer.contains(broad), "{sql}: {answer}");
        }
        for sql in [
            "SELECT a FROM v11 LIMIT 0;\nSELECT a FROM v11 LIMIT 0;\nSELECT a FROM v11 LIMIT 0;",
            "INSERT INTO q VALUES (1)",
            "PRAGMA table_list",
            "SELECT count(*) FROM pragma_table_info('v11')",
            "ALTER TABLE t RENAME TO u",
        ] {
            let answer = run(few, sql);
            let steps = "budget exceeded: the request takes more than 3000000 steps";
            assert!(answer.contains(steps), "{sql}: {answer}");
        }
        assert_eq!(run(few, "SELECT count(*) FROM q"), "0\n");
    });
}

/// Programs are long in requests with many values, which cost what they cost in steps and no more.
#[test]
fn many_rows_in_one_statement_are_no_long_program() {
    let rows: Vec<String> = (0..150_000).map(|n| format!("({n}, 'abc{n}')")).collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(", "));
    let blob = "INSERT INTO t VALUES (1, zeroblob(3000000))".to_owned();
    let script = [
        "CREATE TABLE t (a, b)".to_owned(),
        insert.clone(),
        blob,
        insert,
    ];
    assert_eq!(on_old_and_new(&script), ["", "", "", ""]);
}

/// SQLite goes through nested SELECTs in the third power of their number if they are in views that it
/// has not met before.
#[test]
fn views_over_each_other_are_bounded() {
    on_a_nodes_stack(|| {
        let view = |name: usize, of: usize| {
            let (open, close) = ("SELECT * FROM (".repeat(9), " LIMIT 1)".repeat(9));
            format!("CREATE VIEW v{name} AS {open}SELECT * FROM v{of}{close};\n")
        };
        let up: String = (1..300).map(|n| view(n, n - 1)).collect();
        let down: String = (300..600).map(|n| view(n, n + 1)).collect();
        let ctes: Vec<String> = (1..200)
            .map(|n| format!("c{n} AS (SELECT * FROM c{} LIMIT 1)", n - 1))
            .collect();
        let answers = on_old_and_new(&[
            format!("CREATE VIEW v0 AS SELECT 1 AS a;\n{up}"),
            "SELECT * FROM v9".to_owned(),
            "SELECT * FROM v14".to_owned(),
            "SELECT * FROM v15".to_owned(),
            "SELECT * FROM (SELECT * FROM v14)".to_owned(),
            down,
            "SELECT name FROM pragma_table_list WHERE name = 'v599'".to_owned(),
            format!(
                "WITH c0 AS (SELECT 1), {} SELECT * FROM c199",
                ctes.join(", ")
            ),
        ]);
        let refused = "budget exceeded: SELECTs are nested more than 150 deep";
        assert!(
            answers[0].starts_with(&format!("Error: near line 16: {refused}")),
            "{answers:?}"
        );
        assert_eq!(answers[1..3], ["1\n", "1\n"]);
        assert!(answers[3].contains("no such table: v15"), "{answers:?}");
        assert_eq!(answers[4], "1\n");
        assert!(answers[5].contains(refused), "{answers:?}");
        assert!(answers[7].contains(refused), "{answers:?}");
    });
}
