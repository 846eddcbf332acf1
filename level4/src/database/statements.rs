//! Executes typed statements with parameters.

use std::time::{Duration, Instant};

use super::engine::meter;
use super::engine::statement::{Script, Statement as Prepared};
use super::guard::Seen;
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
    let mut kept = None;
    let mut list = request.list.iter().peekable();
    while let Some(statement) = list.next() {
        let start = Instant::now();
        let repeats = list.peek().is_some_and(|next| next.sql == statement.sql);
        let result = run_one(work, statement, request, read_only, &mut kept, repeats);
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

/// A statement that has been run, and is run again as the next one.
struct Kept<'c> {
    prepared: Prepared<'c>,
    seen: Seen,
}

/// How SQL begins that changes rows, and does nothing while it is compiled.
const CHANGING: [&str; 4] = ["INSERT", "REPLACE", "UPDATE", "DELETE"];

/// Whether SQL changes rows.
fn is_changing(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default();
    CHANGING
        .iter()
        .any(|changing| word.eq_ignore_ascii_case(changing))
}

/// Runs a statement, which `kept` is if there is one. It is kept if `repeats` says that the next one has the same text:
/// that is decided by the request alone, so that all replicas compile the same.
fn run_one<'c>(
    work: &Work<'c>,
    statement: &crate::statement::Statement,
    request: &Statements,
    read_only: bool,
    kept: &mut Option<Kept<'c>>,
    repeats: bool,
) -> Result<Option<Outcome>, String> {
    if let Some(mut again) = kept.take() {
        work.again(statement.sql.as_bytes(), &again.seen)?;
        let outcome = execute(work, &mut again.prepared, statement, request)?;
        *kept = repeats.then_some(again);
        return Ok(Some(outcome));
    }
    let mut script = Script::new(statement.sql.as_bytes());
    let mut result = None;
    while let Some((mut prepared, seen)) = work.compile(&mut script, !request.transaction)? {
        if read_only && !prepared.is_read_only() {
            return Err("attempt to change database via query operation".to_owned());
        }
        let is_first = result.is_none();
        result = Some(execute(work, &mut prepared, statement, request)?);
        let is_all = is_first && script.rest().is_empty();
        if repeats && is_all && seen.is_plain() && is_changing(&statement.sql) {
            *kept = Some(Kept { prepared, seen });
            break;
        }
    }
    Ok(result)
}

/// Runs a statement that has been compiled.
fn execute(
    work: &Work,
    prepared: &mut Prepared,
    statement: &crate::statement::Statement,
    request: &Statements,
) -> Result<Outcome, String> {
    let connection = work.connection;
    let before = connection.total_changes();
    bind(prepared, &statement.parameters)?;
    let gives_rows = prepared.columns() > 0 && (request.rows || !prepared.is_read_only());
    if gives_rows {
        let rows = fetch(prepared, request.qualified)?;
        prepared.finish();
        return Ok(Outcome::Rows(rows));
    }
    while prepared.step()? {}
    prepared.finish();
    let last = connection.last_insert_rowid();
    // Only the statement's own rows, without those of triggers and foreign keys.
    let changed = connection.total_changes() != before;
    Ok(Outcome::Done {
        last_insert_id: (last != 0).then_some(last),
        rows_affected: changed.then(|| connection.changes()),
    })
}

fn bind(statement: &mut Prepared, parameters: &Parameters) -> Result<(), String> {
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

fn fetch(statement: &mut Prepared, qualified: bool) -> Result<Rows, String> {
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
        if values.is_empty() {
            for (kind, value) in types.iter_mut().zip(&row) {
                if kind.is_empty() {
                    type_name(value).clone_into(kind);
                }
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

#[cfg(test)]
mod tests {
    use super::super::{Capturing, Database, capture::Wanted};
    use super::*;
    use crate::machine::{Executor as _, Moment};
    use crate::message::Command;
    use crate::statement::Statement;
    use bytes::Bytes;
    use proptest::prelude::*;

    const KINDS: [&str; 9] = [
        "INSERT INTO t VALUES (?, ?)",
        "INSERT OR REPLACE INTO t VALUES (?, ?) RETURNING a, b",
        "UPDATE t SET b = ?2 WHERE a <= ?1",
        "DELETE FROM t WHERE a = ?",
        "INSERT INTO t VALUES (?, ?); UPDATE t SET b = b + 1",
        "INSERT INTO u VALUES (?, ?, ?)",
        "CREATE TRIGGER IF NOT EXISTS r AFTER INSERT ON t BEGIN UPDATE t SET b = b + 100 WHERE a = new.a - 1; END",
        "SELECT sum(a), sum(b) FROM t",
        "PRAGMA foreign_keys = 1",
    ];

    /// The same statement, but for the case of its first letter.
    fn other_case(sql: &str) -> String {
        let (first, rest) = sql.split_at(1);
        first.to_lowercase() + rest
    }

    /// Answer, content and changes after these; statements differ from those before them if `are_apart`.
    fn results(
        runs: &[(usize, Vec<(i64, i64)>)],
        (transaction, rows, foreign_keys, captures): (bool, bool, bool, bool),
        are_apart: bool,
    ) -> (Bytes, Vec<u8>, u64, u64) {
        let mut database = Database::new().unwrap();
        let mut run = |seed, command: &Command| {
            let moment = Moment { time_ms: 5, seed };
            database.execute(moment, command).unwrap()
        };
        let made = "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE CHECK (b < 300)); \
            CREATE TABLE u (a, b REFERENCES t (a) ON DELETE CASCADE)";
        run(1, &Command::Shell(made.into()));
        if captures {
            let wanted = Wanted {
                row_ids_only: false,
                table_filter: None,
                limit: 1 << 20,
            };
            run(2, &Command::Capture(Capturing::On(wanted).encode().into()));
        }
        let mut list = Vec::new();
        for (kind, parameters) in runs {
            for &(a, b) in parameters {
                let sql = if are_apart && list.len() % 2 == 1 {
                    other_case(KINDS[*kind])
                } else {
                    KINDS[*kind].to_owned()
                };
                let values = vec![Value::Integer(a), Value::Integer(b)];
                list.push(Statement {
                    sql,
                    parameters: Parameters::Positional(values),
                });
            }
        }
        let request = Statements {
            list,
            transaction,
            rows,
            qualified: false,
            foreign_keys,
        };
        let answer = run(3, &Command::Statements(request.encode().into()));
        let (changes, steps) = (database.changes(), database.used().steps);
        let content = database.view().to_vec().unwrap();
        (answer, content, changes, steps)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn statements_that_come_again_do_what_they_would_if_each_was_compiled(
            runs in prop::collection::vec(
                (0..KINDS.len(), prop::collection::vec((0..9i64, 0..250i64), 1..6)), 1..8,
            ),
            options: (bool, bool, bool, bool),
        ) {
            let (kept, apart) = (results(&runs, options, false), results(&runs, options, true));
            prop_assert_eq!(kept.0, apart.0);
            prop_assert!(kept.1 == apart.1, "the contents differ");
            prop_assert_eq!(kept.2, apart.2);
            // What stands behind a statement, if anything does, is looked at once.
            prop_assert!(kept.3 <= apart.3, "{} steps, {} apart", kept.3, apart.3);
        }
    }
}
