//! The environment fails at every single call that a request makes of it: no answer may differ.

use bytes::Bytes;

use super::engine::meter::{self, Failure};
use super::{Budget, Database, DatabaseError};
use crate::machine::{Executor as _, Moment, Saved as _};
use crate::message::Command;
use crate::statement::{Statement, Statements};

const MOMENT: Moment = Moment {
    time_ms: 1_400_000_000_000,
    seed: 7,
};

fn shell(sql: &str) -> Command {
    Command::Shell(Bytes::copy_from_slice(sql.as_bytes()))
}

/// A database to begin with.
fn start() -> Vec<u8> {
    let mut database = Database::new().unwrap();
    let sql = "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c UNIQUE);
        CREATE VIEW v AS SELECT a, b FROM t;
        WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 60)
        INSERT INTO t SELECT n, zeroblob(300), 'c' || n FROM r";
    assert_eq!(database.execute(MOMENT, &shell(sql)).unwrap(), Bytes::new());
    database.save().to_bytes().unwrap()
}

fn commands() -> Vec<Command> {
    let statements = Statements {
        list: vec![
            Statement::plain("UPDATE t SET b = randomblob(400)"),
            Statement::plain("INSERT INTO t VALUES (NULL, 1, 'c1')"),
        ],
        transaction: true,
        rows: true,
        qualified: false,
        foreign_keys: false,
    };
    let mut file = Database::new().unwrap();
    let table = shell("CREATE TABLE l (a CHECK (a > 0)); INSERT INTO l VALUES (1), (2)");
    file.execute(MOMENT, &table).unwrap();
    vec![
        shell(
            "INSERT INTO t SELECT a + 100, hex(b), c || 'x' FROM t ORDER BY b DESC; SELECT * FROM v",
        ),
        shell("UPDATE t SET b = zeroblob(9000) WHERE a % 7 = 0; DELETE FROM t WHERE c LIKE '%3'"),
        shell("CREATE INDEX i ON t (b); CREATE TABLE u AS SELECT c FROM t; DROP TABLE t"),
        shell("DELETE FROM t WHERE a > 30; VACUUM"),
        shell("SELECT count(DISTINCT b), group_concat(c) FROM t GROUP BY a % 3 ORDER BY 2"),
        shell(
            "SELECT instr(c, 'c'), instr(b, c), instr(b, x'00'), replace(c, 1, b), trim(c, b), ltrim(c, 'c'), \
             rtrim(c, 1), c LIKE b, c GLOB 'c*', c = 'C7' COLLATE NOCASE, randomblob(9) FROM t",
        ),
        Command::Statements(statements.encode().into()),
        Command::Load(file.view().to_vec().unwrap().into()),
    ]
}

#[test]
fn a_failing_environment_is_never_an_answer() {
    let start = start();
    let failures = [Failure::Missing, Failure::Damaged];
    for (command, failure) in commands()
        .into_iter()
        .flat_map(|command| failures.map(|failure| (command.clone(), failure)))
    {
        if failure == Failure::Damaged && matches!(command, Command::Load(_)) {
            // Nobody could tell it from damage that the client's file has.
            continue;
        }
        let run = |place: u64| {
            let mut database = Database::new().unwrap();
            database.restore(&start).unwrap();
            meter::fail_at(place, failure);
            let answer = database.execute(MOMENT, &command);
            let calls = meter::fail_at(0, failure);
            (answer, database, calls)
        };
        let (expected, mut database, calls) = run(0);
        let expected = expected.unwrap();
        let content = database.save().to_bytes().unwrap();
        assert!(calls > 4, "only {calls} calls");
        // Every call where there are few, and a spread of them where there are many.
        let step = (calls / 1500).max(1) as usize;
        for place in (1..=calls).step_by(step) {
            match run(place) {
                (Ok(answer), mut database, _) => {
                    assert!(answer == expected, "{command:?} at call {place}");
                    assert!(
                        database.save().to_bytes().unwrap() == content,
                        "{command:?} at call {place}"
                    );
                }
                (Err(DatabaseError::Environment(_)), ..) => {}
                (Err(error), ..) => panic!("{command:?} at call {place}: {error}"),
            }
        }
        // And after all that, a replica that starts again is equal.
        let (again, mut database, _) = run(0);
        assert_eq!(again.unwrap(), expected);
        assert!(database.save().to_bytes().unwrap() == content);
    }
}

/// What a damaged file of a client's makes SQLite say is the same on all nodes: no node ends of it.
#[test]
fn a_loaded_file_may_be_damaged() {
    let mut origin = Database::new().unwrap();
    let sql = "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c); CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID;
        WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300)
        INSERT INTO t SELECT n, 'b' || n, zeroblob(n * 9) FROM r; INSERT INTO w SELECT b, c FROM t";
    origin.execute(MOMENT, &shell(sql)).unwrap();
    let whole = origin.view().to_vec().unwrap();
    let mut taken = 0;
    let mut state = 1;
    for _ in 0..100 {
        let mut file = whole.clone();
        for _ in 0..2 {
            let (next, number) = super::engine::random::next(state);
            state = next;
            let place = number as usize % file.len();
            file[place] ^= 1 << (number >> 60 & 7);
        }
        let mut database = Database::new().unwrap();
        let loaded = database
            .execute(MOMENT, &Command::Load(file.into()))
            .unwrap();
        let outcomes = crate::statement::Outcome::decode_all(&loaded).unwrap();
        taken += u32::from(!matches!(
            outcomes[..],
            [crate::statement::Outcome::Error(_)]
        ));
        for sql in [
            "SELECT count(*), sum(length(b)), max(c) FROM t; SELECT sum(length(v)) FROM w",
            "UPDATE t SET b = b || 'x'; DELETE FROM w WHERE k LIKE '%7'",
            "DROP TABLE t; PRAGMA integrity_check; VACUUM",
        ] {
            let mut copy = Database::new().unwrap();
            copy.restore(&database.save().to_bytes().unwrap()).unwrap();
            let answer = database.execute(MOMENT, &shell(sql)).unwrap();
            assert_eq!(copy.execute(MOMENT, &shell(sql)).unwrap(), answer);
        }
    }
    assert!(taken > 3, "only {taken} were taken");
}

/// A replica that has done much, one that starts anew, and one whose cache is full of other pages agree
/// on which budget is exceeded, where, and on what is left behind.
#[test]
fn the_verdict_on_a_budget_is_the_same_whatever_a_node_did_before() {
    let start = start();
    let sql = "INSERT INTO t SELECT a + 1000, hex(randomblob(3000)), c || 'y' FROM t ORDER BY b, c;
        SELECT a, length(b) FROM t;
        UPDATE t SET b = b || b WHERE c LIKE '%1%y';
        SELECT count(*), sum(length(b)) FROM v;
        CREATE INDEX k ON t (b || c);
        CREATE TABLE q (a);
        CREATE TRIGGER twice AFTER INSERT ON q WHEN new.a < 10 BEGIN
            INSERT INTO q VALUES (new.a + 1); INSERT INTO q VALUES (new.a + 1); END;
        PRAGMA recursive_triggers = ON;
        INSERT INTO q VALUES (1);
        ALTER TABLE q RENAME TO r;
        INSERT INTO r VALUES (5);
        VACUUM";
    let mut old = Database::new().unwrap();
    let mut verdicts = std::collections::BTreeSet::new();
    for number in 0..60u64 {
        let budget = Budget {
            steps: if number % 2 == 0 {
                number * 1_500
            } else {
                10_000_000
            },
            memory: if number % 2 == 1 {
                number * 40_000
            } else {
                100_000_000
            },
            answer: 100 + number * 20,
            ..Budget::default()
        };
        let mut fresh = Database::new().unwrap();
        fresh.restore(&start).unwrap();
        old.restore(&start).unwrap();
        for other in [
            "SELECT * FROM v",
            "SELECT count(*) FROM t, t x",
            "DELETE FROM t WHERE a = -1",
        ] {
            old.execute(MOMENT, &shell(other)).unwrap();
        }
        let mut fed = Database::new().unwrap();
        fed.restore(&old.save().to_bytes().unwrap()).unwrap();
        let first = fresh.run(MOMENT, budget, &shell(sql)).unwrap();
        let used = fresh.used();
        for other in [&mut old, &mut fed] {
            assert_eq!(
                first,
                other.run(MOMENT, budget, &shell(sql)).unwrap(),
                "{budget:?}"
            );
            assert_eq!(used, other.used(), "{budget:?}");
        }
        assert!(content(&mut fresh) == content(&mut old), "{budget:?}");
        verdicts.insert(first);
    }
    assert!(
        verdicts.len() > 3,
        "only {} different answers",
        verdicts.len()
    );
}

/// SQLite keeps what each way of triggers into each other works with. Many ways cost memory; many rows do not.
#[test]
fn triggers_within_triggers_are_charged_for_what_is_kept() {
    let budget = Budget {
        memory: 8_000_000,
        ..Budget::default()
    };
    let rows = "CREATE TABLE log (a);
        CREATE TRIGGER notes AFTER INSERT ON log BEGIN UPDATE log SET a = new.a WHERE rowid = new.rowid; END;
        CREATE TRIGGER also AFTER UPDATE ON log BEGIN DELETE FROM log WHERE a < 0; END;
        WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300) INSERT INTO log SELECT n FROM r;
        SELECT count(*) FROM log";
    let ways = |triggers| {
        let change = |n| format!("INSERT INTO q{n} VALUES (new.a);");
        let trigger = |n| {
            let (table, changes) = (format!("CREATE TABLE q{n} (a);"), change(n + 1).repeat(2));
            format!("{table} CREATE TRIGGER r{n} AFTER INSERT ON q{n} BEGIN {changes} END;")
        };
        let schema: String = (0..triggers).map(trigger).collect();
        format!(
            "{schema} CREATE TABLE q{triggers} (a); INSERT INTO q0 VALUES (1); SELECT count(*) FROM q{triggers}"
        )
    };
    let mut answers = [rows.to_owned(), ways(8), ways(12)].map(|sql| {
        let answer = Database::new().unwrap().run(MOMENT, budget, &shell(&sql));
        String::from_utf8_lossy(&answer.unwrap()).into_owned()
    });
    assert!(
        answers[2].contains("more than 8000000 bytes of memory"),
        "{}",
        answers[2]
    );
    answers[2].clear();
    assert_eq!(answers, ["300\n", "256\n", ""]);
}

/// The file without the header's counters of changes, which no SQL sees.
fn content(database: &mut Database) -> Vec<u8> {
    let mut file = database.view().to_vec().unwrap();
    for counter in [24..28, 40..44, 92..96] {
        file[counter].fill(0);
    }
    file
}
