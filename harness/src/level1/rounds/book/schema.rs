//! The tables of the book, and how a book of an earlier version becomes one of this.

use anyhow::{Result, ensure};
use rusqlite::{Connection, TransactionBehavior};

/// Marks a database as the game's (`PRAGMA application_id`): "gitc".
const APPLICATION: i32 = 0x6769_7463;

/// The version of the tables (`PRAGMA user_version`). 0 is that of the first books, which were not
/// marked and had no coins.
const VERSION: i32 = 2;

const PLAYERS_AND_RESULTS: &str = "
CREATE TABLE player (
    name   TEXT PRIMARY KEY,
    token  TEXT NOT NULL,
    rating REAL NOT NULL,
    points INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE round (
    number     INTEGER PRIMARY KEY,
    start_s    INTEGER NOT NULL,
    duration_s INTEGER NOT NULL,
    difficulty TEXT NOT NULL
) STRICT;
CREATE TABLE result (
    round         INTEGER NOT NULL REFERENCES round (number),
    name          TEXT NOT NULL REFERENCES player (name),
    coins         INTEGER NOT NULL,
    points        INTEGER NOT NULL,
    rating_before REAL NOT NULL,
    rating_after  REAL NOT NULL,
    hashes_per_s  REAL NOT NULL,
    PRIMARY KEY (round, name)
) STRICT;
";

/// A round without `end_s` is being played, or its host has gone. Coins are also those of bots.
const COINS: &str = "
ALTER TABLE round ADD COLUMN bonus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE round ADD COLUMN hashes_per_coin REAL NOT NULL DEFAULT 0;
ALTER TABLE round ADD COLUMN end_s INTEGER;
ALTER TABLE round ADD COLUMN note TEXT;
UPDATE round SET end_s = start_s + duration_s;
CREATE TABLE entrant (
    round INTEGER NOT NULL REFERENCES round (number),
    name  TEXT NOT NULL REFERENCES player (name),
    PRIMARY KEY (round, name)
) STRICT;
INSERT INTO entrant SELECT round, name FROM result;
CREATE TABLE coin (
    round     INTEGER NOT NULL REFERENCES round (number),
    time_ms   INTEGER NOT NULL,
    name      TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (round, commit_id)
) STRICT;
";

/// Makes the tables, or brings them up to date; always writes, so that a book that cannot be
/// written is found out before a round and not behind it.
///
/// # Errors
/// The database is somebody else's, or a later version's, or cannot be written.
pub fn prepare(db: &mut Connection) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        None => {
            transaction.execute_batch(PLAYERS_AND_RESULTS)?;
            transaction.execute_batch(COINS)?;
        }
        Some(0) => transaction.execute_batch(COINS)?,
        Some(_) => {}
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    // A header that is set to what it was is not written; a table is.
    transaction.execute_batch("CREATE TABLE written (at); DROP TABLE written")?;
    Ok(transaction.commit()?)
}

/// Fails unless the database can be read as it is.
pub fn expect_current(db: &Connection) -> Result<()> {
    match version(db)? {
        None => anyhow::bail!("it is empty"),
        Some(VERSION) => Ok(()),
        Some(_) => anyhow::bail!("it is of an earlier version: play or serve with it once"),
    }
}

/// The version of the game's tables; none where there are no tables at all.
fn version(db: &Connection) -> Result<Option<i32>> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == APPLICATION {
        ensure!(
            version <= VERSION,
            "it was made by a later version of the harness (tables {version}, known {VERSION})"
        );
        return Ok(Some(version));
    }
    let mut query = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = query.query_map([], |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    if names.is_empty() && application == 0 {
        return Ok(None);
    }
    // What every first book has, and few others.
    let first = db.prepare(
        "SELECT hashes_per_s, rating_before, start_s, difficulty, token
         FROM result, round, player LIMIT 0",
    );
    ensure!(
        application == 0 && version == 0 && first.is_ok(),
        "it holds something else"
    );
    Ok(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_book_gets_the_later_tables_and_keeps_its_rounds() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(PLAYERS_AND_RESULTS).unwrap();
        db.execute_batch(
            "INSERT INTO player VALUES ('ada', 't', 1010.0, 50);
             INSERT INTO round VALUES (1, 100, 60, '00');
             INSERT INTO result VALUES (1, 'ada', 3, 50, 1000.0, 1010.0, 5.0);",
        )
        .unwrap();
        assert!(expect_current(&db).is_err());
        prepare(&mut db).unwrap();
        prepare(&mut db).unwrap();
        expect_current(&db).unwrap();
        let ended: i64 = db
            .query_row("SELECT end_s FROM round NATURAL JOIN entrant", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(ended, 160);
    }

    #[test]
    fn the_database_of_something_else_is_left_alone() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE player (name); CREATE TABLE round (number)")
            .unwrap();
        let error = prepare(&mut db).unwrap_err().to_string();
        assert!(error.contains("something else"), "{error}");
        let tables: i64 = db
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 2);

        let mut later = Connection::open_in_memory().unwrap();
        prepare(&mut later).unwrap();
        later.pragma_update(None, "user_version", 99).unwrap();
        let error = prepare(&mut later).unwrap_err().to_string();
        assert!(error.contains("later version"), "{error}");
    }
}
