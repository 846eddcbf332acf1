//! What can be read from a book: players, rounds, results, coins.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde::Serialize;

use super::{BUSY_TIME, schema};

/// A book that is read.
#[derive(Debug)]
pub struct Records {
    pub(super) db: Connection,
}

/// A player as the book knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Player {
    /// The name in the ledger.
    pub name: String,
    /// The password over HTTP.
    pub token: String,
    /// Elo.
    pub rating: f64,
    /// Bonus points of all rounds.
    pub points: u64,
}

/// A round with its result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// From 1.
    pub number: u64,
    /// Unix seconds.
    pub start_s: u64,
    /// Unix seconds; earlier than planned for a round that was cut short.
    pub end_s: u64,
    /// As planned, in seconds.
    pub duration_s: u64,
    /// As in `difficulty.txt`.
    pub difficulty: String,
    /// For everybody with at least one coin.
    pub bonus_points: u64,
    /// What was unusual about it.
    pub note: Option<String>,
    /// The ranking, best first.
    pub results: Vec<Ranked>,
}

/// A player's line in a round's ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// 1 for the winner; ties share a rank.
    pub rank: usize,
    /// The player.
    pub name: String,
    /// Coins in this round.
    pub coins: u64,
    /// Bonus points of this round.
    pub points: u64,
    /// Elo before the round.
    pub rating_before: f64,
    /// Elo after it.
    pub rating_after: f64,
    /// When its last coin landed, in Unix milliseconds; not known for rounds of the first books.
    pub last_coin_ms: Option<u64>,
}

/// A coin of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coin {
    /// When it landed, in Unix milliseconds.
    pub time_ms: u64,
    /// Whose it is; perhaps a bot's.
    pub name: String,
    /// The commit's id.
    pub commit: String,
}

/// Everybody's rating after a round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rated {
    /// The round.
    pub round: u64,
    /// The player.
    pub name: String,
    /// Elo before the round.
    pub before: f64,
    /// Elo after the round.
    pub rating: f64,
}

impl Records {
    /// Opens a book for reading only, while perhaps somebody else plays with it.
    ///
    /// # Errors
    /// There is none, or it is not of this version.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("cannot open {shown}"))?;
        db.busy_timeout(BUSY_TIME)?;
        schema::expect_current(&db).with_context(|| format!("{shown} is no book of the game"))?;
        Ok(Self { db })
    }

    /// Everybody, best rating first.
    pub fn players(&self) -> Result<Vec<Player>> {
        let sql = "SELECT name, token, rating, points FROM player ORDER BY rating DESC, name";
        let mut query = self.db.prepare(sql)?;
        let rows = query.query_map([], |row| {
            Ok(Player {
                name: row.get(0)?,
                token: row.get(1)?,
                rating: row.get(2)?,
                points: unsigned(row, 3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of the next round, from 1.
    pub fn next_round(&self) -> Result<u64> {
        let sql = "SELECT coalesce(max(number), 0) + 1 FROM round";
        Ok(self.db.query_row(sql, [], |row| unsigned(row, 0))?)
    }

    /// A player's hashes a second in the last round it took part in, of those that were played for
    /// half of their time at least; `None` before its first.
    pub fn last_rate(&self, name: &str) -> Result<Option<f64>> {
        let sql = "SELECT hashes_per_s FROM result JOIN round ON number = round
                   WHERE name = ?1 AND 2 * (end_s - start_s) >= duration_s
                   ORDER BY round DESC LIMIT 1";
        let rate = self.db.query_row(sql, [name], |row| row.get(0));
        Ok(rate.optional()?)
    }

    /// The last rounds that are over, at most so many, latest first.
    pub fn rounds(&self, count: u32) -> Result<Vec<Round>> {
        let sql = "SELECT number, start_s, end_s, duration_s, difficulty, bonus, note FROM round
                   WHERE end_s IS NOT NULL ORDER BY number DESC LIMIT ?1";
        let mut query = self.db.prepare(sql)?;
        let rounds = query.query_map([count], round_of)?;
        let rounds = rounds.collect::<rusqlite::Result<Vec<_>>>()?;
        rounds
            .into_iter()
            .map(|round| self.with_results(round))
            .collect()
    }

    /// A round that is over, by its number.
    pub fn round(&self, number: u64) -> Result<Option<Round>> {
        let sql = "SELECT number, start_s, end_s, duration_s, difficulty, bonus, note FROM round
                   WHERE end_s IS NOT NULL AND number = ?1";
        // A number that SQLite cannot hold is no round's.
        let Ok(number) = i64::try_from(number) else {
            return Ok(None);
        };
        let round = self.db.query_row(sql, [number], round_of).optional()?;
        round.map(|round| self.with_results(round)).transpose()
    }

    fn with_results(&self, mut round: Round) -> Result<Round> {
        let sql = "SELECT name, coins, points, rating_before, rating_after,
                          (SELECT max(time_ms) FROM coin
                           WHERE coin.round = result.round AND coin.name = result.name)
                   FROM result WHERE round = ?1 ORDER BY coins DESC, name";
        let mut query = self.db.prepare_cached(sql)?;
        let rows = query.query_map([round.number as i64], |row| {
            Ok(Ranked {
                rank: 0,
                name: row.get(0)?,
                coins: unsigned(row, 1)?,
                points: unsigned(row, 2)?,
                rating_before: row.get(3)?,
                rating_after: row.get(4)?,
                last_coin_ms: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
            })
        })?;
        let mut results = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let coins: Vec<u64> = results.iter().map(|line| line.coins).collect();
        for line in &mut results {
            line.rank = 1 + coins.partition_point(|&other| other > line.coins);
        }
        round.results = results;
        Ok(round)
    }

    /// A round's coins as they landed, the bots' among them.
    pub fn coins(&self, round: u64) -> Result<Vec<Coin>> {
        let sql = "SELECT time_ms, name, commit_id FROM coin WHERE round = ?1
                   ORDER BY time_ms, rowid";
        let mut query = self.db.prepare(sql)?;
        let rows = query.query_map([round as i64], |row| {
            Ok(Coin {
                time_ms: unsigned(row, 0)?,
                name: row.get(1)?,
                commit: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Everybody's ratings after the last rounds, at most so many, earliest first.
    pub fn course(&self, rounds: u32) -> Result<Vec<Rated>> {
        let sql = "SELECT round, name, rating_before, rating_after FROM result
                   WHERE round IN (SELECT DISTINCT round FROM result ORDER BY round DESC LIMIT ?1)
                   ORDER BY round, name";
        let mut query = self.db.prepare(sql)?;
        let rows = query.query_map([rounds], |row| {
            Ok(Rated {
                round: unsigned(row, 0)?,
                name: row.get(1)?,
                before: row.get(2)?,
                rating: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// The row of a round, without its results.
fn round_of(row: &Row<'_>) -> rusqlite::Result<Round> {
    Ok(Round {
        number: unsigned(row, 0)?,
        start_s: unsigned(row, 1)?,
        end_s: unsigned(row, 2)?,
        duration_s: unsigned(row, 3)?,
        difficulty: row.get(4)?,
        bonus_points: unsigned(row, 5)?,
        note: row.get(6)?,
        results: Vec::new(),
    })
}

/// A number that was put in as one without sign.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
