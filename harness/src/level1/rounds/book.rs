//! What outlives a round: players, tokens, ratings and results, in one SQLite file.
//!
//! Tokens are kept as they are, so that they can be shown again when a server restarts; the file
//! is therefore made readable by its owner alone.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{ledger, nonce},
    elo::{self, Played},
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS player (
    name   TEXT PRIMARY KEY,
    token  TEXT NOT NULL,
    rating REAL NOT NULL,
    points INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS round (
    number     INTEGER PRIMARY KEY,
    start_s    INTEGER NOT NULL,
    duration_s INTEGER NOT NULL,
    difficulty TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS result (
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

/// What is kept between rounds.
#[derive(Debug)]
pub struct Book {
    db: Connection,
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

/// A round that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// From [`Book::next_round`].
    pub number: u64,
    /// Unix seconds.
    pub start_s: u64,
    /// Seconds.
    pub duration_s: u64,
    /// As in `difficulty.txt`.
    pub difficulty: String,
    /// Who took part, with their coins.
    pub coins: Vec<(String, u64)>,
    /// For everybody with at least one coin.
    pub bonus: u64,
    /// How many hashes a coin took on average.
    pub hashes_per_coin: f64,
}

/// A player's line in a round's ranking.
#[derive(Debug, Clone, PartialEq)]
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
}

impl Book {
    /// Opens the file, creating it if need be.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open {shown}"))?;
        let db = Connection::open(path).with_context(|| format!("cannot open {shown}"))?;
        Self::with(db).with_context(|| format!("{shown} is no database of the game"))
    }

    /// A book that is forgotten when it is dropped.
    pub fn in_memory() -> Result<Self> {
        Self::with(Connection::open_in_memory()?)
    }

    fn with(db: Connection) -> Result<Self> {
        db.execute_batch(SCHEMA)?;
        Ok(Self { db })
    }

    /// The player of that name; a new one gets a random token of 128 bits.
    pub fn join(&self, name: &str) -> Result<Player> {
        ensure!(
            ledger::is_name(name),
            "player name `{name}`: only letters, digits, `_`, space, `.`, `@` and `-` can stand in \
             a ledger"
        );
        self.db.execute(
            "INSERT INTO player (name, token, rating) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO NOTHING",
            params![name, nonce(), elo::INITIAL],
        )?;
        let mut players = self.players()?;
        players.retain(|player| player.name == name);
        players.pop().context("the player that just joined is gone")
    }

    /// Everybody, best rating first.
    pub fn players(&self) -> Result<Vec<Player>> {
        let mut query = self
            .db
            .prepare("SELECT name, token, rating, points FROM player ORDER BY rating DESC, name")?;
        let rows = query.query_map([], |row| {
            Ok(Player {
                name: row.get(0)?,
                token: row.get(1)?,
                rating: row.get(2)?,
                points: row.get::<_, i64>(3)? as u64,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of the next round, from 1.
    pub fn next_round(&self) -> Result<u64> {
        let last: i64 =
            self.db
                .query_row("SELECT coalesce(max(number), 0) FROM round", [], |row| {
                    row.get(0)
                })?;
        Ok(last as u64 + 1)
    }

    /// A player's hashes a second in the last round it took part in; `None` before its first.
    pub fn last_rate(&self, name: &str) -> Result<Option<f64>> {
        let sql = "SELECT hashes_per_s FROM result WHERE name = ?1 ORDER BY round DESC LIMIT 1";
        Ok(self
            .db
            .query_row(sql, [name], |row| row.get(0))
            .optional()?)
    }

    /// Books a round: ranking, bonus points and ratings, all or nothing.
    pub fn finish(&mut self, round: &Round) -> Result<Vec<Ranked>> {
        let mut ranking = Vec::new();
        for (name, coins) in &round.coins {
            ranking.push((self.join(name)?, *coins));
        }
        ranking.sort_by(|(a, coins_a), (b, coins_b)| {
            coins_b.cmp(coins_a).then_with(|| a.name.cmp(&b.name))
        });
        let played: Vec<_> = ranking
            .iter()
            .map(|(player, coins)| Played {
                rating: player.rating,
                coins: *coins,
            })
            .collect();
        let ratings = elo::update(&played);
        let lines: Vec<Ranked> = ranking
            .into_iter()
            .zip(ratings)
            .map(|((player, coins), rating_after)| Ranked {
                rank: 1 + played.iter().filter(|other| other.coins > coins).count(),
                name: player.name,
                coins,
                points: if coins > 0 { round.bonus } else { 0 },
                rating_before: player.rating,
                rating_after,
            })
            .collect();
        self.book(round, &lines)?;
        Ok(lines)
    }

    fn book(&mut self, round: &Round, lines: &[Ranked]) -> Result<()> {
        let transaction = self.db.transaction()?;
        let number = round.number as i64;
        transaction.execute(
            "INSERT INTO round (number, start_s, duration_s, difficulty) VALUES (?1, ?2, ?3, ?4)",
            params![
                number,
                round.start_s as i64,
                round.duration_s as i64,
                round.difficulty
            ],
        )?;
        for line in lines {
            let hashes = line.coins as f64 * round.hashes_per_coin;
            transaction.execute(
                "INSERT INTO result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    number,
                    line.name,
                    line.coins as i64,
                    line.points as i64,
                    line.rating_before,
                    line.rating_after,
                    hashes / round.duration_s.max(1) as f64,
                ],
            )?;
            transaction.execute(
                "UPDATE player SET rating = ?2, points = points + ?3 WHERE name = ?1",
                params![line.name, line.rating_after, line.points as i64],
            )?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(number: u64, coins: &[(&str, u64)]) -> Round {
        Round {
            number,
            start_s: 1_700_000_000,
            duration_s: 900,
            difficulty: "000001".into(),
            coins: coins
                .iter()
                .map(|(name, coins)| ((*name).into(), *coins))
                .collect(),
            bonus: 50,
            hashes_per_coin: 900.0,
        }
    }

    #[test]
    fn a_player_keeps_its_token_across_openings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.sqlite");
        let first = Book::open(&path).unwrap().join("ada").unwrap();
        assert_eq!(first.token.len(), 32);
        let book = Book::open(&path).unwrap();
        assert_eq!(book.join("ada").unwrap(), first);
        assert_ne!(book.join("bob").unwrap().token, first.token);
        assert!(book.join("a/b").is_err());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "not a database, but long enough to be looked at").unwrap();
        let error = format!("{:#}", Book::open(&path).unwrap_err());
        assert!(error.contains("no database of the game"), "{error}");
    }

    #[test]
    fn rounds_move_ratings_and_add_up_points() {
        let mut book = Book::in_memory().unwrap();
        assert_eq!(book.next_round().unwrap(), 1);
        let first = round(1, &[("bob", 0), ("ada", 5), ("cyd", 5)]);
        let ranking = book.finish(&first).unwrap();
        let shown: Vec<_> = ranking
            .iter()
            .map(|line| {
                (
                    line.rank,
                    line.name.as_str(),
                    line.points,
                    line.rating_after,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (1, "ada", 50, 1008.0),
                (1, "cyd", 50, 1008.0),
                (3, "bob", 0, 984.0)
            ]
        );
        assert_eq!(book.last_rate("ada").unwrap(), Some(5.0));
        assert_eq!(book.last_rate("nobody").unwrap(), None);
        book.finish(&round(2, &[("ada", 1), ("bob", 2)])).unwrap();
        assert_eq!(book.next_round().unwrap(), 3);
        let players = book.players().unwrap();
        let ada = players.iter().find(|player| player.name == "ada").unwrap();
        assert_eq!(ada.points, 100);
        assert!(ada.rating < 1008.0);
        // The same round twice is refused and changes nothing.
        assert!(book.finish(&first).is_err());
        assert_eq!(book.players().unwrap(), players);
    }
}
