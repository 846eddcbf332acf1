//! The tables of the history, and how an older file becomes one of today's.
//!
//! `PRAGMA user_version` is the number of the form. A file of a higher number is left alone.

use rusqlite::{Connection, TransactionBehavior};

/// The form that this harness reads and writes.
const SCHEMA: u32 = 1;

/// What makes a form of the one before it; the first makes one of an empty file.
const STEPS: [&str; SCHEMA as usize] = ["
    CREATE TABLE result (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        level INTEGER,
        stage INTEGER,
        name TEXT NOT NULL,
        solution TEXT NOT NULL,
        verdict TEXT NOT NULL,
        score REAL,
        unit TEXT,
        result TEXT NOT NULL,
        run TEXT NOT NULL
    ) STRICT;
    CREATE TABLE recording (
        result INTEGER PRIMARY KEY REFERENCES result (id) ON DELETE CASCADE,
        packed BLOB NOT NULL
    ) STRICT;
"];

/// Makes the tables that are missing. The inner error is the number of a form of the future.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> rusqlite::Result<Result<(), u32>> {
    connection.pragma_update(None, "foreign_keys", true)?;
    let found = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    // Asked without a lock first: usually there is nothing to do.
    match found(connection)? {
        SCHEMA => return Ok(Ok(())),
        schema if schema > SCHEMA => return Ok(Err(schema)),
        _ => {}
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let schema = found(&transaction)?;
    for step in STEPS.iter().skip(schema as usize) {
        transaction.execute_batch(step)?;
    }
    if schema < SCHEMA {
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    Ok(if schema > SCHEMA { Err(schema) } else { Ok(()) })
}

/// Keeps the latest results, and the recordings of the latest of these.
pub(super) fn prune(
    connection: &Connection,
    results: u32,
    recordings: u32,
) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM recording WHERE result NOT IN \
         (SELECT result FROM recording ORDER BY result DESC LIMIT ?1)",
        [recordings],
    )?;
    connection.execute(
        "DELETE FROM result WHERE id NOT IN (SELECT id FROM result ORDER BY id DESC LIMIT ?1)",
        [results],
    )?;
    Ok(())
}
