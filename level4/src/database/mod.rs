//! The SQLite database behind the log: deterministic execution, in memory.
//!
//! The database lives in memory and is rebuilt from snapshot and log; durability is the log's. Each
//! request behaves as in a fresh `sqlite3` process: an open transaction is rolled back at its end, and
//! a connection that remembers more of the request than the data is replaced. Reads, which happen on
//! some nodes and not on others, have a connection of their own.

mod guard;
mod shell;
mod sqlite;
mod statements;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::backup::Backup;
use rusqlite::{Connection, MAIN_DB};

use crate::codec::Malformed;
use crate::machine::{Executor, Moment};
use crate::message::Command;
use crate::statement::{Outcome, Statements};
use guard::{Access, Guard};

/// A database with its connections.
#[derive(Debug)]
pub struct Database {
    name: String,
    writer: Session,
    reader: Session,
}

/// A connection to the database and what watches over it.
#[derive(Debug)]
struct Session {
    connection: Connection,
    guard: Guard,
    access: Access,
}

impl Session {
    fn open(name: &str, access: Access) -> Result<Self, rusqlite::Error> {
        let mut connection = sqlite::open(name)?;
        let guard = Guard::install(&mut connection, access)?;
        Ok(Self {
            connection,
            guard,
            access,
        })
    }

    /// Runs `work` as one request to the database `name`.
    fn request(
        &mut self,
        name: &str,
        moment: Moment,
        work: impl FnOnce(&Connection) -> Vec<u8>,
    ) -> Bytes {
        sqlite::set_clock(moment.time_ms);
        self.guard.begin(&self.connection, moment.seed);
        let output = work(&self.connection);
        if !self.connection.is_autocommit() {
            // Fails only if SQLite has rolled back by itself meanwhile.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        // The new connection is opened before the old one goes, and keeps the database alive.
        if self.guard.used.load(Relaxed)
            && let Ok(fresh) = Self::open(name, self.access)
        {
            *self = fresh;
        }
        output.into()
    }
}

/// Offsets of the two versions in a SQLite file's header (file format, section 1.3), and their values.
const FILE_FORMAT_VERSIONS: [usize; 2] = [18, 19];
const ROLLBACK_JOURNAL: u8 = 1;
const WAL: u8 = 2;

/// Why a snapshot or a given file cannot become the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refuses it.
    #[error("not a usable SQLite database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// SQLite's check found something.
    #[error("the SQLite database is damaged: {0}")]
    Damaged(String),
}

impl Database {
    /// An empty database.
    pub fn new() -> Result<Self, DatabaseError> {
        Self::open(fresh_name())
    }

    /// The database in memory that has this name.
    fn open(name: String) -> Result<Self, DatabaseError> {
        Ok(Self {
            writer: Session::open(&name, Access::Write)?,
            reader: Session::open(&name, Access::Read)?,
            name,
        })
    }

    /// Runs read-only statements (see the module `statements`).
    pub fn query(&mut self, moment: Moment, request: &[u8]) -> Bytes {
        let request = match Statements::decode(request) {
            Ok(request) => request,
            Err(error) => return unreadable(error),
        };
        self.reader.request(&self.name, moment, |connection| {
            Outcome::encode_all(&statements::run(connection, &request, true))
        })
    }

    /// The database as a SQLite file.
    pub fn file(&mut self) -> Result<Vec<u8>, DatabaseError> {
        Ok(self.writer.connection.serialize(MAIN_DB)?.to_vec())
    }

    /// Replaces the database by a file that a client gave.
    fn load(&mut self, file: &[u8]) -> Result<(), DatabaseError> {
        // A file in WAL mode that was closed well has all its content, but says that it needs a WAL.
        let mut file = file.to_vec();
        for version in FILE_FORMAT_VERSIONS {
            if file.get(version) == Some(&WAL) {
                file[version] = ROLLBACK_JOURNAL;
            }
        }
        let source = opened(&file)?;
        let verdict: String = source.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(DatabaseError::Damaged(verdict));
        }
        self.replace(&source)
    }

    fn replace(&mut self, source: &Connection) -> Result<(), DatabaseError> {
        let name = fresh_name();
        let mut copy = sqlite::open(&name)?;
        Backup::new(source, &mut copy)?.run_to_completion(4096, Duration::ZERO, None)?;
        *self = Self::open(name)?;
        Ok(())
    }
}

/// The answer to statements that were written by another version, alike on all nodes of this one.
fn unreadable(error: Malformed) -> Bytes {
    let reason = format!("the request cannot be read: {error}");
    Outcome::encode_all(&[Outcome::Error(reason)]).into()
}

/// Databases in memory are shared by name, in the whole process.
fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("database-{}", COUNT.fetch_add(1, Relaxed))
}

/// A connection to a copy of a database file.
fn opened(file: &[u8]) -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open_in_memory()?;
    connection.deserialize_read_exact(MAIN_DB, file, file.len(), true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

impl Executor for Database {
    type Error = DatabaseError;

    fn execute(&mut self, moment: Moment, command: &Command) -> Bytes {
        match command {
            Command::Shell(sql) => {
                let run = |connection: &Connection| shell::run(connection, sql);
                self.writer.request(&self.name, moment, run)
            }
            Command::Statements(request) => {
                let request = match Statements::decode(request) {
                    Ok(request) => request,
                    Err(error) => return unreadable(error),
                };
                self.writer.request(&self.name, moment, |connection| {
                    Outcome::encode_all(&statements::run(connection, &request, false))
                })
            }
            Command::Load(file) => {
                let outcome = match self.load(file) {
                    Ok(()) => Outcome::Done {
                        last_insert_id: None,
                        rows_affected: None,
                    },
                    Err(error) => Outcome::Error(error.to_string()),
                };
                Outcome::encode_all(&[outcome]).into()
            }
        }
    }

    fn save(&mut self) -> Result<Vec<u8>, DatabaseError> {
        self.file()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DatabaseError> {
        if state.is_empty() {
            // SQLite has no file for a database that was never written to.
            *self = Self::new()?;
            return Ok(());
        }
        self.replace(&opened(state)?)
    }
}
