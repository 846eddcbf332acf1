use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::database::Database;
use crate::ids::{NodeId, Term};
use crate::machine::{Executor as _, Moment};
use crate::message::Command;
use crate::statement::{Outcome, Statement, Statements, Value};

const SCHEMA: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b REAL, c TEXT CHECK (c <> 'bad'),
        g AS (a || 'x'), s AS (b * 2) STORED);
    CREATE TABLE u (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE p (id INTEGER PRIMARY KEY);
    CREATE TABLE q (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE,
        d REFERENCES p DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE f (a UNIQUE ON CONFLICT FAIL);
    CREATE TABLE log (x);
    CREATE INDEX i ON log (x);
    CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END;
    CREATE TRIGGER fails BEFORE INSERT ON u WHEN new.v = 'fail' BEGIN
        INSERT INTO log VALUES ('failed'); SELECT RAISE(FAIL, 'no'); END;
    CREATE TRIGGER aborts AFTER INSERT ON u WHEN new.v = 'abort' BEGIN
        INSERT INTO log VALUES ('aborted'); SELECT RAISE(ABORT, 'no'); END;
    CREATE TRIGGER rolls BEFORE INSERT ON u WHEN new.v = 'roll' BEGIN
        INSERT INTO log VALUES ('rolled'); SELECT RAISE(ROLLBACK, 'no'); END;
    CREATE TRIGGER ignores BEFORE INSERT ON u WHEN new.v = 'ignore' BEGIN
        INSERT INTO log VALUES ('ignored'); SELECT RAISE(IGNORE); END;";

/// What is looked at: table, whether it has row ids, its columns.
const TABLES: [(&str, bool, &str); 6] = [
    ("t", true, "id, a, b, c, s"),
    ("u", false, "k, v"),
    ("p", true, "id"),
    ("q", true, "id, p, d"),
    ("f", true, "a"),
    ("log", true, "x"),
];

/// A row's id, or else the first of its values.
type Key = (i64, Option<String>);
type Content = BTreeMap<&'static str, BTreeMap<Key, Vec<Value>>>;

fn key(has_ids: bool, id: i64, row: &[Value]) -> Key {
    if has_ids {
        (id, None)
    } else {
        (0, Some(format!("{:?}", row[0])))
    }
}

/// A node's database, entry by entry.
struct Node {
    database: Database,
    index: u64,
}

impl Node {
    fn new(database: Database) -> Self {
        let index = 0;
        Self { database, index }
    }

    fn capturing(wanted: Wanted) -> Self {
        let mut node = Self::new(Database::new().unwrap());
        node.run(&shell(SCHEMA));
        node.run(&capture(&Capturing::On(wanted)));
        node
    }

    fn run(&mut self, command: &Command) -> Bytes {
        self.index += 1;
        let moment = Moment {
            time_ms: 1_000 + self.index,
            seed: self.index,
        };
        let answer = self.database.execute(moment, command).unwrap();
        self.database
            .end_entry(Index::new(self.index), moment.time_ms);
        answer
    }

    fn content(&mut self) -> Content {
        let list = TABLES.map(|(table, has_ids, columns)| {
            let id = if has_ids { "rowid" } else { "0" };
            Statement::plain(format!("SELECT {id}, {columns} FROM {table}"))
        });
        let query = Statements::query(list.to_vec());
        let answer = self.run(&Command::Statements(query.encode().into()));
        let outcomes = Outcome::decode_all(&answer).unwrap();
        let tables = TABLES.iter().zip(outcomes).map(|(table, outcome)| {
            let Outcome::Rows(rows) = outcome else {
                panic!("{outcome:?}")
            };
            let rows = rows.values.into_iter().map(|mut row| {
                let Value::Integer(id) = row.remove(0) else {
                    panic!("no id")
                };
                (key(table.1, id, &row), row)
            });
            (table.0, rows.collect())
        });
        tables.collect()
    }

    /// The groups after an entry.
    fn after(&self, index: u64) -> Vec<Group> {
        let feed = self.database.feed();
        feed.after(Index::new(index), usize::MAX, usize::MAX)
    }
}

fn shell(sql: &str) -> Command {
    Command::Shell(sql.to_owned().into())
}

fn capture(command: &Capturing) -> Command {
    Command::Capture(command.encode().into())
}

fn everything() -> Wanted {
    Wanted {
        row_ids_only: false,
        table_filter: None,
        limit: 1 << 20,
    }
}

/// Does to `content` what was taken down.
fn apply(content: &mut Content, change: &Change) -> Result<(), String> {
    let (name, has_ids, columns) = TABLES
        .into_iter()
        .find(|(name, ..)| *name == change.table)
        .ok_or("an unknown table")?;
    let expected: Vec<&str> = columns.split(", ").collect();
    if change.columns != expected || change.is_unreadable {
        return Err(format!("columns {:?}", change.columns));
    }
    let rows = content.entry(name).or_default();
    if let Some(before) = &change.before {
        let row = rows.remove(&key(has_ids, change.old_row_id, before));
        if row.as_ref() != Some(before) {
            return Err(format!("{row:?} was there before"));
        }
    }
    if let Some(after) = &change.after {
        let row = rows.insert(key(has_ids, change.new_row_id, after), after.clone());
        if row.is_some() {
            return Err(format!("{row:?} was there before"));
        }
    }
    let has = (change.before.is_some(), change.after.is_some());
    let wanted = match change.operation {
        Operation::Insert => (false, true),
        Operation::Update => (true, true),
        Operation::Delete => (true, false),
    };
    if has == wanted {
        Ok(())
    } else {
        Err("a row is missing".to_owned())
    }
}

fn statement() -> impl Strategy<Value = String> {
    let conflict = prop::sample::select(vec![
        "",
        " OR ABORT",
        " OR FAIL",
        " OR IGNORE",
        " OR REPLACE",
        " OR ROLLBACK",
    ]);
    let text = prop::sample::select(vec!["'x'", "'bad'", "NULL", "x'00ff'", "7"]);
    let kind = prop::sample::select(vec!["fail", "abort", "roll", "ignore", "ok"]);
    let name = prop::sample::select(vec!["one", "two"]);
    let (small, other) = (0..6i64, 0..6i64);
    (0..24u8, conflict, text, kind, name, small, other).prop_map(
        |(choice, or, text, kind, name, m, n)| match choice {
            0 | 1 => format!("INSERT{or} INTO t (a, b, c) VALUES ({m}, {n}, {text}), ({n}, 1.5, 'y')"),
            2 => format!("INSERT{or} INTO t (id, a, b, c) VALUES ({n}, {m}, NULL, {text})"),
            3 => format!("UPDATE{or} t SET a = a + {m}, b = b + 1"),
            4 => format!("UPDATE{or} t SET id = id + {m}, c = {text} WHERE a > {n}"),
            5 => format!("DELETE FROM t WHERE a % 2 = {m} % 2"),
            6 => "DELETE FROM t".to_owned(),
            7 | 8 => format!(
                "INSERT{or} INTO u VALUES ('{m}', 'ok'), ('{n}', '{kind}'), ('z{m}', 'ok')"
            ),
            9 => format!("INSERT INTO u VALUES ('{m}', {text}) ON CONFLICT DO UPDATE SET v = excluded.v || {n}"),
            10 => format!("UPDATE{or} u SET k = {m} WHERE v = 'ok'"),
            11 => "DELETE FROM u".to_owned(),
            12 => format!("INSERT{or} INTO p VALUES ({m}), ({n} + 10)"),
            13 => format!("INSERT{or} INTO q (p, d) VALUES ({m}, {n}), ({n}, NULL)"),
            14 => format!("UPDATE{or} p SET id = id + {m}"),
            15 => format!("DELETE FROM p WHERE id >= {m}"),
            16 => format!("INSERT INTO f VALUES ({m}), ({n}), ({m} + 1), ({m})"),
            17 => format!("INSERT INTO log SELECT x FROM log LIMIT {m}"),
            18 => "BEGIN".to_owned(),
            19 => "COMMIT".to_owned(),
            20 => format!("SAVEPOINT {name}"),
            21 => format!("RELEASE {name}"),
            22 => format!("ROLLBACK TO {name}"),
            _ => [
                "ROLLBACK",
                "PRAGMA foreign_keys = ON",
                "VACUUM",
                "ANALYZE",
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
                "CREATE TEMP TABLE IF NOT EXISTS tmp AS SELECT 1; INSERT INTO temp.tmp VALUES (2)",
            ][m as usize]
                .to_owned(),
        },
    )
}

// Tests want the hook, which the workspace's .cargo/config.toml asks for.
const _: () = assert!(IS_BUILT, "LIBSQLITE3_FLAGS lacks the preupdate hook");

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changes_make_of_the_tables_before_those_after(
        requests in prop::collection::vec(prop::collection::vec(statement(), 1..9), 1..6),
    ) {
        let mut node = Node::capturing(everything());
        let budget = crate::database::Budget { steps: 20_000, ..crate::database::Budget::default() };
        let mut writer = Writer::new();
        budget.encode(&mut writer);
        node.run(&Command::Configure(writer.finish().into()));
        let mut content = node.content();
        for request in requests {
            let (from, sql) = (node.index, request.join(";\n") + ";");
            node.run(&shell(&sql));
            let groups = node.after(from);
            prop_assert!(groups.len() <= 1);
            for group in &groups {
                prop_assert_eq!(group.index, Index::new(from + 1));
                for change in group.changes.iter().flat_map(|changes| changes.list().unwrap()) {
                    let applied = apply(&mut content, &change);
                    prop_assert!(applied.is_ok(), "{}\n{:?}\n{:?}", sql, change, applied);
                }
            }
            prop_assert_eq!(&content, &node.content(), "{}\n{:?}", sql, groups);
        }
    }
}

fn list(node: &Node, index: u64) -> Vec<Change> {
    let groups = node.after(index);
    let changes = groups.iter().flat_map(|group| &group.changes);
    changes
        .flat_map(|changes| changes.list().unwrap())
        .collect()
}

#[test]
fn a_statement_that_fails_within_a_transaction_is_not_told_and_what_it_leaves_is() {
    let mut node = Node::capturing(everything());
    let from = node.index;
    let tables = |node: &Node| -> Vec<String> {
        list(node, from)
            .into_iter()
            .map(|change| change.table)
            .collect()
    };
    node.run(&shell(
        "BEGIN; INSERT INTO p VALUES (1);
         INSERT INTO u VALUES ('a', 'abort');
         INSERT INTO p VALUES (2), (1);
         SAVEPOINT s; INSERT INTO p VALUES (3); ROLLBACK TO s; COMMIT;",
    ));
    assert_eq!(tables(&node), ["p"]);
    // It had done nothing else yet, so that no count tells of it.
    node.run(&shell(
        "BEGIN;\nINSERT INTO u VALUES ('a', 'fail');\nCOMMIT;",
    ));
    assert_eq!(tables(&node), ["p", "log"]);
}

#[test]
fn tables_are_told_as_they_were_when_they_were_changed() {
    let mut node = Node::capturing(everything());
    let from = node.index;
    node.run(&shell(
        "INSERT INTO log VALUES (1); ALTER TABLE log ADD COLUMN y DEFAULT 'd';
         UPDATE log SET x = 2; ALTER TABLE log RENAME TO other; DELETE FROM other; DROP TABLE other",
    ));
    let told: Vec<_> = list(&node, from)
        .into_iter()
        .map(|change| (change.table, change.columns.concat(), change.before))
        .collect();
    let before = |x| Some(vec![Value::Integer(x), Value::Text("d".to_owned())]);
    assert_eq!(
        told,
        [
            ("log".to_owned(), "x".to_owned(), None),
            ("log".to_owned(), "xy".to_owned(), before(1)),
            ("other".to_owned(), "xy".to_owned(), before(2)),
        ]
    );
}

#[test]
fn only_what_is_wanted_is_kept() {
    let mut node = Node::capturing(Wanted {
        row_ids_only: true,
        table_filter: Some("^(p|f)$".to_owned()),
        ..everything()
    });
    let from = node.index;
    node.run(&shell(
        "INSERT INTO p VALUES (4); INSERT INTO log VALUES (1); UPDATE p SET id = 5",
    ));
    let told = list(&node, from);
    let ids: Vec<_> = told
        .iter()
        .map(|change| (change.old_row_id, change.new_row_id))
        .collect();
    assert_eq!(ids, [(0, 4), (4, 5)]);
    assert!(
        told.iter()
            .all(|change| change.after.is_none() && change.before.is_none())
    );
    node.run(&capture(&Capturing::Off));
    node.run(&shell("INSERT INTO p VALUES (6)"));
    assert_eq!(node.database.feed().standing(), Standing::default());
    let wrong = Wanted {
        table_filter: Some("(".to_owned()),
        ..everything()
    };
    let answer = node.run(&capture(&Capturing::On(wrong)));
    let outcomes = Outcome::decode_all(&answer).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Error(_)]), "{outcomes:?}");
}

#[test]
fn a_full_queue_loses_its_oldest_entries_and_what_was_told_is_forgotten() {
    let mut node = Node::capturing(Wanted {
        limit: 1 << 16,
        ..everything()
    });
    let insert = shell("INSERT INTO log VALUES (zeroblob(20000))");
    let from = node.index;
    for _ in 0..5 {
        node.run(&insert);
    }
    let standing = node.database.feed().standing();
    assert_eq!((standing.entries, standing.lost), (3, 2));
    assert_eq!(standing.last_lost, Index::new(from + 2));
    let told = Index::new(from + 4);
    node.run(&capture(&Capturing::Delivered(told)));
    let standing = node.database.feed().standing();
    assert_eq!((standing.entries, standing.delivered), (1, told));
    // More than there is room for, in one request: it is executed all the same.
    node.run(&shell("INSERT INTO log SELECT zeroblob(20000) FROM log"));
    let standing = node.database.feed().standing();
    assert_eq!((standing.entries, standing.lost), (1, 3));
    let count = node.run(&shell("SELECT count(*) FROM log"));
    assert_eq!(&count[..], b"10\n");
}

#[test]
fn snapshots_and_files_have_the_same_queue() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Node::new(Database::on_disk(folder.path(), NodeId::new(1)).unwrap());
    let (mut memory, mut disk) = (Node::new(Database::new().unwrap()), open());
    disk.database.recall(Index::START).unwrap();
    disk.database.recalled().unwrap();
    let lost = Wanted {
        limit: 1 << 16,
        ..everything()
    };
    let commands = [
        shell(SCHEMA),
        capture(&Capturing::On(lost)),
        shell("INSERT INTO p VALUES (1); INSERT INTO p VALUES (1)"),
        shell("INSERT INTO log VALUES (zeroblob(70000))"),
        capture(&Capturing::Delivered(Index::new(3))).with_budget(2),
        shell("DELETE FROM p"),
    ];
    for command in &commands {
        memory.run(command);
        disk.run(command);
        let at = (Index::new(disk.index), Term::new(1));
        disk.database.commit(at, &[]).unwrap();
    }
    let expected = memory.database.capture.encode().unwrap();
    assert_eq!(disk.database.capture.encode().unwrap(), expected);
    // A process that starts again executes nothing, and has it.
    drop(disk);
    let mut disk = open();
    assert_eq!(
        disk.database.recall(Index::START).unwrap().len(),
        commands.len()
    );
    for command in &commands {
        disk.run(command);
    }
    disk.database.recalled().unwrap();
    assert_eq!(disk.database.capture.encode().unwrap(), expected);
    // So has a node that begins with its snapshot, and goes on with it.
    let state = crate::machine::Saved::to_bytes(&disk.database.save()).unwrap();
    let mut copy = Node::new(Database::new().unwrap());
    copy.database.restore(&state).unwrap();
    copy.index = disk.index;
    for node in [&mut copy, &mut disk] {
        node.run(&shell("INSERT INTO p VALUES (9)"));
    }
    assert_eq!(
        copy.database.capture.encode(),
        disk.database.capture.encode()
    );
    assert_eq!(copy.database.feed().standing().entries, 2);
}
