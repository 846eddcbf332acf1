//! The book of the game: players, tokens, ratings, and every round with every coin, in one SQLite
//! file.
//!
//! A round is entered when it begins, each coin when it lands, the result when the round ends. So
//! a host that is killed loses nothing: whoever opens the book next [settles](Book::settle) the
//! round with the coins that landed. Tokens are kept as they are, so that they can be shown again
//! when a server restarts; the file is therefore made readable by its owner alone.

mod lock;
mod records;
mod schema;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension, params};

pub use records::{Coin, Player, Ranked, Rated, Records, Round};

use super::{
    super::{nonce, player_name},
    elo::{self, Played},
};
use lock::Lock;

/// How long a write waits for readers, and a reader for a write.
const BUSY_TIME: Duration = Duration::from_secs(10);

/// The book in the hands of the host, who alone writes into it.
#[derive(Debug)]
pub struct Book {
    records: Records,
    _lock: Option<Lock>,
}

/// A round that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// From [`Records::next_round`].
    pub number: u64,
    /// Unix seconds.
    pub start_s: u64,
    /// As planned, in seconds.
    pub duration_s: u64,
    /// As in `difficulty.txt`.
    pub difficulty: String,
    /// How many hashes a coin takes on average.
    pub hashes_per_coin: f64,
    /// For everybody with at least one coin.
    pub bonus: u64,
    /// Who takes part; all have [joined](Book::join).
    pub players: Vec<String>,
}

impl Book {
    /// Opens the book for a host, creating it if need be.
    ///
    /// # Errors
    /// Another host has it, it is no book of the game, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        // Opening a pipe would wait for whoever writes to it.
        if let Ok(meta) = fs::metadata(path) {
            ensure!(meta.is_file(), "{shown} is not a file");
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open {shown}"))?;
        let lock = Lock::take(path)?;
        // By its whole path, since SQLite takes one that begins with `file:` for a URI.
        let real = fs::canonicalize(path).with_context(|| format!("cannot resolve {shown}"))?;
        let db = Connection::open(real).with_context(|| format!("cannot open {shown}"))?;
        Self::with(db, Some(lock)).with_context(|| format!("cannot use {shown} as the game's book"))
    }

    /// A book that is forgotten when it is dropped.
    pub fn in_memory() -> Result<Self> {
        Self::with(Connection::open_in_memory()?, None)
    }

    fn with(mut db: Connection, lock: Option<Lock>) -> Result<Self> {
        db.busy_timeout(BUSY_TIME)?;
        schema::prepare(&mut db)?;
        Ok(Self {
            records: Records { db },
            _lock: lock,
        })
    }

    /// What is in it.
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// The player of that name; a new one gets a random token of 128 bits.
    ///
    /// # Errors
    /// Nobody may be called so.
    pub fn join(&self, name: &str) -> Result<Player> {
        player_name::check(name).with_context(|| format!("player {name:?}"))?;
        self.records.db.execute(
            "INSERT INTO player (name, token, rating) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO NOTHING",
            params![name, nonce(), elo::INITIAL],
        )?;
        let mut players = self.records.players()?;
        players.retain(|player| player.name == name);
        players.pop().context("the player that just joined is gone")
    }

    /// Enters a round that begins.
    pub fn begin(&mut self, round: &Opening) -> Result<()> {
        let transaction = self.records.db.transaction()?;
        let number = round.number as i64;
        transaction.execute(
            "INSERT INTO round (number, start_s, duration_s, difficulty, bonus, hashes_per_coin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                number,
                round.start_s as i64,
                round.duration_s as i64,
                round.difficulty,
                round.bonus as i64,
                round.hashes_per_coin,
            ],
        )?;
        for name in &round.players {
            transaction.execute(
                "INSERT INTO entrant (round, name) VALUES (?1, ?2)",
                params![number, name],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Enters a coin that landed; one that is there already changes nothing.
    pub fn coin(&self, round: u64, coin: &Coin) -> Result<()> {
        self.records.db.execute(
            "INSERT INTO coin (round, time_ms, name, commit_id) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![round as i64, coin.time_ms as i64, coin.name, coin.commit],
        )?;
        Ok(())
    }

    /// The rounds that began and have no result: their host was killed.
    pub fn unfinished(&self) -> Result<Vec<u64>> {
        let sql = "SELECT number FROM round WHERE end_s IS NULL ORDER BY number";
        let mut query = self.records.db.prepare(sql)?;
        let rows = query.query_map([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Ends a round whose host was killed, at its last coin.
    pub fn settle(&mut self, round: u64) -> Result<Round> {
        let sql = "SELECT coalesce(max(time_ms) / 1000, start_s) FROM round
                   LEFT JOIN coin ON round = number WHERE number = ?1";
        let end: i64 = self
            .records
            .db
            .query_row(sql, [round as i64], |row| row.get(0))?;
        self.finish(round, end as u64, Some("the host was gone before its end"))
    }

    /// Ends a round: ranking, bonus points and ratings from the coins that were entered, all or
    /// nothing. `end_s` is the time in Unix seconds, `note` what was unusual.
    ///
    /// # Errors
    /// There is no such round, or it has its result.
    pub fn finish(&mut self, round: u64, end_s: u64, note: Option<&str>) -> Result<Round> {
        let results = self.rate(round)?;
        let transaction = self.records.db.transaction()?;
        let number = round as i64;
        let ended = transaction
            .query_row(
                "UPDATE round SET end_s = max(?2, start_s), note = ?3
                 WHERE number = ?1 AND end_s IS NULL
                 RETURNING bonus, hashes_per_coin, end_s - start_s",
                params![number, end_s as i64, note],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, f64>(1)?,
                        row.get::<_, i64>(2)?,
                    ))
                },
            )
            .optional()?;
        let (bonus, hashes_per_coin, played_s) =
            ended.with_context(|| format!("round {round} is not being played"))?;
        for (player, coins, rating_after) in &results {
            let points = if *coins > 0 { bonus } else { 0 };
            let hashes_per_s = *coins as f64 * hashes_per_coin / played_s.max(1) as f64;
            transaction.execute(
                "INSERT INTO result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    number,
                    player.name,
                    *coins as i64,
                    points,
                    player.rating,
                    rating_after,
                    hashes_per_s,
                ],
            )?;
            transaction.execute(
                "UPDATE player SET rating = ?2, points = points + ?3 WHERE name = ?1",
                params![player.name, rating_after, points],
            )?;
        }
        transaction.commit()?;
        let finished = self.records.round(round)?;
        finished.with_context(|| format!("round {round} is gone"))
    }

    /// Everybody of a round with their coins in it and their rating after it.
    fn rate(&self, round: u64) -> Result<Vec<(Player, u64, f64)>> {
        let sql = "SELECT entrant.name, count(commit_id) FROM entrant
                   LEFT JOIN coin ON coin.round = entrant.round AND coin.name = entrant.name
                   WHERE entrant.round = ?1 GROUP BY entrant.name";
        let mut query = self.records.db.prepare(sql)?;
        let rows = query.query_map([round as i64], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64))
        })?;
        let coins: std::collections::HashMap<String, u64> =
            rows.collect::<rusqlite::Result<_>>()?;
        let players = self.records.players()?;
        let entered: Vec<(Player, u64)> = players
            .into_iter()
            .filter_map(|player| {
                let coins = *coins.get(&player.name)?;
                Some((player, coins))
            })
            .collect();
        let played: Vec<Played> = entered
            .iter()
            .map(|(player, coins)| Played {
                rating: player.rating,
                coins: *coins,
            })
            .collect();
        let after = elo::update(&played);
        Ok(entered
            .into_iter()
            .zip(after)
            .map(|((player, coins), after)| (player, coins, after))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_S: u64 = 1_700_000_000;

    /// Begins a round and enters this many coins of each.
    fn play(book: &mut Book, number: u64, coins: &[(&str, u64)]) {
        for (name, _) in coins {
            book.join(name).unwrap();
        }
        book.begin(&Opening {
            number,
            start_s: START_S,
            duration_s: 900,
            difficulty: "000001".into(),
            hashes_per_coin: 900.0,
            bonus: 50,
            players: coins.iter().map(|(name, _)| (*name).into()).collect(),
        })
        .unwrap();
        for (name, count) in coins {
            for index in 0..*count {
                let coin = Coin {
                    time_ms: (START_S + index + 1) * 1000,
                    name: (*name).into(),
                    commit: format!("{name}{index}"),
                };
                book.coin(number, &coin).unwrap();
                // Told twice, it counts once.
                book.coin(number, &coin).unwrap();
            }
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
        for bad in ["a/b", "-x", " ", "."] {
            assert!(book.join(bad).is_err(), "{bad:?}");
        }
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_book_of_ones_own_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.sqlite");
        let refused = || format!("{:#}", Book::open(&path).unwrap_err());
        let book = Book::open(&path).unwrap();
        assert!(
            refused().contains("in use by another host"),
            "{}",
            refused()
        );
        // Whoever only reads may do so meanwhile.
        assert!(Records::open(&path).unwrap().players().unwrap().is_empty());
        drop(book);
        fs::write(&path, "not a database, but long enough to be looked at").unwrap();
        assert!(refused().contains("as the game's book"), "{}", refused());
        assert!(Records::open(&path).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused().contains("is not a file"), "{}", refused());
    }

    #[test]
    fn rounds_move_ratings_and_add_up_points() {
        let mut book = Book::in_memory().unwrap();
        assert_eq!(book.records().next_round().unwrap(), 1);
        play(&mut book, 1, &[("bob", 0), ("ada", 5), ("cyd", 5)]);
        assert_eq!(book.records().rounds(9).unwrap(), []);
        let first = book.finish(1, START_S + 900, None).unwrap();
        let shown: Vec<_> = first
            .results
            .iter()
            .map(|line| {
                (
                    line.rank,
                    line.name.as_str(),
                    line.points,
                    line.rating_after,
                    line.last_coin_ms,
                )
            })
            .collect();
        let last = Some((START_S + 5) * 1000);
        assert_eq!(
            shown,
            [
                (1, "ada", 50, 1008.0, last),
                (1, "cyd", 50, 1008.0, last),
                (3, "bob", 0, 984.0, None)
            ]
        );
        assert_eq!(book.records().last_rate("ada").unwrap(), Some(5.0));
        assert_eq!(book.records().last_rate("nobody").unwrap(), None);
        play(&mut book, 2, &[("ada", 1), ("bob", 2)]);
        book.finish(2, START_S + 900, None).unwrap();
        assert_eq!(book.records().next_round().unwrap(), 3);
        let players = book.records().players().unwrap();
        let ada = players.iter().find(|player| player.name == "ada").unwrap();
        assert_eq!(ada.points, 100);
        assert!(ada.rating < 1008.0);
        // The same round twice is refused and changes nothing.
        assert!(book.finish(1, START_S + 900, None).is_err());
        assert_eq!(book.records().players().unwrap(), players);
        let rounds = book.records().rounds(9).unwrap();
        assert_eq!(rounds[1], first);
        assert_eq!(book.records().coins(1).unwrap().len(), 10);
        assert_eq!(book.records().course(1).unwrap().len(), 2);
        assert_eq!(book.records().round(u64::MAX).unwrap(), None);
    }

    #[test]
    fn a_round_whose_host_was_killed_is_settled_with_the_coins_that_landed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.sqlite");
        let mut book = Book::open(&path).unwrap();
        play(&mut book, 1, &[("ada", 2), ("bob", 0)]);
        drop(book);
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.unfinished().unwrap(), [1]);
        let round = book.settle(1).unwrap();
        assert_eq!(round.end_s, START_S + 2);
        assert_eq!(round.results[0].coins, 2);
        assert!(round.note.is_some());
        assert_eq!(book.unfinished().unwrap(), Vec::<u64>::new());
        // Two seconds of fifteen minutes say little about speed.
        assert_eq!(book.records().last_rate("ada").unwrap(), None);
    }

    #[test]
    fn bots_have_coins_and_no_rating() {
        let mut book = Book::in_memory().unwrap();
        play(&mut book, 1, &[("ada", 1)]);
        let coin = Coin {
            time_ms: START_S * 1000,
            name: "bot-1".into(),
            commit: "c".into(),
        };
        book.coin(1, &coin).unwrap();
        let round = book.finish(1, START_S + 900, None).unwrap();
        assert_eq!(round.results.len(), 1);
        assert_eq!(book.records().coins(1).unwrap().len(), 2);
        assert_eq!(book.records().players().unwrap().len(), 1);
    }
}
