//! The SQLite database behind the log: deterministic execution, in memory.
//!
//! The database lives in memory and is rebuilt from snapshot and log; durability is the log's. Each
//! request behaves as in a fresh `sqlite3` process: an open transaction is rolled back at its end, and
//! a connection that got temporary objects or settings is replaced.

mod guard;
mod shell;
mod sqlite;
mod statements;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::backup::Backup;
use rusqlite::{Connection, MAIN_DB};

use crate::machine::{Executor, Moment};
use crate::message::Command;
use guard::Guard;

/// A database with its working connection.
#[derive(Debug)]
pub struct Database {
    name: String,
    connection: Connection,
    guard: Guard,
}

/// Why a snapshot or a given file cannot become the database.
#[derive(Debug, thiserror::Error)]
#[error("not a usable SQLite database: {0}")]
pub struct DatabaseError(#[from] rusqlite::Error);

impl Database {
    /// An empty database.
    pub fn new() -> Result<Self, DatabaseError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("database-{}", COUNT.fetch_add(1, Relaxed));
        let mut connection = sqlite::open(&name)?;
        let guard = Guard::install(&mut connection)?;
        Ok(Self {
            name,
            connection,
            guard,
        })
    }

    /// Runs `work` as one request.
    fn request(&mut self, moment: Moment, work: impl FnOnce(&Connection) -> Vec<u8>) -> Bytes {
        sqlite::set_clock(moment.time_ms);
        self.guard.begin(&self.connection, moment.seed);
        let output = work(&self.connection);
        if !self.connection.is_autocommit() {
            // Fails only if SQLite has rolled back by itself meanwhile.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        if self.guard.used.load(Relaxed) {
            // The new connection is opened before the old one goes, and keeps the database alive.
            if let Ok(mut fresh) = sqlite::open(&self.name)
                && let Ok(guard) = Guard::install(&mut fresh)
            {
                self.connection = fresh;
                self.guard = guard;
            }
        }
        output.into()
    }

    /// Runs read-only statements (see the module `statements`).
    pub fn query(&mut self, moment: Moment, request: &[u8]) -> Bytes {
        self.request(moment, |connection| {
            statements::run(connection, request, true)
        })
    }

    /// The database as a SQLite file.
    pub fn file(&mut self) -> Result<Vec<u8>, DatabaseError> {
        Ok(self.connection.serialize(MAIN_DB)?.to_vec())
    }

    /// Replaces the database by a SQLite file.
    fn load(&mut self, file: &[u8]) -> Result<(), DatabaseError> {
        if file.is_empty() {
            // SQLite has no file for a database that was never written to.
            *self = Self::new()?;
            return Ok(());
        }
        let mut source = Connection::open_in_memory()?;
        source.deserialize_read_exact(MAIN_DB, file, file.len(), true)?;
        source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut fresh = Self::new()?;
        Backup::new(&source, &mut fresh.connection)?.run_to_completion(
            4096,
            Duration::ZERO,
            None,
        )?;
        *self = fresh;
        Ok(())
    }
}

impl Executor for Database {
    type Error = DatabaseError;

    fn execute(&mut self, moment: Moment, command: &Command) -> Bytes {
        match command {
            Command::Shell(sql) => self.request(moment, |connection| shell::run(connection, sql)),
            Command::Statements(request) => self.request(moment, |connection| {
                statements::run(connection, request, false)
            }),
            Command::Load(file) => Bytes::from(match self.load(file) {
                Ok(()) => "[{}]".to_owned(),
                Err(error) => serde_json::json!([{ "error": error.to_string() }]).to_string(),
            }),
        }
    }

    fn save(&mut self) -> Result<Vec<u8>, DatabaseError> {
        self.file()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DatabaseError> {
        self.load(state)
    }
}
